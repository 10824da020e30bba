//! The source's views, offered in the mirror's schema where DuckDB takes their text.
//!
//! They are made apart from batches, each in a transaction of its own, so that none can stop anything: what fails is a reason
//! to tell. A view of the mirror's has the source's statement as its comment, which tells it from a user's.
//!
//! DuckDB looks for a name in the view's own schema first, and then where the user who asks looks. So a view that reads
//! anything that the mirror does not have is not made, though DuckDB may find something else of that name.

use std::collections::{BTreeMap, HashSet};

use maniac_sqlite_format::ViewText;
use serde_json::Value as Json;

use super::Applier;
use crate::error::{Error, Result};
use crate::host::Session;
use crate::schema::{COLUMNS_TABLE, REJECTS_TABLE, STATE_TABLE, Tables, quote, quote_text};
use crate::source::{Commit, SourceView};
use crate::target::Target;

/// What the comment of a mirror's view begins with.
const MARK: &str = "view of the source: ";

/// A view of the source, and why the mirror does not have it, if so.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedView {
    pub name: String,
    pub reason: Option<String>,
}

/// The views that the mirror has made: their names, and the source's statements, by the names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Views {
    made: BTreeMap<String, (String, String)>,
    offered: Vec<OfferedView>,
    due: bool,
}

impl Views {
    /// Finds what an earlier applier has made. Looks into all databases.
    pub fn find(session: &Session, target: &Target) -> Result<Views> {
        let rows = session.query(&format!(
            "SELECT view_name, substr(comment, {}) FROM duckdb_views() WHERE lower(database_name) = lower({}) \
             AND lower(schema_name) = lower({}) AND starts_with(comment, '{MARK}')",
            MARK.len() + 1,
            quote_text(&target.catalog),
            quote_text(&target.schema)
        ))?;
        let made = rows.into_iter().filter_map(|row| match <[Option<String>; 2]>::try_from(row) {
            Ok([Some(name), Some(sql)]) => Some((name.to_lowercase(), (name, sql))),
            _ => None,
        });
        Ok(Views { made: made.collect(), ..Views::default() })
    }

    pub fn offered(&self) -> Vec<OfferedView> {
        self.offered.clone()
    }

    fn drop_statement(target: &Target, name: &str) -> String {
        format!("DROP VIEW IF EXISTS {}", target.table(name))
    }

    /// Makes room for the tables of the commits, in their transaction: what was a view may be a table now.
    pub fn make_room(&self, session: &Session, target: &Target, commits: &[Commit]) -> Result<()> {
        let changes = commits.iter().flat_map(|commit| commit.schema.as_deref().unwrap_or_default());
        for table in changes.filter_map(|change| change.after.as_ref()) {
            if let Some((name, _)) = self.made.get(&table.name.to_lowercase()) {
                session.run(&Views::drop_statement(target, name))?;
            }
        }
        Ok(())
    }

    /// Makes room for any table.
    pub fn clear(&mut self, session: &Session, target: &Target) -> Result<()> {
        for (name, _) in std::mem::take(&mut self.made).into_values() {
            session.run(&Views::drop_statement(target, &name))?;
        }
        Ok(())
    }
}

impl Applier {
    /// Notes that the schema has changed: views may bind that didn't, or the other way round.
    pub fn note_views(&mut self, changed: bool) {
        self.views.due |= changed;
    }

    /// Brings the mirror's views to what the source has at the version that the mirror shows, if that may be something else.
    /// What fails is told, and tried again after the next change of the schema. Nothing if nothing was to be done.
    pub fn refresh_views(&mut self) -> Option<Vec<OfferedView>> {
        if !std::mem::take(&mut self.views.due) {
            return None;
        }
        let wanted = self.source.views(self.version).unwrap_or_default();
        let stale = self.views.made.iter().filter(|(_, made)| !wanted.iter().any(|view| made.1 == view.sql));
        let stale = stale.map(|(key, _)| key.clone()).collect::<Vec<_>>();
        stale.iter().for_each(|key| self.drop_view(key));
        let mut reasons = BTreeMap::new();
        // Views over views: until nothing more comes or goes, which takes a round for each at most.
        for _ in 0..=wanted.len() {
            let before = self.views.made.clone();
            reasons.clear();
            for view in &wanted {
                if let Err(reason) = self.offer(view) {
                    self.drop_view(&view.name.to_lowercase());
                    reasons.insert(view.name.clone(), reason);
                }
            }
            if self.views.made == before {
                break;
            }
        }
        let offered = wanted.into_iter().map(|view| {
            let reason = reasons.remove(&view.name);
            OfferedView { name: view.name, reason }
        });
        self.views.offered = offered.collect();
        Some(self.views.offered())
    }

    /// Makes the view, unless it is there and well; or says why that can't be.
    fn offer(&mut self, view: &SourceView) -> std::result::Result<(), String> {
        let key = view.name.to_lowercase();
        let made = self.views.made.contains_key(&key);
        let shown = self.target.table(&view.name);
        let text = ViewText::read(&view.sql).ok_or("its statement can't be read")?;
        self.check_view(&view.name, &text)?;
        if made && self.session.bind(&format!("SELECT * FROM {shown} LIMIT 0")).is_ok() {
            return Ok(());
        }
        let names: Vec<String> = text.columns.iter().map(|name| quote(name)).collect();
        let columns = if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) };
        let statements = [
            // Only its own: a view that a user has made is in the way.
            if made { Views::drop_statement(&self.target, &view.name) } else { "SELECT 1".to_string() },
            format!("CREATE VIEW {shown}{columns} AS {}", text.query),
            format!("COMMENT ON VIEW {shown} IS {}", quote_text(&format!("{MARK}{}", view.sql))),
        ];
        self.change_view(&format!("view {}", view.name), &statements).map_err(|error| match error {
            Error::Database { message, .. } => message.lines().next().unwrap_or_default().to_string(),
            error => error.to_string(),
        })?;
        self.views.made.insert(key, (view.name.clone(), view.sql.clone()));
        Ok(())
    }

    /// Fails with a reason if DuckDB may take the text for something else than SQLite does.
    fn check_view(&self, name: &str, text: &ViewText) -> std::result::Result<(), String> {
        if !self.selection.has(name) {
            return Err("the choice of tables leaves it out".to_string());
        }
        if text.has_rowid {
            return Err("it reads rowid, which in DuckDB is a number of its own".to_string());
        }
        let sql = format!("SELECT json_serialize_sql({})::VARCHAR", quote_text(&text.query));
        let tree = self.session.value(&sql).map_err(|error| error.to_string())?.unwrap_or_default();
        let tree: Json = serde_json::from_str(&tree).map_err(|error| error.to_string())?;
        if let Some(message) = tree.get("error_message").and_then(Json::as_str) {
            return Err(message.to_string());
        }
        let mut reads = Reads::default();
        reads.walk(&tree);
        let made = |name: &str| self.views.made.contains_key(name);
        reads.refusal(&self.tables, &made).map_or(Ok(()), Err)
    }

    fn drop_view(&mut self, key: &str) {
        let Some((name, _)) = self.views.made.remove(key) else { return };
        // A table has its name now.
        if !self.tables.iter().any(|table| table.name.to_lowercase() == *key) {
            // One that stays is dropped when the mirror is attached anew.
            drop(self.change_view(&format!("drop view {name}"), &[Views::drop_statement(&self.target, &name)]));
        }
    }

    fn change_view(&mut self, what: &str, statements: &[String]) -> Result<()> {
        self.direct.forget();
        self.transaction(|applier| {
            if applier.target.lake {
                applier.applied.begin(&applier.session, &applier.target, &applier.owner)?;
            }
            applier.pin();
            statements.iter().try_for_each(|statement| applier.session.run(statement).map(drop))?;
            applier.pin();
            applier.mark(what, Some(applier.version))
        })?;
        self.applied.renewed();
        Ok(())
    }
}

/// What a query reads, by DuckDB's own parser.
#[derive(Default)]
struct Reads {
    /// Tables and views, with what is before their names.
    tables: Vec<(String, String)>,
    /// The names of common table expressions, in lower case.
    local: HashSet<String>,
}

impl Reads {
    fn walk(&mut self, tree: &Json) {
        match tree {
            Json::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Json::Object(fields) => {
                let text = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default();
                if text("type") == "BASE_TABLE" {
                    let place = [text("catalog_name"), text("schema_name")].join(".");
                    self.tables.push((place.trim_matches('.').to_string(), text("table_name").to_string()));
                }
                let locals = fields.get("cte_map").and_then(|map| map.get("map")).and_then(Json::as_array);
                let names = locals.into_iter().flatten().filter_map(|local| local.get("key")?.as_str());
                self.local.extend(names.map(str::to_lowercase));
                fields.values().for_each(|field| self.walk(field));
            }
            _ => {}
        }
    }

    /// Why a view of it can't be offered.
    fn refusal(&self, tables: &Tables, is_view: &dyn Fn(&str) -> bool) -> Option<String> {
        self.tables.iter().find_map(|(place, name)| {
            if !place.is_empty() {
                return Some(format!("it reads {place}.{name}, and DuckDB has no such schema of the source"));
            }
            let key = name.to_lowercase();
            if self.local.contains(&key) || is_view(&key) {
                return None;
            }
            let own = [STATE_TABLE, COLUMNS_TABLE, REJECTS_TABLE].contains(&key.as_str());
            match tables.iter().find(|table| table.source.to_lowercase() == key) {
                Some(table) if table.name.to_lowercase() == key && !own => None,
                Some(table) => Some(format!("it reads {name}, which is {} in the mirror", table.name)),
                None => Some(format!("it reads {name}, which the mirror does not have")),
            }
        })
    }
}
