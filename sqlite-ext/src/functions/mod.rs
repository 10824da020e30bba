//! Scalar SQL functions.

#![allow(unsafe_code)]

mod apply;
mod key;
mod merge;
mod transfer;

use std::ffi::{CStr, c_int};

use maniac_base::Version;
use maniac_history::changeset;
use maniac_store::{Moment, Retention};
use rusqlite::functions::{Context, FunctionFlags, SqlFnOutput};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result, ffi};

use crate::connection::with_database;
use crate::errors::{VfsError, VfsResult, sql};
use crate::last_error::{Known, Newest};
use crate::vfs::{self, Database};

/// Functions that change a store may only be called from the top level: not from a trigger or view that somebody else
/// put into a database.
const READS: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_INNOCUOUS);
const CHANGES: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DIRECTONLY);

/// Registers functions whose failures are kept for `maniac_last_error()`.
struct Functions<'c> {
    connection: &'c Connection,
    newest: &'c Newest,
}

impl Functions<'_> {
    fn add<F, T>(&self, name: &CStr, arguments: c_int, flags: FunctionFlags, function: F) -> Result<()>
    where
        F: Fn(&Context<'_>) -> Result<T> + Send + 'static,
        T: SqlFnOutput,
    {
        let newest = self.newest.clone();
        let call = move |context: &Context<'_>| function(context).inspect_err(|error| newest.note(error.to_string()));
        self.connection.create_scalar_function(name, arguments, flags, call)
    }
}

pub fn register(connection: &Connection, known: Known) -> Result<()> {
    let functions = Functions { connection, newest: &known.newest.clone() };
    functions.add(c"maniac_version", 0, READS, |_| Ok(env!("CARGO_PKG_VERSION")))?;
    functions.add(c"maniac_last_error", 0, READS, move |_| Ok(known.message()))?;
    functions.add(c"maniac_default_vfs", 0, CHANGES, |context| {
        check_may_change(context, "maniac_default_vfs")?;
        vfs::become_default()
    })?;
    functions
        .add(c"maniac_head", 0, READS, |context| on_store(context, |database| Ok(database.version()?.0 as i64)))?;
    functions.add(c"maniac_branch", 0, READS, |context| {
        on_store(context, |database| Ok(database.store().branch_by_id(database.branch())?.name))
    })?;
    functions.add(c"maniac_changeset", 2, READS, |context| {
        let version = |n| context.get::<i64>(n).map(|version| Version(version.max(0) as u64));
        let (from, to) = (version(0)?, version(1)?);
        on_store(context, |database| Ok(changeset(database.store(), database.branch(), from, to)?))
    })?;
    for arguments in 1..=2 {
        functions.add(c"maniac_apply", arguments, CHANGES, |context| {
            check_writable(context, "maniac_apply")?;
            apply::call(context)
        })?;
        functions.add(c"maniac_merge", arguments, CHANGES, |context| {
            check_writable(context, "maniac_merge")?;
            merge::call(context)
        })?;
    }
    for arguments in 1..=3 {
        functions.add(c"maniac_branch_create", arguments, CHANGES, branch_create)?;
    }
    functions.add(c"maniac_import", 1, CHANGES, |context| {
        let path: String = context.get(0)?;
        check_writable(context, "maniac_import")?;
        // SAFETY: the connection is the one that is calling the function.
        if !unsafe { context.get_connection() }?.is_autocommit() {
            return Err(rusqlite::Error::UserFunctionError("maniac_import cannot run inside a transaction".into()));
        }
        on_store(context, |database| transfer::import(database, &path))
    })?;
    functions.add(c"maniac_export", 1, CHANGES, |context| {
        let path: String = context.get(0)?;
        check_writable(context, "maniac_export")?;
        on_store(context, |database| transfer::export(database, &path))
    })?;
    functions.add(c"maniac_backup", 1, CHANGES, |context| {
        let path: String = context.get(0)?;
        check_writable(context, "maniac_backup")?;
        // SAFETY: the connection is the one that is calling the function.
        let handle = unsafe { context.get_connection()?.handle() };
        // SAFETY: as above.
        on_store(context, |database| transfer::backup(database, &path, &|| unsafe { vfs::is_interrupted(handle) }))
    })?;
    functions.add(c"maniac_checkpoint", 0, CHANGES, |context| {
        check_writable(context, "maniac_checkpoint")?;
        on_store(context, |database| Ok(database.store().checkpoint()?.map(|made| made.version.0 as i64)))
    })?;
    functions.add(c"maniac_retain", -1, CHANGES, retain)?;
    functions.add(c"maniac_tag", -1, CHANGES, tag)?;
    functions.add(c"maniac_untag", 1, CHANGES, |context| {
        let name: String = context.get(0)?;
        check_writable(context, "maniac_untag")?;
        on_store(context, |database| Ok(database.store().untag(&name)?))?;
        Ok(name)
    })?;
    functions.add(c"maniac_key", 1, CHANGES, |context| key::give(context.get_raw(0)))?;
    functions.add(c"maniac_rekey", 1, CHANGES, |context| {
        check_writable(context, "maniac_rekey")?;
        let key = key::parse(context.get_raw(0), "maniac_rekey")?;
        on_store(context, |database| Ok(database.store().rekey(&key)?))?;
        Ok(key.id().to_string())
    })?;
    functions.add(c"maniac_branch_drop", 1, CHANGES, |context| {
        let name: String = context.get(0)?;
        check_writable(context, "maniac_branch_drop")?;
        on_store(context, |database| Ok(database.store().branch_drop(&name)?))?;
        Ok(name)
    })?;
    functions.add(c"maniac_branch_rename", 2, CHANGES, |context| {
        let (from, to): (String, String) = (context.get(0)?, context.get(1)?);
        check_writable(context, "maniac_branch_rename")?;
        on_store(context, |database| Ok(database.store().branch_rename(&from, &to)?))?;
        Ok(to)
    })
}

/// `maniac_branch_create(name [, from [, at]])` gives the version that the new branch starts from.
fn branch_create(context: &Context<'_>) -> Result<i64> {
    let name: String = context.get(0)?;
    let from: Option<String> = if context.len() > 1 { context.get(1)? } else { None };
    let at = if context.len() > 2 { moment(context.get_raw(2)).transpose()? } else { None };
    check_writable(context, "maniac_branch_create")?;
    on_store(context, |database| {
        let from = match from {
            Some(from) => from,
            None => database.store().branch_by_id(database.branch())?.name,
        };
        Ok(database.store().branch_create(&name, &from, at)?.fork.0 as i64)
    })
}

/// `maniac_retain([how much])` gives what is kept of the past, from now on if it was said.
fn retain(context: &Context<'_>) -> Result<String> {
    let retention = match context.len() {
        0 => None,
        _ => {
            let text = match context.get_raw(0) {
                ValueRef::Integer(versions) => versions.to_string(),
                _ => context.get(0)?,
            };
            Some(Retention::parse(&text).map_err(sql)?)
        }
    };
    if retention.is_some() {
        check_writable(context, "maniac_retain")?;
    }
    on_store(context, |database| {
        retention.map_or(Ok(()), |retention| database.store().retain(retention))?;
        Ok(database.store().retention()?.to_string())
    })
}

/// `maniac_tag(name [, at])` gives the version that has the name now.
fn tag(context: &Context<'_>) -> Result<i64> {
    let name: String = context.get(0)?;
    let at = if context.len() > 1 { moment(context.get_raw(1)).transpose()? } else { None };
    check_writable(context, "maniac_tag")?;
    on_store(context, |database| {
        let at = match at {
            Some(at) => at,
            None => Moment::Version(database.version()?),
        };
        Ok(database.store().tag(&name, database.branch(), Some(at))?.version.0 as i64)
    })
}

/// A version as a number or text, or a time; nothing for NULL.
pub fn moment(value: ValueRef<'_>) -> Option<Result<Moment>> {
    let text = match value {
        ValueRef::Null => return None,
        ValueRef::Integer(version) => version.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    };
    Some(Moment::parse(&text).map_err(sql))
}

/// Refuses a function that changes a store or a file to a connection that only reads. Everything that has
/// a lasting effect asks here.
fn check_writable(context: &Context<'_>, function: &str) -> Result<()> {
    let why = on_store(context, |database| {
        let path = database.store().path().display();
        Ok(match (database.store().is_writable(), database.is_read_only()) {
            (false, _) => Some(format!("this process has no permission to write to {path}")),
            (true, true) => Some("the store is open read-only (mode=ro or at=)".to_owned()),
            (true, false) => None,
        })
    })?;
    // SAFETY: the connection is the one that is calling the function.
    let connection = unsafe { context.get_connection() }?;
    refuse(&connection, function, why)
}

/// Refuses to a connection that only reads what concerns more than the store that it has open, if it has one.
fn check_may_change(context: &Context<'_>, function: &str) -> Result<()> {
    // SAFETY: the connection is the one that is calling the function.
    let connection = unsafe { context.get_connection() }?;
    let read_only = connection.is_readonly("main")?;
    refuse(&connection, function, read_only.then(|| "the database is open read-only".to_owned()))
}

fn refuse(connection: &Connection, function: &str, why: Option<String>) -> Result<()> {
    let query_only: bool = connection.pragma_query_value(None, "query_only", |row| row.get(0))?;
    match why.or(query_only.then(|| "PRAGMA query_only is on".to_owned())) {
        None => Ok(()),
        Some(why) => {
            let message = format!("attempt to write a readonly database: {function} is refused because {why}");
            Err(sql(VfsError::new(ffi::SQLITE_READONLY, message)))
        }
    }
}

fn on_store<T>(context: &Context<'_>, call: impl FnOnce(&mut Database) -> VfsResult<T>) -> Result<T> {
    // SAFETY: the connection is the one that is calling the function.
    unsafe {
        let connection = context.get_connection()?;
        with_database(connection.handle(), call).map_err(sql)
    }
}
