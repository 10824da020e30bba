//! Writing what comes behind an entry's head.

use maniac_base::Checksum;

use super::Header;
use super::frame::frame_sum;

/// Writes what comes behind an entry's head piece by piece into `sink`, so that a transaction larger than memory can pass
/// through.
pub struct BodyWriter<'a, E> {
    sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
    header: Header,
    sum: Checksum,
}

impl<'a, E> BodyWriter<'a, E> {
    /// Of the header only the lengths count.
    pub fn new(header: Header, sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>) -> Self {
        BodyWriter { sink, header, sum: Checksum::default() }
    }

    pub fn page(&mut self, stored: &[u8]) -> Result<(), E> {
        let padding = &[0; 8][..stored.len().next_multiple_of(8) - stored.len()];
        let sum = frame_sum(stored, padding);
        self.sum = std::mem::take(&mut self.sum).with(&sum);
        for piece in [stored, padding, &sum] {
            (self.sink)(piece)?;
        }
        Ok(())
    }

    pub fn finish(self, schema: &[u8], changeset: &[u8], note: &[u8]) -> Result<(), E> {
        let padding = (self.header.body_end() - self.header.parts_end()) as usize;
        let mut sum = self.sum;
        for piece in [schema, changeset, note, &[0; 8][..padding]] {
            sum = sum.with(piece);
            (self.sink)(piece)?;
        }
        (self.sink)(&sum.value().to_le_bytes())
    }
}
