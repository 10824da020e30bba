//! What only native tables have: primary keys, room that deleted rows keep, a choice of compression.

pub mod bloat;
pub mod compression;
pub mod primary_key;
