//! Indexes, views and triggers of a merged schema: made where they are missing, then everything is checked.
//!
//! What doesn't compile now, although it did on its own side, is in the way of the merge. If one side is preferred, such an
//! object becomes what it is on that side, or on the other one if that doesn't help, and all is checked again.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use maniac_history::{MergePlan, Prefer, SchemaConflict, SchemaObject};
use rusqlite::{Connection, ffi};

use super::compile_check::{Fault, Faults, ObjectKey, Scratch, create_index, faults, reason};
use super::qualify::qualified;
use super::table::quote;
use crate::errors::{VfsError, VfsResult};

/// Whether SQLite refused a statement for what it says, or for the rows that are there: nothing is wrong with the store.
pub fn is_refusal(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| matches!(error.extended_code & 0xff, ffi::SQLITE_ERROR | ffi::SQLITE_CONSTRAINT))
}

/// A conflict that no side's way would end.
pub fn broken(kind: &str, name: &str, reason: String) -> SchemaConflict {
    SchemaConflict {
        kind: kind.to_owned(),
        name: name.to_owned(),
        reason,
        base: None,
        ours: None,
        theirs: None,
        can_be_settled: false,
        settled: false,
    }
}

pub struct Objects<'m> {
    db: &'m Connection,
    plan: &'m MergePlan,
    prefer: Prefer,
    /// What was wrong before.
    before: Faults,
    wanted: BTreeMap<ObjectKey, &'m SchemaObject>,
    /// Texts that don't compile.
    failed: BTreeSet<(ObjectKey, String)>,
    ours: OnceCell<Scratch>,
    theirs: OnceCell<Scratch>,
}

fn key(object: &SchemaObject) -> ObjectKey {
    (object.kind.clone(), object.name.to_ascii_lowercase())
}

fn find<'m>(objects: &'m [SchemaObject], sought: &ObjectKey) -> Option<&'m SchemaObject> {
    objects.iter().find(|object| object.kind == sought.0 && object.name.eq_ignore_ascii_case(&sought.1))
}

fn scratch<'s>(cell: &'s OnceCell<Scratch>, objects: &[SchemaObject]) -> VfsResult<&'s Scratch> {
    if cell.get().is_none() {
        let made = Scratch::new(objects.iter().map(|object| (object.kind.as_str(), object.sql.as_str())))?;
        let _ = cell.set(made);
    }
    Ok(cell.get().expect("set above"))
}

impl<'m> Objects<'m> {
    /// Before the plan is carried out.
    pub fn new(db: &'m Connection, plan: &'m MergePlan, prefer: Prefer) -> VfsResult<Objects<'m>> {
        let before = if plan.changes_schema() { faults(db)? } else { Faults::new() };
        let wanted = plan.objects.iter().map(|object| (key(object), object)).collect();
        Ok(Objects {
            db,
            plan,
            prefer,
            before,
            wanted,
            failed: BTreeSet::new(),
            ours: OnceCell::new(),
            theirs: OnceCell::new(),
        })
    }

    /// When the tables are what they shall be. Gives the conflicts, settled or not.
    pub fn finish(mut self) -> VfsResult<Vec<SchemaConflict>> {
        let mut settled = Vec::new();
        if !self.plan.changes_schema() {
            return Ok(settled);
        }
        loop {
            let problems = self.problems()?;
            let mut changed = false;
            for (object, (name, why)) in &problems {
                if self.fall_back(object)? {
                    let conflict = broken(&object.0, name, why.clone());
                    settled.push(SchemaConflict { can_be_settled: true, settled: true, ..self.with_texts(conflict) });
                    changed = true;
                }
            }
            if !changed {
                let left = problems.into_iter().map(|((kind, _), (name, why))| broken(&kind, &name, why));
                settled.extend(left.map(|conflict| self.with_texts(conflict)));
                return Ok(settled);
            }
        }
    }

    fn with_texts(&self, conflict: SchemaConflict) -> SchemaConflict {
        let sought = (conflict.kind.clone(), conflict.name.to_ascii_lowercase());
        let text = |objects: &[SchemaObject]| find(objects, &sought).map(|object| object.sql.clone());
        SchemaConflict { ours: text(&self.plan.ours), theirs: text(&self.plan.theirs), ..conflict }
    }

    /// Makes what is missing and looks at all there is.
    fn problems(&self) -> VfsResult<BTreeMap<ObjectKey, (String, String)>> {
        let mut problems = BTreeMap::new();
        for kind in ["index", "view", "trigger"] {
            for (object, wanted) in self.wanted.iter().filter(|(object, _)| object.0 == kind) {
                if self.exists(wanted)? {
                    continue;
                }
                if let Err(error) = self.create(object, wanted)? {
                    if !is_refusal(&error) {
                        return Err(VfsError::sql(error));
                    }
                    problems.insert(object.clone(), (wanted.name.clone(), reason(&error)));
                }
            }
        }
        for (object, fault) in faults(self.db)? {
            if let Some(why) = self.complaint(&object, &fault)? {
                problems.entry(object).or_insert((fault.name, why));
            }
        }
        Ok(problems)
    }

    fn exists(&self, object: &SchemaObject) -> VfsResult<bool> {
        let sought = "SELECT count(*) FROM main.sqlite_master WHERE type = ?1 AND name = ?2 COLLATE NOCASE";
        let there: u32 =
            self.db.query_row(sought, [&object.kind, &object.name], |row| row.get(0)).map_err(VfsError::sql)?;
        Ok(there > 0)
    }

    fn create(&self, sought: &ObjectKey, object: &SchemaObject) -> VfsResult<rusqlite::Result<()>> {
        if object.kind != "index" {
            return Ok(self.db.execute_batch(&qualified(&object.sql, "main")));
        }
        let origin = if self.is_ours(sought, &object.sql) { self.ours()? } else { self.theirs()? };
        create_index(self.db, &object.sql, origin)
    }

    fn is_ours(&self, sought: &ObjectKey, sql: &str) -> bool {
        find(&self.plan.ours, sought).is_some_and(|object| object.sql == sql)
    }

    fn ours(&self) -> VfsResult<&Scratch> {
        scratch(&self.ours, &self.plan.ours)
    }

    fn theirs(&self) -> VfsResult<&Scratch> {
        scratch(&self.theirs, &self.plan.theirs)
    }

    /// What the merge has broken of an object.
    fn complaint(&self, object: &ObjectKey, fault: &Fault) -> VfsResult<Option<String>> {
        let before = self.before.get(object).cloned().unwrap_or_default();
        if let Some(plain) = fault.plain.as_ref().filter(|plain| before.plain.as_ref() != Some(*plain)) {
            // Functions, collations and modules are the connection's, which may lack what another one has.
            let lacking = ["no such function", "no such collation", "no such module"];
            if lacking.iter().any(|lack| plain.starts_with(lack)) {
                return Ok(None);
            }
            // SQLite lets foreign keys refer to what isn't there, yet.
            let tolerated = object.0 == "table"
                && self.theirs()?.faults()?.get(object).is_some_and(|fault| fault.plain.as_ref() == Some(plain));
            return Ok((!tolerated).then(|| plain.clone()));
        }
        let Some(strict) = fault.strict.as_ref().filter(|_| fault.plain.is_none() && before.strict.is_none()) else {
            return Ok(None);
        };
        // A name in double quotes was a text from the start, or has lost its column now.
        let ours = self.wanted.get(object).is_none_or(|wanted| self.is_ours(object, &wanted.sql));
        let always = !ours && self.theirs()?.faults()?.get(object).is_some_and(|fault| fault.strict.is_some());
        Ok((!always).then(|| strict.clone()))
    }

    /// Takes the preferred side's object instead, or, if that doesn't compile with what the other side has changed, the
    /// other side's. Says whether there was one to try.
    fn fall_back(&mut self, object: &ObjectKey) -> VfsResult<bool> {
        let (ours, theirs) = (find(&self.plan.ours, object), find(&self.plan.theirs, object));
        let (preferred, other) = match self.prefer {
            Prefer::Neither => return Ok(false),
            Prefer::Ours => (ours, theirs),
            Prefer::Theirs => (theirs, ours),
        };
        let Some(failed) = self.wanted.get(object).copied() else { return Ok(false) };
        self.failed.insert((object.clone(), failed.sql.clone()));
        let untried = |side: &Option<&SchemaObject>| {
            side.is_none_or(|side| !self.failed.contains(&(object.clone(), side.sql.clone())))
        };
        let mut sides = [Some(preferred), other.map(Some)].into_iter().flatten();
        let Some(instead) = sides.find(untried) else { return Ok(false) };
        let drop = format!("DROP {} IF EXISTS main.{}", object.0, quote(&failed.name));
        self.db.execute_batch(&drop).map_err(VfsError::sql)?;
        match instead {
            Some(instead) => self.wanted.insert(object.clone(), instead),
            None => self.wanted.remove(object),
        };
        Ok(true)
    }
}
