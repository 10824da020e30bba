//! Table-valued functions: what a store can tell about itself, as rows.

mod branches;
mod changes;
mod columns;
mod conflicts;
mod diff;
mod log;
mod store;
mod table_function;
mod tags;

use rusqlite::{Connection, Result};

use crate::last_error::Newest;
use table_function::register_table;

pub fn register(connection: &Connection, newest: &Newest) -> Result<()> {
    register_table::<branches::Branches>(connection, newest)?;
    register_table::<changes::Changes>(connection, newest)?;
    register_table::<conflicts::Conflicts>(connection, newest)?;
    register_table::<diff::Diff>(connection, newest)?;
    register_table::<log::Log>(connection, newest)?;
    register_table::<columns::Columns>(connection, newest)?;
    register_table::<tags::Tags>(connection, newest)?;
    register_table::<store::Store>(connection, newest)
}
