//! The three-way merge of indexes, views and triggers, and the statements that make the merged schema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maniac_sqlite_format::{
    Generated, Schema, SchemaRow, Table, TableKind, has_keyword, merged_statement, same_statement,
};

use super::lines::Line;
use super::tables::{Decision, Merged, RowsFrom};
use super::{MergePlan, Prefer, SchemaConflict, SchemaObject, Statement};

pub struct Schemas {
    pub base: Arc<Schema>,
    pub ours: Arc<Schema>,
    pub theirs: Arc<Schema>,
}

impl MergePlan {
    pub(super) fn push(&mut self, kind: &'static str, name: &str, sql: String) {
        self.statements.push(Statement { sql, kind, name: name.to_owned(), fills: false, otherwise: Vec::new() });
    }
}

/// Everything that has a text.
fn texts(schema: &Schema) -> Vec<SchemaObject> {
    let rows = schema.rows.iter();
    let object = |row: &Arc<SchemaRow>| {
        Some(SchemaObject { kind: row.kind.clone(), name: row.name.clone(), sql: row.sql.clone()? })
    };
    rows.filter_map(object).collect()
}

/// Indexes, views and triggers that have a text of their own, by type and name.
type Objects = BTreeMap<(String, String), Object>;

#[derive(Clone)]
struct Object {
    object: SchemaObject,
    /// The table that it goes with, in lower case.
    table: String,
}

fn objects(schema: &Schema) -> Objects {
    let rows = schema.rows.iter().filter_map(|row| {
        let object = SchemaObject { kind: row.kind.clone(), name: row.name.clone(), sql: row.sql.clone()? };
        let own = row.kind != "table" && !row.name.to_ascii_lowercase().starts_with("sqlite_");
        let key = (row.kind.clone(), row.name.to_ascii_lowercase());
        own.then(|| (key, Object { object, table: row.table_name.to_ascii_lowercase() }))
    });
    rows.collect()
}

pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The unique indexes that this side alone has.
pub fn unique_here_alone(schemas: &Schemas) -> Vec<String> {
    let (base, ours, theirs) = (objects(&schemas.base), objects(&schemas.ours), objects(&schemas.theirs));
    let unique = ours.iter().filter(|(key, index)| key.0 == "index" && has_keyword(&index.object.sql, "unique"));
    let alone = unique.filter(|(key, index)| {
        let mut others = [&base, &theirs].into_iter().filter_map(|side| side.get(*key));
        !others.any(|other| same_statement(&other.object.sql, &index.object.sql))
    });
    alone.map(|(_, index)| index.object.name.clone()).collect()
}

/// Fills in statements, objects and conflicts.
pub fn plan(schemas: &Schemas, lines: &[Line], decisions: &[Decision], prefer: Prefer, plan: &mut MergePlan) {
    let (base, ours, theirs) = (objects(&schemas.base), objects(&schemas.ours), objects(&schemas.theirs));
    (plan.ours, plan.theirs) = (texts(&schemas.ours), texts(&schemas.theirs));
    let settled = Settled::of(lines, decisions, prefer);
    let mut merged = Objects::new();
    let keys: BTreeSet<_> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
    for key in keys {
        let (before, here, there) = (base.get(key), ours.get(key), theirs.get(key));
        let text = |object: Option<&Object>| object.map(|object| object.object.sql.clone());
        let exactly = |one, other| text(one) == text(other);
        let alike = |one: Option<&Object>, other: Option<&Object>| match (one, other) {
            (Some(one), Some(other)) => same_statement(&one.object.sql, &other.object.sql),
            (one, other) => one.is_none() && other.is_none(),
        };
        let chosen = if let Some(prefer) = settled.choice(here, there) {
            if prefer == Prefer::Theirs { there } else { here }
        } else if exactly(there, before) || alike(here, there) {
            here
        } else if exactly(here, before) || alike(here, before) {
            there
        } else if alike(there, before) {
            here
        } else if let Some(object) = woven(before, here, there) {
            merged.insert(key.clone(), object);
            continue;
        } else {
            let Some(any) = here.or(there).or(before) else { continue };
            plan.schema_conflicts.push(SchemaConflict {
                kind: key.0.clone(),
                name: any.object.name.clone(),
                reason: reason(here.is_some(), there.is_some()).to_owned(),
                base: text(before),
                ours: text(here),
                theirs: text(there),
                can_be_settled: true,
                settled: prefer != Prefer::Neither,
            });
            if prefer == Prefer::Theirs { there } else { here }
        };
        merged.extend(chosen.map(|object| (key.clone(), object.clone())));
    }
    for (key, object) in &ours {
        if merged.get(key).map(|object| &object.object.sql) != Some(&object.object.sql) {
            let kind = ["index", "view", "trigger"].into_iter().find(|kind| *kind == key.0).unwrap_or_default();
            let name = &object.object.name;
            plan.push(kind, name, format!("DROP {kind} IF EXISTS {}", quote(name)));
        }
    }
    names_taken(lines, decisions, &merged, plan);
    tables(lines, decisions, schemas, plan);
    for kind in ["index", "view", "trigger"] {
        let of_kind = merged.iter().filter(|(key, _)| key.0 == kind);
        plan.objects.extend(of_kind.map(|(_, object)| object.object.clone()));
    }
}

/// An object in which both sides have put other words in the place of some.
fn woven(before: Option<&Object>, here: Option<&Object>, there: Option<&Object>) -> Option<Object> {
    let (before, here, there) = (before?, here?, there?);
    let sql = merged_statement(&before.object.sql, &here.object.sql, &there.object.sql)?;
    let table = if here.table == before.table { &there.table } else { &here.table };
    Some(Object { object: SchemaObject { sql, ..here.object.clone() }, table: table.clone() })
}

fn reason(here: bool, there: bool) -> &'static str {
    match (here, there) {
        (true, true) => "changed differently on both branches",
        (true, false) => "changed on this branch, dropped on the other",
        (false, _) => "dropped on this branch, changed on the other",
    }
}

/// The tables of which one side's was taken whole: what goes with them, goes or stays with them.
struct Settled {
    prefer: Prefer,
    here: BTreeSet<String>,
    there: BTreeSet<String>,
}

impl Settled {
    fn of(lines: &[Line], decisions: &[Decision], prefer: Prefer) -> Settled {
        let mut settled = Settled { prefer, here: BTreeSet::new(), there: BTreeSet::new() };
        let whole =
            |decision: &Decision| decision.settled && matches!(decision.rows, RowsFrom::Ours | RowsFrom::Theirs);
        for (line, _) in lines.iter().zip(decisions).filter(|(_, decision)| whole(decision)) {
            settled.here.extend(line.ours.iter().map(|present| present.table.name.to_ascii_lowercase()));
            settled.there.extend(line.theirs.iter().map(|present| present.table.name.to_ascii_lowercase()));
        }
        settled
    }

    fn choice(&self, here: Option<&Object>, there: Option<&Object>) -> Option<Prefer> {
        let found = here.is_some_and(|object| self.here.contains(&object.table))
            || there.is_some_and(|object| self.there.contains(&object.table));
        found.then_some(self.prefer)
    }
}

/// Tables, indexes and views have their names from one set.
fn names_taken(lines: &[Line], decisions: &[Decision], merged: &Objects, plan: &mut MergePlan) {
    let mut taken: BTreeMap<String, &'static str> = BTreeMap::new();
    let tables = decisions.iter().zip(lines).filter(|(_, line)| !line.is_shadow());
    let tables = tables.filter_map(|(decision, _)| Some(("table", decision.merged.as_ref()?.table.name.clone())));
    let objects = merged.values().filter_map(|object| {
        let kind = ["index", "view"].into_iter().find(|kind| *kind == object.object.kind)?;
        Some((kind, object.object.name.clone()))
    });
    for (kind, name) in tables.chain(objects) {
        let Some(other) = taken.insert(name.to_ascii_lowercase(), kind) else { continue };
        plan.schema_conflicts.push(SchemaConflict {
            kind: kind.to_owned(),
            reason: format!("the branches gave this name to two objects: {other} and {kind}"),
            name,
            base: None,
            ours: None,
            theirs: None,
            can_be_settled: false,
            settled: false,
        });
    }
}

fn tables(lines: &[Line], decisions: &[Decision], schemas: &Schemas, plan: &mut MergePlan) {
    let both = || lines.iter().zip(decisions);
    let names = schemas.ours.rows.iter().chain(&schemas.theirs.rows).map(|row| row.name.to_ascii_lowercase());
    let names: BTreeSet<String> = names.collect();
    let mut moves = Vec::new();
    for (line, decision) in both() {
        let Some(ours) = &line.ours else { continue };
        if decision.drop && !line.is_shadow() {
            // A virtual table takes its shadow tables with it.
            plan.push("table", &ours.table.name, format!("DROP TABLE {}", quote(&ours.table.name)));
        } else if let (true, false, Some(merged)) = (decision.make, decision.drop, &decision.merged) {
            let mut aside = format!("maniac_merge_{}", ours.table.name);
            while names.contains(&aside.to_ascii_lowercase()) {
                aside.push('_');
            }
            moves.push((line, merged, aside));
        }
    }
    for (line, _, aside) in &moves {
        let Some(ours) = &line.ours else { continue };
        let (table, name) = (&*ours.table, ours.table.name.clone());
        let sql = format!("ALTER TABLE {} RENAME TO {}", quote(&name), quote(aside));
        let otherwise = copied_aside(table, aside);
        plan.statements.push(Statement { sql, kind: "table", name, fills: false, otherwise });
    }
    let made = || both().filter(|(_, decision)| decision.make);
    for (_, decision) in made().filter(|(line, _)| !line.is_shadow()) {
        let Some(Merged { table, .. }) = &decision.merged else { continue };
        plan.push("table", &table.name, table.sql.clone());
    }
    for (line, merged, aside) in &moves {
        copy(line, merged, aside, plan);
    }
}

/// Brings a table's rows to another name without ALTER TABLE.
fn copied_aside(table: &Table, aside: &str) -> Vec<String> {
    let columns: Vec<String> = table.changeset_columns().map(|(_, column)| quote(&column.name)).collect();
    let (name, aside, columns) = (quote(&table.name), quote(aside), columns.join(", "));
    let rowid =
        rowid_name([table]).filter(|_| !table.without_rowid).map(|name| format!("{name}, ")).unwrap_or_default();
    vec![
        format!("CREATE TABLE main.{aside} AS SELECT {columns} FROM main.{name} WHERE 0"),
        format!("INSERT INTO main.{aside}({rowid}{columns}) SELECT {rowid}{columns} FROM main.{name}"),
        format!("DROP TABLE main.{name}"),
    ]
}

/// A name of the rowid that no column of some tables has taken.
fn rowid_name<'t>(tables: impl IntoIterator<Item = &'t Table>) -> Option<&'static str> {
    let columns: Vec<_> = tables.into_iter().flat_map(|table| &table.columns).collect();
    let free = |name: &&str| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    ["_rowid_", "rowid", "oid"].into_iter().find(free)
}

/// Fills a table that was given another shape, as SQLite's documentation of ALTER TABLE describes.
fn copy(line: &Line, merged: &Merged, aside: &str, plan: &mut MergePlan) {
    let (Some(ours), new, aside) = (&line.ours, &merged.table, quote(aside)) else { return };
    let old = &ours.table;
    let (mut to, mut from) = (Vec::new(), Vec::new());
    for (column, before) in new.columns.iter().zip(&merged.from_ours) {
        if let (Generated::No, Some(before)) = (column.generated, before) {
            to.push(quote(&column.name));
            from.push(quote(&old.columns[*before].name));
        }
    }
    let rowid = rowid_name([&**old, new]).filter(|_| !new.without_rowid && new.rowid_alias.is_none());
    to.extend(rowid.map(str::to_owned));
    from.extend(rowid.map(str::to_owned));
    debug_assert!(matches!(new.kind, TableKind::Ordinary | TableKind::Shadow { .. }));
    let (name, to, from) = (quote(&new.name), to.join(", "), from.join(", "));
    let sql = format!("INSERT INTO {name}({to}) SELECT {from} FROM main.{aside}");
    let name = new.name.clone();
    plan.statements.push(Statement { sql, kind: "table", name: name.clone(), fills: true, otherwise: Vec::new() });
    plan.push("table", &new.name, format!("DROP TABLE main.{aside}"));
    plan.reshaped.push(new.name.clone());
}
