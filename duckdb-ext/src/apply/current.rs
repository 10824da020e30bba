//! What a mirror shows and was told, read beside its applier.

use maniac_base::Version;

use super::attach::Attached;
use super::copy::Copied;
use crate::error::Result;
use crate::host::Session;
use crate::schema::{OnMismatch, Selection, Tables};
use crate::source::Identity;
use crate::target::lake::applied_version;
use crate::target::state::{self, State};
use crate::target::{MaintenanceSettings, Target};

/// A mirror at one moment.
pub struct Current {
    pub selection: Selection,
    pub on_mismatch: OnMismatch,
    pub upkeep: MaintenanceSettings,
    pub version: Version,
    pub tables: Vec<Attached>,
}

/// Reads it in one transaction. In a lake the caller holds the lake's turn, so that no mirror changes tables meanwhile.
pub fn current(session: &Session, target: &Target, of: &Identity) -> Result<Current> {
    session.run("BEGIN")?;
    let shown = (|| {
        let state = state::read(session, target)?;
        let version = applied_version::version(session, target, of, &state)?.unwrap_or(state.version);
        let tables = counted(session, target, &state::read_tables(session, target)?)?;
        let State { selection, on_mismatch, upkeep, .. } = state;
        Ok(Current { selection, on_mismatch, upkeep, version, tables })
    })();
    // It has changed nothing.
    drop(session.run("ROLLBACK"));
    shown
}

/// The tables with their rows.
pub(super) fn counted(session: &Session, target: &Target, tables: &Tables) -> Result<Vec<Attached>> {
    let mut counted = Vec::new();
    for table in tables.iter() {
        let sql = format!("SELECT count(*)::VARCHAR FROM {}", target.table(&table.name));
        let rows = session.value(&sql)?.and_then(|count| count.parse().ok()).unwrap_or(0);
        counted.push(Attached { table: table.name.clone(), copied: Copied { rows, ..Copied::default() } });
    }
    counted.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(counted)
}
