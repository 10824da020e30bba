use std::collections::HashSet;

use super::*;
use crate::source::SourceColumn;

fn table(name: &str, columns: &[(&str, &str)]) -> SourceTable {
    let columns = columns
        .iter()
        .map(|(name, declared)| SourceColumn {
            name: name.to_string(),
            declared: declared.to_string(),
            default: Some(Value::Null),
        })
        .collect();
    SourceTable { name: name.to_string(), columns, key: vec![0], key_is_rowid: true }
}

fn mirrors(tables: &[SourceTable]) -> Tables {
    let mut mirrors = Tables::default();
    for table in tables {
        let table = MirrorTable::of_source(table, mirrors.names(), false);
        mirrors.add(table);
    }
    mirrors
}

/// What became of each table: by name, unless it was renamed or is another one of the same name.
fn changes(old: &[SourceTable], new: &[SourceTable], renamed: &[(&str, &str)], created: &[&str]) -> Vec<TableChange> {
    let former = |name: &str| {
        let renamed = renamed.iter().find(|(_, to)| *to == name).map(|(from, _)| *from);
        let before = renamed.unwrap_or(name);
        old.iter().map(|table| table.name.as_str()).find(|old| *old == before && !created.contains(&name))
    };
    let came = new
        .iter()
        .map(|table| TableChange { before: former(&table.name).map(str::to_string), after: Some(table.clone()) });
    let mut changes: Vec<TableChange> = came.collect();
    for table in old {
        if !changes.iter().any(|change| change.before.as_ref() == Some(&table.name)) {
            changes.push(TableChange { before: Some(table.name.clone()), after: None });
        }
    }
    changes
}

const NOT_REFUSED: &dyn Fn(&MirrorTable) -> bool = &|_| false;

/// The steps, and the copies that follow them.
fn kinds_of(tables: &mut Tables, changes: &[TableChange], refused: &dyn Fn(&MirrorTable) -> bool) -> Vec<String> {
    let mut copies = HashSet::new();
    let mut all = kinds(&plan(tables, &mut copies, changes, refused, false));
    let copied = tables.iter().filter(|table| copies.contains(&table.source.to_ascii_lowercase()));
    all.extend(copied.map(|table| format!("copy {}", table.name)));
    all
}

fn steps(old: &[SourceTable], new: &[SourceTable], renamed: &[(&str, &str)], created: &[&str]) -> Vec<String> {
    let mut tables = mirrors(old);
    let steps = kinds_of(&mut tables, &changes(old, new, renamed, created), NOT_REFUSED);
    describes(&tables, new);
    steps
}

/// Whatever the steps, the result describes the new tables column by column.
fn describes(tables: &Tables, new: &[SourceTable]) {
    assert_eq!(tables.len(), new.len());
    for source in new {
        let mirror = &tables[tables.place(&source.name).unwrap()];
        assert_eq!(mirror.source, source.name);
        assert_eq!(mirror.key, source.key);
        let got: Vec<_> = mirror.columns.iter().map(|c| (&c.source, &c.declared)).collect();
        let expected: Vec<_> = source.columns.iter().map(|c| (&c.name, &c.declared)).collect();
        assert_eq!(got, expected);
    }
}

fn kinds(steps: &[Step]) -> Vec<String> {
    let kind = |step: &Step| match step {
        Step::Drop { table } => format!("drop {table}"),
        Step::RenameTable { from, to } => format!("rename {from} to {to}"),
        Step::RenameColumn { table, from, to } => format!("{table}: rename {from} to {to}"),
        Step::DropColumn { table, column } => format!("{table}: drop {column}"),
        Step::AddColumn { table, column, .. } => format!("{table}: add {} {}", column.name, column.column_type),
    };
    steps.iter().map(kind).collect()
}

#[test]
fn nothing_changed() {
    let t = [table("t", &[("id", "INTEGER"), ("a", "TEXT")])];
    assert!(steps(&t, &t, &[], &[]).is_empty());
}

#[test]
fn tables_come_and_go() {
    let a = table("a", &[("id", "INTEGER")]);
    let b = table("b", &[("id", "INTEGER")]);
    assert_eq!(steps(&[a], &[b], &[], &[]), ["drop a", "copy b"]);
}

#[test]
fn columns_are_added_renamed_and_dropped() {
    let before = table("t", &[("id", "INTEGER"), ("a", "TEXT"), ("b", "REAL")]);
    let added = table("t", &[("id", "INTEGER"), ("a", "TEXT"), ("b", "REAL"), ("c", "DATE")]);
    assert_eq!(steps(std::slice::from_ref(&before), &[added], &[], &[]), ["t: add c DATE"]);
    let renamed = table("t", &[("id", "INTEGER"), ("x", "TEXT"), ("b", "REAL")]);
    assert_eq!(steps(std::slice::from_ref(&before), &[renamed], &[], &[]), ["t: rename a to x"]);
    let dropped = table("t", &[("id", "INTEGER"), ("b", "REAL")]);
    assert_eq!(steps(&[before], &[dropped], &[], &[]), ["t: drop a"]);
}

#[test]
fn what_is_more_than_a_statement_is_copied() {
    let before = table("t", &[("id", "INTEGER"), ("a", "TEXT"), ("b", "TEXT")]);
    let expected = ["drop t", "copy t"];
    let swapped = table("t", &[("id", "INTEGER"), ("b", "TEXT"), ("a", "TEXT")]);
    assert_eq!(steps(std::slice::from_ref(&before), &[swapped], &[], &[]), expected);
    let dropped_and_renamed = table("t", &[("id", "INTEGER"), ("c", "TEXT")]);
    assert_eq!(steps(std::slice::from_ref(&before), &[dropped_and_renamed], &[], &[]), expected);
    let retyped = table("t", &[("id", "INTEGER"), ("a", "INTEGER"), ("b", "TEXT")]);
    assert_eq!(steps(std::slice::from_ref(&before), &[retyped], &[], &[]), expected);
    // The same columns, and yet another table: dropped and created again.
    assert_eq!(steps(std::slice::from_ref(&before), std::slice::from_ref(&before), &[], &["t"]), expected);
}

#[test]
fn a_changed_key_is_copied() {
    let before = table("t", &[("id", "INTEGER"), ("a", "TEXT")]);
    let mut after = before.clone();
    after.key = vec![1];
    after.key_is_rowid = false;
    assert_eq!(steps(&[before], &[after], &[], &[]), ["drop t", "copy t"]);
}

#[test]
fn what_the_target_refused_is_copied() {
    let before = table("t", &[("id", "INTEGER"), ("a", "TEXT")]);
    let after = table("t", &[("id", "INTEGER")]);
    let changes = changes(std::slice::from_ref(&before), &[after], &[], &[]);
    assert_eq!(kinds_of(&mut mirrors(&[before]), &changes, &|table| table.name == "t"), ["drop t", "copy t"]);
}

#[test]
fn tables_are_renamed_and_swapped() {
    let a = table("a", &[("id", "INTEGER")]);
    let b = table("b", &[("id", "INTEGER"), ("x", "TEXT")]);
    let c = table("c", &[("id", "INTEGER")]);
    assert_eq!(steps(std::slice::from_ref(&a), &[c], &[("a", "c")], &[]), ["rename a to c"]);
    let swapped = [table("b", &[("id", "INTEGER")]), table("a", &[("id", "INTEGER"), ("x", "TEXT")])];
    let renames = [("a", "b"), ("b", "a")];
    let kinds = steps(&[a, b], &swapped, &renames, &[]);
    assert!(kinds.contains(&"drop a".to_string()), "{kinds:?}");
    assert!(kinds.contains(&"copy b".to_string()), "{kinds:?}");
}

#[test]
fn commits_are_planned_one_after_the_other() {
    let id = [("id", "INTEGER")];
    let (old, mut tables) = ([table("a", &id), table("b", &id)], mirrors(&[table("a", &id), table("b", &id)]));
    let (with_x, with_y) = (table("a", &[id[0], ("x", "TEXT")]), table("a", &[id[0], ("y", "TEXT")]));
    let mut copies = HashSet::new();
    let mut follow = |tables: &mut Tables, before: Option<&str>, after: Option<&SourceTable>| {
        let change = TableChange { before: before.map(str::to_string), after: after.cloned() };
        kinds(&plan(tables, &mut copies, &[change], NOT_REFUSED, false))
    };
    assert_eq!(follow(&mut tables, Some("a"), Some(&with_x)), ["a: add x VARCHAR"]);
    assert_eq!(follow(&mut tables, Some("a"), Some(&with_y)), ["a: rename x to y"]);
    assert_eq!(follow(&mut tables, Some("b"), None), ["drop b"]);
    // What is to be copied costs no statement, and what frees a name lets another have it.
    assert!(follow(&mut tables, None, Some(&old[1])).is_empty());
    assert!(follow(&mut tables, Some("b"), Some(&table("c", &id))).is_empty());
    assert_eq!(follow(&mut tables, Some("a"), Some(&table("b", &[id[0], ("y", "TEXT")]))), ["rename a to b"]);
    assert!(follow(&mut tables, Some("c"), None).is_empty());
    assert!(follow(&mut tables, None, Some(&old[0])).is_empty());
    describes(&tables, &[table("b", &[id[0], ("y", "TEXT")]), old[0].clone()]);
    assert_eq!(copies, HashSet::from(["a".to_string()]));
}

#[test]
fn an_added_column_whose_default_does_not_fit_is_copied() {
    let before = table("t", &[("id", "INTEGER")]);
    let mut after = table("t", &[("id", "INTEGER"), ("n", "INTEGER")]);
    after.columns[1].default = Some(Value::Text(b"none".into()));
    assert_eq!(steps(&[before], &[after], &[], &[]), ["drop t", "copy t"]);
}

#[test]
fn a_widened_column_stays_wide_through_a_copy() {
    let source = table("t", &[("id", "INTEGER"), ("n", "INTEGER"), ("s", "TEXT")]);
    let mut tables = mirrors(std::slice::from_ref(&source));
    tables.table(0).columns[1].column_type = ColumnType::Varchar;
    let after = table("t", &[("id", "INTEGER"), ("n", "INTEGER"), ("s", "BLOB")]);
    kinds_of(&mut tables, &changes(&[source], &[after], &[], &[]), NOT_REFUSED);
    assert_eq!(tables[0].types(), [ColumnType::BigInt, ColumnType::Varchar, ColumnType::Blob]);
}

#[test]
fn own_tables_keep_their_names() {
    let source = table(STATE_TABLE, &[("id", "INTEGER")]);
    assert_eq!(mirrors(&[source])[0].name, "_maniac_state_2");
}

#[test]
fn steps_are_read_back() {
    let mut column = MirrorColumn { column_type: ColumnType::BigInt, ..MirrorColumn::default() };
    assert_eq!(MirrorColumn::parse_steps(&column.steps()), Some((vec![], ColumnType::BigInt)));
    column.widen(ColumnType::Decimal { width: 20, scale: 1 });
    column.widen(ColumnType::Varchar);
    assert_eq!(column.steps(), "BIGINT -> DECIMAL(20,1) -> VARCHAR");
    assert_eq!(MirrorColumn::parse_steps(&column.steps()), Some((column.narrower, ColumnType::Varchar)));
    assert_eq!(MirrorColumn::parse_steps("BIGINT -> TINYINT"), None);
}

#[test]
fn names_that_differ_in_the_case_of_other_letters_are_kept() {
    let tables = [table("É", &[("id", "INTEGER"), ("Ä", ""), ("ä", "")]), table("é", &[("id", "INTEGER")])];
    let mirrors = mirrors(&tables);
    assert_eq!((mirrors[0].name.as_str(), mirrors[1].name.as_str()), ("É", "é"));
    assert_eq!(mirrors[0].columns[2].name, "ä");
}
