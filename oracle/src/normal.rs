//! A changeset in an order that doesn't depend on who wrote it.

use maniac_changeset::{Item, NULL_KEY_PREFIX, Reader, Writer};

/// One change: the table's header, the row's key, and all bytes of the change. SQLite writes rows in the order of its
/// hash table, so changesets are compared as sorted lists of these.
pub type Entry = (String, Vec<u8>, Vec<u8>, Vec<u8>);

pub fn entries(changeset: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut table = None;
    for item in Reader::new(changeset) {
        match item.expect("a well-formed changeset") {
            Item::Table(header) => table = Some(header),
            Item::Change(change) => {
                let header = table.expect("a table before its changes");
                let mut writer = Writer::new();
                writer.change(&change);
                let mut bytes = writer.take();
                // The session extension marks what triggers did; pages can't tell.
                bytes[1] = 0;
                entries.push((header.name.to_string(), change.key(&header), header.key.to_vec(), bytes));
            }
        }
    }
    entries.sort();
    entries
}

/// Without the rows that the session extension doesn't record: those whose declared key holds NULL.
pub fn session_entries(changeset: &[u8]) -> Vec<Entry> {
    let mut entries = entries(changeset);
    entries.retain(|(table, ..)| !table.starts_with(NULL_KEY_PREFIX));
    entries
}

/// A readable form for messages.
pub fn show(entries: &[Entry]) -> String {
    let mut out = String::new();
    for (table, _, key, bytes) in entries.iter().take(4) {
        let mut text: String = bytes[1..].escape_ascii().take(200).map(char::from).collect();
        text.truncate(300);
        out += &format!("  {table} {key:?} op {} {text}\n", bytes[0]);
    }
    if entries.len() > 4 {
        out += &format!("  and {} more\n", entries.len() - 4);
    }
    out
}

/// What one side has and the other hasn't.
pub fn difference(ours: &[Entry], theirs: &[Entry]) -> String {
    let only = |a: &[Entry], b: &[Entry]| a.iter().filter(|entry| !b.contains(entry)).cloned().collect::<Vec<_>>();
    let (ours, theirs) = (only(ours, theirs), only(theirs, ours));
    let mut out = format!("{} only ours:\n{}{} only theirs:\n{}", ours.len(), show(&ours), theirs.len(), show(&theirs));
    if let (Some(a), Some(b)) = (ours.first(), theirs.first()) {
        let at = a.3.iter().zip(&b.3).position(|(a, b)| a != b).unwrap_or(0);
        let near = |bytes: &[u8]| bytes[at.saturating_sub(20)..bytes.len().min(at + 30)].escape_ascii().to_string();
        out += &format!("the first two differ at {at}:\n  {}\n  {}\n", near(&a.3), near(&b.3));
    }
    out
}
