//! Changesets with rows of shadow tables, for a database that may have gone another way since.

use std::collections::HashMap;

use maniac_changeset::ChangesetError;
use maniac_sqlite_format::{ModuleCall, Schema};

use super::content::{Content, virtual_tables};
use super::{Fate, Index, IndexStep, rewritten};
use crate::merge::tables_of;

/// A changeset as it can be applied to a database with virtual tables.
pub struct Translated {
    /// In place of documents' rows in shadow tables it has the documents.
    pub changeset: Vec<u8>,
    pub indexes: Vec<Index>,
    /// Virtual tables whose shadow rows have stayed: they hold together, or they must not be applied.
    pub raw: Vec<Raw>,
}

pub struct Raw {
    pub table: String,
    /// In lower case.
    pub module: String,
    /// The names of the shadow tables, in lower case.
    pub storage: Vec<String>,
    /// The table that it is an index of, and the name of the id there.
    pub content: Option<(String, String)>,
}

/// Translates a changeset for a database with this schema.
pub fn translate(schema: &Schema, changeset: &[u8]) -> Result<Translated, ChangesetError> {
    let touched = tables_of(changeset)?;
    let (mut fates, mut indexes, mut raw) = (HashMap::new(), Vec::new(), Vec::new());
    for table in virtual_tables(schema).into_values().filter(|table| table.known) {
        let storage = || table.storage.iter().map(|table| table.name.to_ascii_lowercase());
        if !storage().any(|name| touched.contains(&name)) {
            continue;
        }
        let name = &table.table.name;
        let mut then = |step| indexes.push(Index { table: name.clone(), step });
        if !matches!(table.content, Content::Documents { .. }) {
            then(IndexStep::Reread);
            let module = ModuleCall::parse(&table.table.sql).map(|call| call.module).unwrap_or_default();
            let content = match &table.content {
                Content::Elsewhere { table, rowid } => {
                    Some((table.clone(), rowid.clone().unwrap_or_else(|| "rowid".into())))
                }
                _ => None,
            };
            raw.push(Raw { table: name.clone(), module, storage: storage().collect(), content });
            continue;
        }
        fates.extend(storage().map(|name| (name, Fate::Dropped)));
        if let Some(content) = table.shadow("content") {
            fates.insert(content.name.to_ascii_lowercase(), Fate::Documents(name.clone()));
        }
        if let Some(settings) = table.shadow("config") {
            let settings = settings.name.to_ascii_lowercase();
            if touched.contains(&settings) {
                then(IndexStep::Configure);
            }
            fates.insert(settings, Fate::Settings);
        }
    }
    Ok(Translated { changeset: rewritten(changeset, &fates)?, indexes, raw })
}
