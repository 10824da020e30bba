//! The three-way merge of the schema, object by object, and the statements that make it.

use std::collections::BTreeMap;
use std::sync::Arc;

use maniac_diff::{TableMatch, match_tables};
use maniac_sqlite_format::{Generated, Schema, Table, TableKind};

use super::{MergePlan, SchemaObject};

pub struct Schemas {
    pub base: Arc<Schema>,
    pub ours: Arc<Schema>,
    pub theirs: Arc<Schema>,
}

/// What has a text of its own, by type and name.
type Objects = BTreeMap<(String, String), SchemaObject>;

fn objects(schema: &Schema) -> Objects {
    let rows = schema.rows.iter().filter_map(|row| {
        let object = SchemaObject { kind: row.kind.clone(), name: row.name.clone(), sql: row.sql.clone()? };
        let own = !row.name.to_ascii_lowercase().starts_with("sqlite_");
        own.then(|| ((row.kind.clone(), row.name.to_ascii_lowercase()), object))
    });
    rows.collect()
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Fills in statements, objects and conflicts. `ours_edited`: whether this side changed rows of a table.
pub fn plan(schemas: &Schemas, ours_edited: &dyn Fn(&str) -> bool, plan: &mut MergePlan) {
    let (base, ours, theirs) = (objects(&schemas.base), objects(&schemas.ours), objects(&schemas.theirs));
    let mut merged = ours.clone();
    for key in base.keys().chain(theirs.keys()) {
        let sql = |objects: &Objects| objects.get(key).map(|object| object.sql.clone());
        let (before, here, there) = (sql(&base), sql(&ours), sql(&theirs));
        if there == before || here == there {
            continue;
        }
        if here != before {
            let object = ours.get(key).or(theirs.get(key)).or(base.get(key));
            plan.schema_conflicts.extend(object.filter(|object| !plan.schema_conflicts.contains(object)).cloned());
            continue;
        }
        match theirs.get(key) {
            Some(object) => merged.insert(key.clone(), object.clone()),
            None => merged.remove(key),
        };
    }
    // Rows that were changed here, of a table that is not the same any more there.
    for pair in match_tables(&schemas.base, &schemas.theirs) {
        let (Some(table), None) = (&pair.old, &pair.new) else { continue };
        if table.is_tracked() && ours_edited(&table.name) {
            let sql = table.sql.clone();
            plan.schema_conflicts.push(SchemaObject { kind: "table".into(), name: table.name.clone(), sql });
        }
    }
    let changed = |key: &(String, String)| merged.get(key).map(|object| &object.sql) != ours.get(key).map(|o| &o.sql);
    for (key, object) in ours.iter().filter(|(key, _)| key.0 != "table" && changed(key)) {
        plan.statements.push(format!("DROP {} IF EXISTS {}", key.0, quote(&object.name)));
    }
    tables(schemas, &merged, &changed, plan);
    for kind in ["index", "view", "trigger"] {
        plan.objects.extend(merged.iter().filter(|(key, _)| key.0 == kind).map(|(_, object)| object.clone()));
    }
}

fn tables(schemas: &Schemas, merged: &Objects, changed: &dyn Fn(&(String, String)) -> bool, plan: &mut MergePlan) {
    let key = |table: &Table| ("table".to_owned(), table.name.to_ascii_lowercase());
    let shadow = |table: &Table| matches!(table.kind, TableKind::Shadow { .. });
    let pairs = match_tables(&schemas.ours, &schemas.theirs);
    let mut create = Vec::new();
    for pair in &pairs {
        let gone = pair.old.as_ref().filter(|table| changed(&key(table)));
        let fresh = pair.new.as_ref().filter(|table| changed(&key(table)) && merged.contains_key(&key(table)));
        match (gone, fresh) {
            (Some(old), Some(new)) if old.is_tracked() && new.is_tracked() => rebuild(pair, old, new, plan),
            _ => {
                // A virtual table takes its shadow tables with it, and brings them.
                let dropped = gone.filter(|table| !shadow(table));
                plan.statements.extend(dropped.map(|table| format!("DROP TABLE {}", quote(&table.name))));
                create.extend(fresh.cloned());
            }
        }
    }
    let (shadows, own): (Vec<_>, Vec<_>) = create.into_iter().partition(|table| shadow(table));
    plan.statements.extend(own.into_iter().map(|table| table.sql.clone()));
    // Their first rows are in the changes.
    plan.statements.extend(shadows.into_iter().map(|table| format!("DELETE FROM {}", quote(&table.name))));
}

/// Gives a table another shape by copying its rows, as SQLite's documentation of ALTER TABLE describes.
fn rebuild(pair: &TableMatch, old: &Table, new: &Table, plan: &mut MergePlan) {
    let (table, aside) = (quote(&new.name), quote(&format!("maniac_merge_{}", old.name)));
    let (mut to, mut from) = (Vec::new(), Vec::new());
    for (i, column) in new.columns.iter().enumerate() {
        if let (Generated::No, Some(before)) = (column.generated, pair.columns[i]) {
            to.push(quote(&column.name));
            from.push(quote(&old.columns[before].name));
        }
    }
    let free = |name: &&str| !old.columns.iter().chain(&new.columns).any(|c| c.name.eq_ignore_ascii_case(name));
    let rowid = ["_rowid_", "rowid", "oid"].into_iter().find(free);
    let rowid = rowid.filter(|_| !new.without_rowid && new.rowid_alias.is_none());
    to.extend(rowid.map(str::to_owned));
    from.extend(rowid.map(str::to_owned));
    plan.statements.push(format!("ALTER TABLE {} RENAME TO {aside}", quote(&old.name)));
    plan.statements.push(new.sql.clone());
    plan.statements.push(format!(
        "INSERT INTO {table}({}) SELECT {} FROM main.{aside}",
        to.join(", "),
        from.join(", ")
    ));
    plan.statements.push(format!("DROP TABLE main.{aside}"));
}
