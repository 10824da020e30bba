//! `maniac_apply(changeset [, on_conflict])`: gives the number of rows that it changed.

use rusqlite::functions::Context;
use rusqlite::{Result, ffi};

use crate::apply::{self, Applied, Policy};
use crate::connection::{schema_of, with_database};
use crate::errors::{VfsError, VfsResult, sql};

pub fn call(context: &Context<'_>) -> Result<i64> {
    let changeset = context.get_raw(0).as_blob_or_null()?.unwrap_or_default();
    let policy: Option<String> = if context.len() > 1 { context.get(1)? } else { None };
    run(context, changeset, policy.as_deref()).map_err(sql)
}

fn run(context: &Context<'_>, changeset: &[u8], policy: Option<&str>) -> VfsResult<i64> {
    let policy = match policy.map(str::to_ascii_lowercase).as_deref() {
        None | Some("abort") => Policy::Abort,
        Some("replace") => Policy::Replace,
        Some("omit") => Policy::Omit,
        Some(other) => {
            let message = format!("on_conflict is 'abort', 'replace' or 'omit', not '{other}'");
            return Err(VfsError::new(ffi::SQLITE_ERROR, message));
        }
    };
    // SAFETY: the connection is the one that is calling the function.
    unsafe {
        let db = context.get_connection().map_err(VfsError::sql)?;
        let schema = schema_of(db.handle())?;
        let applied = apply::apply(&db, &schema, changeset, policy)?;
        let outcome = applied.outcome("on_conflict 'replace' or 'omit' resolves what can be resolved");
        let Applied { conflicts, .. } = applied;
        with_database(db.handle(), |database| {
            database.set_conflicts(conflicts);
            Ok(())
        })?;
        Ok(outcome? as i64)
    }
}
