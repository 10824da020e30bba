//! `maniac_merge`: another branch's changes go into this one, as one version.

use std::collections::HashSet;

use maniac_base::{Value, Version};
use maniac_changeset::Group;
use maniac_history::{Contested, JsonObject, MergePlan, Prefer, SchemaConflict, Statement, merge_plan};
use maniac_store::{Moment, Snapshot};
use rusqlite::{Connection, ffi};

use super::compile_check::reason;
use super::conflict::{Conflict, Kind, Resolution};
use super::engine::{Engine, is_constraint};
use super::guard::Guard;
use super::objects::{Objects, broken, is_refusal};
use super::qualify::qualified;
use super::transaction::{Atomic, Trial};
use super::{Applied, Policy, changed_tables, foreign_keys, settings, virtual_tables};
use crate::connection::with_database;
use crate::errors::{VfsError, VfsResult};

/// What a merge did.
pub struct Merged {
    pub applied: Applied,
    /// Where it was refused: what `on_conflict` may be for it to succeed.
    pub ways_out: Vec<&'static str>,
    pub ancestor: Version,
    pub source: Version,
}

/// Merges a branch into the one that this connection has open as `main`.
pub fn merge(db: &Connection, source: &str, policy: Policy) -> VfsResult<Merged> {
    if !db.is_autocommit() {
        let message = "maniac_merge is a transaction of its own, and cannot run inside another one";
        return Err(VfsError::new(ffi::SQLITE_ERROR, message));
    }
    let guard = Guard::new(db)?;
    // With the write lock taken nothing comes between what is compared here and what is written.
    let mut atomic = Atomic::begin(db, true)?;
    let (base, ours, theirs) = snapshots(db, source)?;
    let sides = Sides { base: &base, ours: &ours, theirs: &theirs };
    let mut merged = Merged {
        applied: Applied::default(),
        ways_out: Vec::new(),
        ancestor: base.version(),
        source: theirs.version(),
    };
    let trial = Trial::begin(db)?;
    let source_changed = attempt(db, &sides, policy, &guard, &mut atomic, &mut merged.applied)?;
    if merged.applied.undone {
        drop(trial);
        merged.ways_out = ways_out(db, &sides, &guard, &mut atomic, &merged.applied)?;
    } else if source_changed {
        trial.keep()?;
        let note = Some((theirs.branch(), theirs.version()));
        remember(db, note)?;
        write_a_page(db)?;
        let committed = atomic.commit();
        remember(db, None)?;
        committed?;
    }
    Ok(merged)
}

/// The ancestor and the two branches.
struct Sides<'s> {
    base: &'s Snapshot,
    ours: &'s Snapshot,
    theirs: &'s Snapshot,
}

/// Makes the merge in the transaction that is open. Says whether the other branch has changed anything.
fn attempt(
    db: &Connection,
    sides: &Sides<'_>,
    policy: Policy,
    guard: &Guard<'_>,
    atomic: &mut Atomic<'_>,
    applied: &mut Applied,
) -> VfsResult<bool> {
    let mut theirs_first = HashSet::new();
    loop {
        let plan = merge_plan(sides.base, sides.ours, sides.theirs, preference(policy), &theirs_first)?;
        applied.conflicts = conflicts(&plan, policy);
        applied.conflicts.extend(virtual_tables::refused(db, &plan));
        let unsettled = plan.schema_conflicts.iter().any(|conflict| !conflict.settled);
        let unsettled = unsettled || applied.conflicts.iter().any(|conflict| conflict.kind == Kind::VirtualTable);
        applied.undone = unsettled || policy == Policy::Abort && !plan.conflicts.is_empty();
        if !applied.undone && plan.source_changed {
            let trial = Trial::begin(db)?;
            atomic.hide_temp_triggers()?;
            if let Some(table) = carry_out(db, &plan, policy, guard, applied)? {
                theirs_first.insert(table);
                continue;
            }
            trial.keep()?;
        }
        return Ok(plan.source_changed);
    }
}

/// The values of `on_conflict` that the user can be told of. Rows can always be settled so. Which object of the schema goes
/// with which others nobody knows before it was tried.
fn ways_out(
    db: &Connection,
    sides: &Sides<'_>,
    guard: &Guard<'_>,
    atomic: &mut Atomic<'_>,
    refused: &Applied,
) -> VfsResult<Vec<&'static str>> {
    let has = |kind: Kind| refused.conflicts.iter().any(|conflict| conflict.kind == kind);
    let mut ways = vec![("ours", Policy::Omit), ("theirs", Policy::Replace)];
    if has(Kind::VirtualTable) || has(Kind::ForeignKey) {
        ways.clear();
    }
    if has(Kind::Schema) || has(Kind::Broken) {
        let mut tried = Vec::new();
        for (name, policy) in ways {
            let trial = Trial::begin(db)?;
            let mut applied = Applied::default();
            // What goes wrong here is told when it is asked for.
            let done = attempt(db, sides, policy, guard, atomic, &mut applied).is_ok() && !applied.undone;
            drop(trial);
            tried.extend(done.then_some((name, policy)));
        }
        ways = tried;
    }
    Ok(ways.into_iter().map(|(name, _)| name).collect())
}

fn preference(policy: Policy) -> Prefer {
    match policy {
        Policy::Abort => Prefer::Neither,
        Policy::Replace => Prefer::Theirs,
        Policy::Omit => Prefer::Ours,
    }
}

/// Notes in the version that is about to be committed what it merges.
fn remember(db: &Connection, note: Option<(maniac_base::BranchId, Version)>) -> VfsResult<()> {
    // SAFETY: the connection is the one that is calling the function.
    #[allow(unsafe_code)]
    unsafe {
        with_database(db.handle(), |database| {
            database.set_merged(note);
            Ok(())
        })
    }
}

/// What a merge has settled counts from then on, also where all of it stayed as it was here: that takes a version.
fn write_a_page(db: &Connection) -> VfsResult<()> {
    let version: i64 = db.query_row("PRAGMA main.user_version", (), |row| row.get(0)).map_err(VfsError::sql)?;
    db.execute_batch(&format!("PRAGMA main.user_version = {version}")).map_err(VfsError::sql)
}

/// The ancestor, this connection's snapshot and the other branch's head.
fn snapshots(db: &Connection, source: &str) -> VfsResult<(Snapshot, Snapshot, Snapshot)> {
    // SAFETY: the connection is the one that is calling the function.
    #[allow(unsafe_code)]
    unsafe {
        with_database(db.handle(), |database| {
            let version = database.version()?;
            let store = database.store();
            let ours = store.snapshot(database.branch(), version)?;
            let branch = store.branch(source)?;
            let head = store.resolve(branch.id, Moment::Version(branch.head))?;
            let theirs = store.snapshot(branch.id, head)?;
            Ok((ours.common_ancestor(&theirs)?, ours, theirs))
        })
    }
}

/// Gives the table that refused the rows that are here, if there is one: then nothing else was done.
fn carry_out(
    db: &Connection,
    plan: &MergePlan,
    policy: Policy,
    guard: &Guard<'_>,
    applied: &mut Applied,
) -> VfsResult<Option<String>> {
    let contested = if policy == Policy::Replace { &plan.contested[..] } else { &[] };
    // Together, since a row that is contested may have to go before another one can come.
    let mut changes = Group::new();
    for changeset in [&plan.changes[..], contested] {
        changes.add(changeset).map_err(VfsError::sql)?;
    }
    let changes = changes.finish();
    let mut tables = changed_tables(&plan.appended)?;
    tables.extend(changed_tables(&changes)?);
    let earlier =
        if guard.foreign_keys() { foreign_keys::violations(db, "main", &tables)? } else { Default::default() };
    let objects = Objects::new(db, plan, preference(policy))?;
    for Statement { sql, kind, name, fills, otherwise } in &plan.statements {
        let mut done = db.execute_batch(&qualified(sql, "main"));
        if done.as_ref().is_err_and(is_refusal) && !otherwise.is_empty() {
            done = otherwise.iter().try_for_each(|sql| db.execute_batch(sql));
        }
        match done {
            Err(error) if *fills && is_constraint(&error) => return Ok(Some(name.clone())),
            Err(error) if is_refusal(&error) => {
                let conflict = broken(kind, name, reason(&error));
                applied.undone = true;
                applied.conflicts.push(schema_conflict(&conflict, Resolution::Aborted));
                return Ok(None);
            }
            done => done.map_err(VfsError::sql)?,
        }
    }
    let replayed = replayed(plan, policy)?;
    for (changes, policy) in [(&changes, policy), (&replayed, reversed(policy))] {
        let mut engine = Engine::new(db, "main", policy);
        engine.reshaped = plan.reshaped.clone();
        engine.young = &plan.young;
        engine.run(changes)?;
        applied.rows += engine.rows;
        applied.conflicts.append(&mut engine.conflicts);
        applied.undone |= policy == Policy::Abort && !applied.conflicts.is_empty();
    }
    let mut engine = Engine::new(db, "main", policy);
    engine.append(&plan.appended)?;
    applied.rows += engine.rows;
    drop(engine);
    if applied.undone {
        return Ok(None);
    }
    for conflict in objects.finish()? {
        let resolution = if policy == Policy::Replace { Resolution::Replaced } else { Resolution::Omitted };
        let resolution = if conflict.settled { resolution } else { Resolution::Aborted };
        applied.undone |= !conflict.settled;
        applied.conflicts.push(schema_conflict(&conflict, resolution));
    }
    if applied.undone {
        return Ok(None);
    }
    virtual_tables::finish(db, "main", &plan.indexes)?;
    settings::finish(db, plan, policy).map_err(VfsError::sql)?;
    if guard.foreign_keys() {
        let broken = foreign_keys::violations(db, "main", &tables)?;
        let broken: Vec<_> = broken.into_iter().filter(|violation| !earlier.contains(violation)).collect();
        applied.undone = !broken.is_empty();
        applied.conflicts.extend(broken.into_iter().map(foreign_keys::conflict));
    }
    Ok(None)
}

/// Our changes of the tables that have the other branch's rows now.
fn replayed(plan: &MergePlan, policy: Policy) -> VfsResult<Vec<u8>> {
    let mut changes = Group::new();
    let contested = if policy == Policy::Omit { &plan.contested_replayed[..] } else { &[] };
    for changeset in [&plan.replayed[..], contested] {
        changes.add(changeset).map_err(VfsError::sql)?;
    }
    Ok(changes.finish())
}

/// The policy for a change that comes from this side.
fn reversed(policy: Policy) -> Policy {
    match policy {
        Policy::Abort => Policy::Abort,
        Policy::Replace => Policy::Omit,
        Policy::Omit => Policy::Replace,
    }
}

fn conflicts(plan: &MergePlan, policy: Policy) -> Vec<Conflict> {
    let unsettled = plan.schema_conflicts.iter().any(|conflict| !conflict.settled);
    let resolution = match policy {
        Policy::Replace if !unsettled => Resolution::Replaced,
        Policy::Omit if !unsettled => Resolution::Omitted,
        _ => Resolution::Aborted,
    };
    let objects = plan.schema_conflicts.iter().map(|conflict| schema_conflict(conflict, resolution));
    let rows = plan.conflicts.iter().cloned().map(|Contested { theirs, ours }| Conflict {
        table: theirs.table,
        op: Some(theirs.op),
        kind: Kind::Both,
        key: theirs.key,
        old: theirs.old,
        new: theirs.new,
        current: ours,
        resolution,
        reason: None,
    });
    objects.chain(rows).collect()
}

fn schema_conflict(conflict: &SchemaConflict, resolution: Resolution) -> Conflict {
    let SchemaConflict { kind, name, reason, base, ours, theirs, can_be_settled, .. } = conflict.clone();
    Conflict {
        table: "sqlite_schema".into(),
        op: None,
        kind: if can_be_settled { Kind::Schema } else { Kind::Broken },
        key: object_key(&kind, &name),
        old: base,
        new: theirs,
        current: ours,
        resolution,
        reason: Some(format!("{kind} \"{name}\": {reason}")),
    }
}

/// What tells an object of the schema from others.
pub fn object_key(kind: &str, name: &str) -> String {
    let mut key = JsonObject::default();
    key.add("type", &Value::text(kind));
    key.add("name", &Value::text(name));
    key.finish()
}
