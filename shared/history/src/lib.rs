//! What happened in a store, in the words of its tables: the log with its changesets read and named.

mod changeset;
mod difference;
mod entries;
mod error;
mod follow;
mod gaps;
mod json;
mod merge;
pub mod relations;
mod rows;
mod schemas;
mod settings;

pub use changeset::changeset;
pub use difference::{difference, difference_rows, schema_of, sound_difference, sound_schema_of};
pub use entries::{Entries, entries};
pub use error::HistoryError;
pub use follow::{Follower, SchemaChange, Stream};
pub use gaps::unreadable_reason;
pub use json::JsonObject;
pub use maniac_sqlite_format::{Encoding, Schema, SchemaRow};
pub use merge::{
    Contested, Index, IndexStep, MergePlan, Prefer, Raw, Refusal, SchemaConflict, SchemaObject, Statement, Translated,
    content_query, merge_plan, translate,
};
pub use rows::{TableRow, TableRows, columns, row};
