//! Keys, and what they seal: AES-256-GCM over everything that an encrypted store holds.
//!
//! ```text
//!   master key ──HKDF, the file's salt──> wraps ──> data key     (the file KEY: one for each store)
//!   data key   ──HKDF, store, kind and salt of a file──> Seal    (one for each segment, pack and manifest)
//! ```
//!
//! It knows no files but those that hold a master key. What is sealed, with which nonces, is said where it is written:
//! see docs/design/044-encryption.md.

mod envelope;
mod key;
mod seal;
mod source;

pub use envelope::{ENVELOPE, open_envelope, wrapping_key, write_envelope};
pub use key::{DataKey, KeyError, KeyId, MasterKey};
pub use seal::{Broken, NONCE, Nonce, Purpose, Seal, TAG, fresh_nonce};
pub use source::{GivenKey, KeyChoice, set_process_key};
