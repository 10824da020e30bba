//! The schema: which tables a database has, and how their rows are laid out.

mod affinity;
mod compare;
mod create_table;
mod default;
mod elements;
mod lexer;
mod module;
mod read;
mod table;
mod view;

pub use affinity::Affinity;
pub use compare::{has_keyword, merged_statement, same_statement};
pub use elements::{ColumnText, TableText};
pub use module::{ModuleArgument, ModuleCall};
pub use read::{Schema, SchemaRow, UnsoundRow};
pub use table::{Collation, Column, Generated, KeyForm, KeyPart, Table, TableKind};
pub use view::ViewText;

#[cfg(test)]
mod tests;
