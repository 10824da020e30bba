//! One column of a data chunk, written value by value in the form that its type stores.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::{ptr, slice};

use libduckdb_sys as ffi;

use crate::schema::ColumnType;

/// One value in the form that its column stores.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    /// BIGINT; microseconds of TIME and TIMESTAMP; days of DATE; a DECIMAL's unscaled value.
    Integer(i64),
    /// HUGEINT; a wide DECIMAL's unscaled value; a UUID's 128 bits.
    Wide(i128),
    Double(f64),
    /// VARCHAR and JSON (valid UTF-8), BLOB.
    Bytes(&'a [u8]),
}

/// How a column's vector stores its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Storage {
    Bool,
    I16,
    I32,
    I64,
    I128,
    Uuid,
    F64,
    Text,
}

/// Strings up to here lie in the vector itself.
const INLINED: usize = 12;

/// A short string as `duckdb_string_t` has it: zeroes behind its bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Inlined {
    length: u32,
    bytes: [u8; INLINED],
}

impl Inlined {
    #[inline(always)]
    fn new(text: &[u8]) -> Option<Inlined> {
        let mut bytes = [0; INLINED];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Inlined { length: text.len() as u32, bytes })
    }
}

/// Any other string: its first bytes, and where all of them are.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pointed {
    length: u32,
    prefix: [u8; 4],
    bytes: *const u8,
}

const _: () = assert!(size_of::<Inlined>() == size_of::<ffi::duckdb_string_t>());
const _: () = assert!(size_of::<Pointed>() == size_of::<ffi::duckdb_string_t>());

/// Rows of a column of texts.
pub struct ShortTexts<'c>(pub(super) &'c mut [Inlined]);

impl ShortTexts<'_> {
    /// Stores the text if it is short enough to lie in the vector itself.
    #[inline(always)]
    pub fn put(&mut self, row: usize, text: &[u8]) -> bool {
        match Inlined::new(text) {
            Some(inlined) => {
                self.0[row] = inlined;
                true
            }
            None => false,
        }
    }
}

/// A vector of a chunk with its buffers looked up, valid until the chunk is reset or destroyed.
pub(super) struct ColumnVector {
    vector: ffi::duckdb_vector,
    data: *mut c_void,
    /// Null as long as no row is NULL: DuckDB takes a vector without a mask for one that is all valid.
    validity: *mut u64,
    storage: Storage,
}

impl ColumnVector {
    /// # Safety
    /// `vector` is a live vector whose elements are stored as `storage`; it outlives what is returned.
    pub(super) unsafe fn new(vector: ffi::duckdb_vector, storage: Storage) -> ColumnVector {
        // SAFETY: by the caller.
        let data = unsafe { ffi::duckdb_vector_get_data(vector) };
        ColumnVector { vector, data, validity: ptr::null_mut(), storage }
    }

    pub(super) fn storage(&self) -> Storage {
        self.storage
    }

    /// Writes one cell; false if the cell is not of the column's form.
    ///
    /// # Safety
    /// `row` is within the vector's capacity, and the vector is alive.
    #[inline(always)]
    pub(super) unsafe fn write(&mut self, row: usize, cell: &Cell<'_>) -> bool {
        // SAFETY: by the caller: each arm writes an element of the size that its storage has.
        unsafe {
            let data = self.data;
            match (self.storage, cell) {
                (_, Cell::Null) => self.write_null(row),
                (Storage::Bool, Cell::Bool(value)) => data.cast::<bool>().add(row).write(*value),
                (Storage::I64, Cell::Integer(value)) => data.cast::<i64>().add(row).write(*value),
                (Storage::F64, Cell::Double(value)) => data.cast::<f64>().add(row).write(*value),
                (Storage::I32, Cell::Integer(value)) => match i32::try_from(*value) {
                    Ok(value) => data.cast::<i32>().add(row).write(value),
                    Err(_) => return false,
                },
                (Storage::I16, Cell::Integer(value)) => match i16::try_from(*value) {
                    Ok(value) => data.cast::<i16>().add(row).write(value),
                    Err(_) => return false,
                },
                (Storage::I128, Cell::Wide(value)) => data.cast::<i128>().add(row).write_unaligned(*value),
                // DuckDB keeps a UUID with its top bit flipped, so that signed comparison sorts it as text does.
                (Storage::Uuid, Cell::Wide(value)) => {
                    data.cast::<i128>().add(row).write_unaligned(*value ^ i128::MIN);
                }
                (Storage::Text, Cell::Bytes(bytes)) => match Inlined::new(bytes) {
                    Some(inlined) => data.cast::<Inlined>().add(row).write(inlined),
                    None => self.write_text(row, bytes),
                },
                _ => return false,
            }
        }
        true
    }

    /// # Safety
    /// As for `write`.
    unsafe fn write_null(&mut self, row: usize) {
        // SAFETY: by the caller; the mask has a bit for each row of the vector's capacity.
        unsafe {
            if self.validity.is_null() {
                ffi::duckdb_vector_ensure_validity_writable(self.vector);
                self.validity = ffi::duckdb_vector_get_validity(self.vector);
            }
            ffi::duckdb_validity_set_row_invalid(self.validity, row as u64);
        }
    }

    /// # Safety
    /// As for `write`, and the vector is of strings.
    unsafe fn write_text(&self, row: usize, text: &[u8]) {
        // SAFETY: by the caller; DuckDB copies the bytes.
        unsafe {
            let (bytes, length) = (text.as_ptr().cast(), text.len() as u64);
            ffi::duckdb_vector_assign_string_element_len(self.vector, row as u64, bytes, length);
        }
    }

    /// Writes strings that lie one behind the other in `joined`, by their rows and lengths, with one call of DuckDB's: what
    /// it copies into the vector's heap for the first row is all of them. False if one is short, or they are not all of
    /// `joined`.
    ///
    /// # Safety
    /// The rows are within the vector's capacity, and the vector is alive.
    pub(super) unsafe fn write_joined(&mut self, rows: &[(usize, usize)], joined: &[u8]) -> bool {
        let Some((first, _)) = rows.first() else { return joined.is_empty() };
        let known = rows.iter().all(|(_, length)| *length > INLINED);
        if !known || self.storage != Storage::Text || rows.iter().map(|row| row.1).sum::<usize>() != joined.len() {
            return false;
        }
        // SAFETY: by the caller; what is longer than `INLINED` is stored as `Pointed`, in memory that lives as long as the
        // vector's content, and each string is a part of it since their lengths add up to `joined`'s.
        unsafe {
            let strings = self.data.cast::<Pointed>();
            self.write_text(*first, joined);
            let heap = strings.add(*first).read().bytes;
            let mut start = 0;
            for (row, length) in rows {
                let text = &joined[start..start + length];
                let prefix = [text[0], text[1], text[2], text[3]];
                strings.add(*row).write(Pointed { length: *length as u32, prefix, bytes: heap.add(start) });
                start += length;
            }
        }
        true
    }

    /// Some rows of the vector.
    ///
    /// # Safety
    /// The rows are within the vector's capacity, its elements are of the type `T`, and the vector is alive.
    pub(super) unsafe fn elements<T>(&mut self, first: usize, rows: usize) -> &mut [T] {
        // SAFETY: by the caller. DuckDB allocates vectors with a size of their elements' for each row of the capacity;
        // any bytes are a value of the types that are asked for.
        unsafe { slice::from_raw_parts_mut(self.data.cast::<T>().add(first), rows) }
    }
}

/// Calls `use_type` with the DuckDB type of a mirror's column.
///
/// # Safety
/// `use_type` does not keep the type.
pub(super) unsafe fn with_column_type(column: ColumnType, use_type: impl FnOnce(ffi::duckdb_logical_type)) {
    let id = match column {
        ColumnType::Boolean => ffi::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN,
        ColumnType::BigInt => ffi::DUCKDB_TYPE_DUCKDB_TYPE_BIGINT,
        ColumnType::HugeInt => ffi::DUCKDB_TYPE_DUCKDB_TYPE_HUGEINT,
        ColumnType::Double => ffi::DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE,
        ColumnType::Decimal { .. } => ffi::DUCKDB_TYPE_DUCKDB_TYPE_DECIMAL,
        ColumnType::Varchar | ColumnType::Json => ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR,
        ColumnType::Blob => ffi::DUCKDB_TYPE_DUCKDB_TYPE_BLOB,
        ColumnType::Date => ffi::DUCKDB_TYPE_DUCKDB_TYPE_DATE,
        ColumnType::Time => ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIME,
        ColumnType::Timestamp => ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIMESTAMP,
        ColumnType::Uuid => ffi::DUCKDB_TYPE_DUCKDB_TYPE_UUID,
    };
    // SAFETY: the type is created and destroyed here; DuckDB copies it in between. JSON is a VARCHAR with that alias.
    unsafe {
        let mut logical = match column {
            ColumnType::Decimal { width, scale } => ffi::duckdb_create_decimal_type(width, scale),
            _ => ffi::duckdb_create_logical_type(id),
        };
        if column == ColumnType::Json {
            let alias = CString::from(c"JSON");
            ffi::duckdb_logical_type_set_alias(logical, alias.as_ptr());
        }
        use_type(logical);
        ffi::duckdb_destroy_logical_type(&mut logical);
    }
}

/// The type of a mirror's columns that a DuckDB type is, if it is one.
///
/// # Safety
/// `logical` is a live logical type.
pub(super) unsafe fn column_type_of(logical: ffi::duckdb_logical_type) -> Option<ColumnType> {
    // SAFETY: by the caller; DuckDB gives an alias to free, or null, and a DECIMAL has a width and a scale.
    unsafe {
        Some(match ffi::duckdb_get_type_id(logical) {
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN => ColumnType::Boolean,
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_BIGINT => ColumnType::BigInt,
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_HUGEINT => ColumnType::HugeInt,
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE => ColumnType::Double,
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_DECIMAL => ColumnType::Decimal {
                width: ffi::duckdb_decimal_width(logical),
                scale: ffi::duckdb_decimal_scale(logical),
            },
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR => {
                let alias = ffi::duckdb_logical_type_get_alias(logical);
                let is_json = !alias.is_null() && CStr::from_ptr(alias) == c"JSON";
                ffi::duckdb_free(alias.cast());
                if is_json { ColumnType::Json } else { ColumnType::Varchar }
            }
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_BLOB => ColumnType::Blob,
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_DATE => ColumnType::Date,
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIME => ColumnType::Time,
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIMESTAMP => ColumnType::Timestamp,
            ffi::DUCKDB_TYPE_DUCKDB_TYPE_UUID => ColumnType::Uuid,
            _ => return None,
        })
    }
}

/// # Safety
/// `logical` is a live logical type.
pub(super) unsafe fn storage_of(logical: ffi::duckdb_logical_type) -> Option<Storage> {
    // SAFETY: by the caller.
    let id = unsafe { ffi::duckdb_get_type_id(logical) };
    Some(match id {
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN => Storage::Bool,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_INTEGER | ffi::DUCKDB_TYPE_DUCKDB_TYPE_DATE => Storage::I32,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_BIGINT
        | ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIME
        | ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIMESTAMP
        | ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIMESTAMP_TZ => Storage::I64,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_HUGEINT => Storage::I128,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE => Storage::F64,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR | ffi::DUCKDB_TYPE_DUCKDB_TYPE_BLOB => Storage::Text,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_UUID => Storage::Uuid,
        // SAFETY: the type is a DECIMAL, which has a width.
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_DECIMAL => match unsafe { ffi::duckdb_decimal_width(logical) } {
            0..=4 => Storage::I16,
            5..=9 => Storage::I32,
            10..=18 => Storage::I64,
            _ => Storage::I128,
        },
        _ => return None,
    })
}
