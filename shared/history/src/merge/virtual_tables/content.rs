//! Where the modules of SQLite keep what a virtual table holds, as opposed to the indexes that they make of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::schema::quote;
use maniac_sqlite_format::{ModuleCall, Schema, Table, TableKind};

/// The content of a virtual table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A document is a row of the shadow table `_content`: FTS5, FTS3 and FTS4.
    Documents { columns: Vec<String> },
    /// An entry is a cell of a leaf in the shadow table `_node`, with further columns in `_rowid`: R-Tree.
    Entries { columns: Vec<String>, coordinates: usize, integers: bool },
    /// An index of another table's rows: FTS with the option `content`.
    Elsewhere { table: String, rowid: Option<String> },
    /// Not to be had from its shadow tables, or not known how.
    Opaque,
}

pub struct VirtualTable {
    pub table: Arc<Table>,
    pub content: Content,
    /// The tables that the module keeps for it.
    pub storage: Vec<Arc<Table>>,
    /// Which those are is known; else they are told by their names.
    pub known: bool,
}

/// Modules without storage of their own whose tables other tables' names may start with.
const WITHOUT_STORAGE: [&str; 4] = ["fts5vocab", "fts4aux", "fts3tokenize", "csv"];

/// The virtual tables of a schema by their names in lower case.
pub fn virtual_tables(schema: &Schema) -> BTreeMap<String, VirtualTable> {
    let mut found = BTreeMap::new();
    for table in &schema.tables {
        let TableKind::Virtual { module } = &table.kind else { continue };
        let module = module.to_ascii_lowercase();
        let known = ["fts3", "fts4", "fts5", "rtree", "rtree_i32", "geopoly"].contains(&&module[..]);
        let prefix = format!("{}_", table.name.to_ascii_lowercase());
        let belongs = |other: &&Arc<Table>| match &other.kind {
            TableKind::Shadow { of } => of.eq_ignore_ascii_case(&table.name),
            TableKind::Ordinary if !known && !WITHOUT_STORAGE.contains(&&module[..]) => {
                other.name.to_ascii_lowercase().starts_with(&prefix)
            }
            _ => false,
        };
        let storage: Vec<_> = schema.tables.iter().filter(belongs).cloned().collect();
        let content = content(table, &storage).unwrap_or(Content::Opaque);
        let entry = VirtualTable { table: table.clone(), content, storage, known };
        found.insert(table.name.to_ascii_lowercase(), entry);
    }
    found
}

/// A query of what an index of another table needs of that, if a statement makes such an index.
pub fn content_query(sql: &str) -> Option<String> {
    let call = ModuleCall::parse(sql)?;
    let known = ["fts4", "fts5"].contains(&call.module.as_str());
    let Some(Content::Elsewhere { table, rowid }) = known.then(|| elsewhere(&call)).flatten() else { return None };
    let is_column = |text: &str| !text.to_ascii_lowercase().starts_with("tokenize");
    let columns = call.arguments.iter().filter(|argument| argument.value.is_none() && is_column(&argument.text));
    // With the table's name in front a name in double quotes is no text.
    let rowid = rowid.map_or_else(|| "rowid".to_owned(), |name| quote(&name));
    let named = [rowid].into_iter().chain(columns.map(|argument| quote(&argument.name)));
    let named: Vec<String> = named.map(|name| format!("content.{name}")).collect();
    Some(format!("SELECT {} FROM main.{} AS content", named.join(", "), quote(&table)))
}

fn content(table: &Table, storage: &[Arc<Table>]) -> Option<Content> {
    let call = ModuleCall::parse(&table.sql)?;
    match call.module.as_str() {
        "fts5" => fts5(table, &call, storage),
        "fts3" | "fts4" => fts4(table, &call, storage),
        "rtree" | "rtree_i32" => rtree(&call),
        _ => None,
    }
}

fn elsewhere(call: &ModuleCall) -> Option<Content> {
    let table = call.option("content")?.to_owned();
    let rowid = call.option("content_rowid").map(str::to_owned);
    (!table.is_empty()).then_some(Content::Elsewhere { table, rowid })
}

fn fts5(table: &Table, call: &ModuleCall, storage: &[Arc<Table>]) -> Option<Content> {
    if call.option("content").is_some() {
        return elsewhere(call);
    }
    let columns = call.arguments.iter().filter(|argument| argument.value.is_none());
    documents(table, columns.map(|argument| argument.name.clone()).collect(), storage)
}

fn fts4(table: &Table, call: &ModuleCall, storage: &[Arc<Table>]) -> Option<Content> {
    // A column that is stored by a function of the application's would have to be read by one.
    if ["compress", "uncompress", "languageid"].into_iter().any(|name| call.option(name).is_some()) {
        return None;
    }
    if call.option("content").is_some() {
        return elsewhere(call);
    }
    let is_column = |text: &str| !text.to_ascii_lowercase().starts_with("tokenize");
    let columns = call.arguments.iter().filter(|argument| argument.value.is_none() && is_column(&argument.text));
    let mut columns: Vec<_> = columns.map(|argument| argument.name.clone()).collect();
    if columns.is_empty() {
        columns.push("content".into());
    }
    documents(table, columns, storage)
}

fn documents(table: &Table, columns: Vec<String>, storage: &[Arc<Table>]) -> Option<Content> {
    let stored = shadow(table, storage, "content")?;
    // Anything beyond the columns, such as FTS5's locales, would be lost.
    (stored.columns.len() == columns.len() + 1).then_some(Content::Documents { columns })
}

fn rtree(call: &ModuleCall) -> Option<Content> {
    let auxiliary = |text: &str| text.starts_with('+');
    let coordinates = call.arguments.iter().skip(1).filter(|argument| !auxiliary(&argument.text)).count();
    let name = |text: &str| {
        let text = text.trim_start_matches('+').trim_start();
        text.split([' ', '\t', '\n']).next().unwrap_or(text).trim_matches(['"', '`', '[', ']', '\'']).to_owned()
    };
    let columns = call.arguments.iter().map(|argument| name(&argument.text)).collect();
    let integers = call.module == "rtree_i32";
    ((2..=10).contains(&coordinates)).then_some(Content::Entries { columns, coordinates, integers })
}

/// The shadow table of that name, after the virtual table's own.
pub fn shadow<'t>(table: &Table, storage: &'t [Arc<Table>], suffix: &str) -> Option<&'t Arc<Table>> {
    let name = format!("{}_{suffix}", table.name);
    storage.iter().find(|table| table.name.eq_ignore_ascii_case(&name))
}

impl VirtualTable {
    pub fn shadow(&self, suffix: &str) -> Option<&Arc<Table>> {
        shadow(&self.table, &self.storage, suffix)
    }
}
