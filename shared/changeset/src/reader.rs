//! Reads a changeset from its start.

use maniac_base::read_varint;

use crate::record::{Field, Record};
use crate::{ChangesetError, Op, TableHeader};

/// One changed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'c> {
    pub op: Op,
    /// Set by the session extension for changes that triggers and foreign keys made.
    pub indirect: bool,
    /// What was there: every column of a DELETE; key and changed columns of an UPDATE.
    pub old: Option<Record<'c>>,
    /// What is there: every column of an INSERT; the changed columns of an UPDATE.
    pub new: Option<Record<'c>>,
}

impl<'c> Change<'c> {
    /// The record that holds the key.
    pub fn keyed(&self) -> Record<'c> {
        self.old.or(self.new).unwrap_or(Record::EMPTY)
    }

    /// The key's fields one after the other: what tells this row from the others of its table.
    pub fn key(&self, header: &TableHeader<'_>) -> Vec<u8> {
        let mut key = Vec::new();
        for (i, field) in self.keyed().fields().enumerate() {
            if header.is_key(i) {
                key.extend_from_slice(field.bytes());
            }
        }
        key
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'c> {
    /// The changes that follow are of this table.
    Table(TableHeader<'c>),
    Change(Change<'c>),
}

/// Iterates over a changeset. After an error there is nothing more.
pub struct Reader<'c> {
    bytes: &'c [u8],
    at: usize,
    table: Option<TableHeader<'c>>,
}

impl<'c> Reader<'c> {
    pub fn new(bytes: &'c [u8]) -> Reader<'c> {
        Reader { bytes, at: 0, table: None }
    }

    /// Goes on at offset `at`, among the changes of the table whose header is at `header`: for readers that cannot keep
    /// a borrow of the bytes between two changes.
    pub fn resume(bytes: &'c [u8], header: Option<usize>, at: usize) -> Result<Reader<'c>, ChangesetError> {
        let mut reader = Reader::new(bytes);
        if let Some(header) = header {
            reader.at = header;
            reader.table = Some(reader.header()?);
        }
        reader.at = at.min(bytes.len());
        Ok(reader)
    }

    /// The table of the changes that are being read.
    pub fn table(&self) -> Option<TableHeader<'c>> {
        self.table
    }

    /// Where in the changeset the next item starts.
    pub fn offset(&self) -> usize {
        self.at
    }

    fn error<T>(&self, offset: usize, what: &'static str) -> Result<T, ChangesetError> {
        Err(ChangesetError::Malformed { offset, what })
    }

    fn read(&mut self) -> Result<Option<Item<'c>>, ChangesetError> {
        let start = self.at;
        let Some(&first) = self.bytes.get(start) else { return Ok(None) };
        if first == b'T' {
            let header = self.header()?;
            self.table = Some(header);
            return Ok(Some(Item::Table(header)));
        }
        if first == b'P' {
            return self.error(start, "a patchset, which lacks the old values of rows");
        }
        let Some(op) = Op::from_byte(first) else { return self.error(start, "neither a table nor a change") };
        let Some(table) = self.table else { return self.error(start, "a change before any table") };
        let indirect = match self.bytes.get(start + 1) {
            Some(0) => false,
            Some(1) => true,
            Some(_) => return self.error(start + 1, "the indirect flag is neither 0 nor 1"),
            None => return self.error(start, "a change is cut short"),
        };
        self.at = start + 2;
        let old = if op == Op::Insert { None } else { Some(self.record(&table, op)?) };
        let new = if op == Op::Delete { None } else { Some(self.record(&table, op)?) };
        if let (Some(old), Some(new)) = (old, new) {
            let mut pairs = old.fields().zip(new.fields()).enumerate();
            if pairs.any(
                |(i, (old, new))| {
                    if table.is_key(i) { !old.is_defined() } else { old.is_defined() != new.is_defined() }
                },
            ) {
                return self.error(start, "an update's two records don't match");
            }
        }
        Ok(Some(Item::Change(Change { op, indirect, old, new })))
    }

    fn header(&mut self) -> Result<TableHeader<'c>, ChangesetError> {
        let start = self.at;
        let bytes = self.bytes;
        let Some((columns, n)) = bytes.get(start + 1..).and_then(read_varint) else {
            return self.error(start, "a table header is cut short");
        };
        let key_start = start + 1 + n;
        let columns = usize::try_from(columns).ok().filter(|&columns| columns <= bytes.len() - key_start);
        let Some(columns) = columns else { return self.error(start, "a table header is cut short") };
        let name_start = key_start + columns;
        let Some(len) = bytes[name_start..].iter().position(|&byte| byte == 0) else {
            return self.error(name_start, "a table's name is cut short");
        };
        let Ok(name) = std::str::from_utf8(&bytes[name_start..name_start + len]) else {
            return self.error(name_start, "a table's name is not UTF-8");
        };
        let key = &bytes[key_start..name_start];
        if key.iter().all(|&position| position == 0) {
            return self.error(key_start, "a table without a key");
        }
        self.at = name_start + len + 1;
        Ok(TableHeader { name, key })
    }

    fn record(&mut self, table: &TableHeader<'_>, op: Op) -> Result<Record<'c>, ChangesetError> {
        let start = self.at;
        let record = Record::parse(&self.bytes[start..], table.columns());
        let record = match record {
            Ok(record) => record,
            Err((at, what)) => return self.error(start + at, what),
        };
        if op != Op::Update && record.fields().any(|field| !Field::is_defined(&field)) {
            return self.error(start, "an inserted or deleted row has an undefined column");
        }
        self.at = start + record.bytes().len();
        Ok(record)
    }
}

impl<'c> Iterator for Reader<'c> {
    type Item = Result<Item<'c>, ChangesetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read();
        if item.is_err() {
            self.at = self.bytes.len();
        }
        item.transpose()
    }
}
