//! The form in which a page is stored.

use std::borrow::Cow;

/// How new pages are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    None,
    Lz4,
}

/// What the stored bytes of a page are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Form {
    /// The page.
    Plain = 0,
    /// A block of LZ4.
    Lz4 = 1,
}

impl Form {
    pub fn from_byte(byte: u8) -> Option<Form> {
        [Form::Plain, Form::Lz4].into_iter().find(|form| *form as u8 == byte)
    }

    /// Whether a page can take so many bytes in this form.
    pub fn fits(self, bytes: usize, page_size: usize) -> bool {
        match self {
            Form::Plain => bytes == page_size,
            Form::Lz4 => (1..page_size).contains(&bytes),
        }
    }
}

/// A page as it is to be stored: compressed where that saves at least a sixteenth.
pub fn encode(page: &[u8], compression: Compression) -> (Form, Cow<'_, [u8]>) {
    if compression == Compression::Lz4 {
        let packed = lz4_flex::block::compress(page);
        if packed.len() <= page.len() - page.len() / 16 {
            return (Form::Lz4, packed.into());
        }
    }
    (Form::Plain, page.into())
}

/// The page from its stored bytes; nothing if they are not that.
pub fn decode(stored: &[u8], form: Form, page_size: usize) -> Option<Cow<'_, [u8]>> {
    match form {
        Form::Plain => (stored.len() == page_size).then_some(Cow::Borrowed(stored)),
        Form::Lz4 => {
            let mut page = vec![0; page_size];
            let length = lz4_flex::block::decompress_into(stored, &mut page).ok()?;
            (length == page_size).then_some(Cow::Owned(page))
        }
    }
}
