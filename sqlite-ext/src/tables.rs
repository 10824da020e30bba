//! Table-valued functions.

use rusqlite::{Connection, Result};

pub fn register(_connection: &Connection) -> Result<()> {
    Ok(())
}
