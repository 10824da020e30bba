//! Table-valued functions: what a store can tell about itself, as rows.

mod branches;
mod changes;
mod columns;
mod conflicts;
mod diff;
mod log;
mod store;
mod table_function;

use rusqlite::{Connection, Result};

use table_function::register_table;

pub fn register(connection: &Connection) -> Result<()> {
    register_table::<branches::Branches>(connection)?;
    register_table::<changes::Changes>(connection)?;
    register_table::<conflicts::Conflicts>(connection)?;
    register_table::<diff::Diff>(connection)?;
    register_table::<log::Log>(connection)?;
    register_table::<columns::Columns>(connection)?;
    register_table::<store::Store>(connection)
}
