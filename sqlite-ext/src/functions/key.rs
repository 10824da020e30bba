//! `maniac_key(key)`: the key of the encrypted stores that this process opens from then on. `maniac_rekey(key)` takes the
//! same.

use maniac_store::{MasterKey, set_process_key};
use rusqlite::types::ValueRef;
use rusqlite::{Error, Result};

/// Gives the key's id; NULL takes the key back.
pub fn give(value: ValueRef<'_>) -> Result<Option<String>> {
    let key = match value {
        ValueRef::Null => None,
        value => Some(parse(value, "maniac_key")?),
    };
    let id = key.as_ref().map(|key| key.id().to_string());
    set_process_key(key);
    Ok(id)
}

/// A key that is a blob of 32 bytes, or 64 hexadecimal digits as text or blob.
pub fn parse(value: ValueRef<'_>, function: &str) -> Result<MasterKey> {
    let key = match value {
        ValueRef::Blob(key) => MasterKey::parse(key).ok(),
        // 32 characters are more likely a word than a key.
        ValueRef::Text(digits) if digits.len() >= 64 => MasterKey::parse(digits).ok(),
        _ => None,
    };
    key.ok_or_else(|| {
        let message = format!("maniac: {function} takes a key: a blob of 32 bytes, or 64 hexadecimal digits");
        Error::UserFunctionError(message.into())
    })
}
