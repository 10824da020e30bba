//! `maniac_merge(source [, on_conflict])`: tells as JSON what it did.

use maniac_base::Value;
use maniac_history::JsonObject;
use rusqlite::functions::Context;
use rusqlite::{Connection, Result, ffi};

use crate::apply::{Conflict, Kind, Merged, Policy, merge};
use crate::connection::{schema_of, with_database};
use crate::errors::{VfsError, VfsResult, sql};

pub fn call(context: &Context<'_>) -> Result<String> {
    let source: String = context.get(0)?;
    let policy: Option<String> = if context.len() > 1 { context.get(1)? } else { None };
    // SAFETY: the connection is the one that is calling the function.
    let db = unsafe { context.get_connection()? };
    run(&db, &source, policy.as_deref()).map_err(sql)
}

fn run(db: &Connection, source: &str, policy: Option<&str>) -> VfsResult<String> {
    let policy = match policy.map(str::to_ascii_lowercase).as_deref() {
        None | Some("abort") => Policy::Abort,
        Some("theirs") => Policy::Replace,
        Some("ours") => Policy::Omit,
        Some(other) => {
            let message = format!("on_conflict is 'abort', 'ours' or 'theirs', not '{other}'");
            return Err(VfsError::new(ffi::SQLITE_ERROR, message));
        }
    };
    // SAFETY: the connection is the one that is calling the function.
    unsafe {
        if schema_of(db.handle())? != "main" {
            let message = "maniac_merge works on the connection's main database; open the branch itself";
            return Err(VfsError::new(ffi::SQLITE_ERROR, message));
        }
        let Merged { mut applied, ways_out, ancestor, source } = merge(db, source, policy)?;
        let outcome = applied.outcome(&advice(&applied.conflicts, &ways_out));
        let conflicts = std::mem::take(&mut applied.conflicts);
        let count = conflicts.len();
        let version = with_database(db.handle(), |database| {
            database.set_conflicts(conflicts);
            database.version()
        })?;
        let rows = outcome?;
        let mut told = JsonObject::default();
        for (name, value) in [
            ("version", version.0),
            ("ancestor", ancestor.0),
            ("source", source.0),
            ("rows", rows),
            ("conflicts", count as u64),
        ] {
            told.add(name, &Value::Integer(value as i64));
        }
        Ok(told.finish())
    }
}

/// What the user can do: nothing is advised that doesn't help.
fn advice(conflicts: &[Conflict], ways_out: &[&str]) -> String {
    let reason = |kind: Kind| {
        let of_kind = conflicts.iter().find(|conflict| conflict.kind == kind)?;
        Some(of_kind.reason.as_deref().unwrap_or_default())
    };
    if let Some(reason) = reason(Kind::VirtualTable) {
        return reason.to_owned();
    }
    if reason(Kind::ForeignKey).is_some() {
        return "first change, on one branch, the rows that would refer to nothing".into();
    }
    let which = if conflicts.len() == 1 { "it" } else { "them" };
    let named: Vec<String> = ways_out.iter().map(|way| format!("'{way}'")).collect();
    let resolves = match &named[..] {
        [] => "change the schema of one branch first".to_owned(),
        [one] => format!("on_conflict {one} resolves {which}, or change the schema of one branch first"),
        _ => format!("on_conflict {} resolves {which}", named.join(" or ")),
    };
    match reason(Kind::Broken).or(reason(Kind::Schema)) {
        Some(reason) => format!("{reason}; {resolves}"),
        None => resolves,
    }
}
