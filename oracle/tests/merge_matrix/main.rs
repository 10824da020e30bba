//! Every pair of changes to a database on two branches, merged in both directions.
//!
//! A *world* is a small database and a list of changes: to the rows of a table, its columns, its key,
//! its name, to the indexes, views and triggers around it, to the header. Each change is made on a
//! branch of its own for the left side and for the right side. Then each pair of a left and a right
//! branch is merged:
//!
//! ```text
//!            base                     abort    both ways: the same result, or the same conflicts
//!       left ↙  ↘ right               ours     here gives what `theirs` gives there,
//!   copy ← merge right   copy ← merge left     wherever the message advises it
//! ```
//!
//! - `worlds` and `changes` say what there is.
//! - `connections` has what a connection can have of its own, which must not matter.
//! - `state` reads what a branch holds, as far as both directions must agree in it.
//! - `sound` tries everything that SQL can do with the merged schema.
//! - `rows` says which values must be there after a merge, and which must not.
//! - `recorded` compares what a merge is told to have changed with what differs.
//! - `pairs` merges.
//!
//! `MANIAC_WORLD` chooses one world, `MANIAC_PAIR` (`left/right`) one pair of changes, and
//! `MANIAC_STRIDE=1` takes all pairs. By default worlds of a table take each second pair, and each
//! thirteenth where only the table's key differs from another world's.

mod changes;
mod connections;
mod pairs;
mod recorded;
mod rows;
mod sound;
mod state;
mod worlds;

use std::path::{Path, PathBuf};
use std::sync::Once;

use rusqlite::Connection;

/// Loads the extension into this process's SQLite.
fn load() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("dist");
        let extension = std::env::var_os("MANIAC_DIST").map_or(default, PathBuf::from).join("maniac");
        let loader = Connection::open_in_memory().unwrap();
        // SAFETY: the extension is ours, built from this checkout.
        unsafe {
            loader.load_extension_enable().unwrap();
            loader.load_extension(extension, None::<&str>).expect("`make build` comes first");
        }
    });
}

macro_rules! worlds {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            load();
            pairs::run(&worlds::$name());
        })*
    };
}

worlds! {
    rowid_table
    keyless_table
    without_rowid_table
    nocase_table
    autoincrement_table
    generated_columns
    foreign_keys
    fts5_documents
    fts5_of_a_table
    fts5_contentless
    fts4_documents
    rtree
}
