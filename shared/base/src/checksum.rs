//! CRC64-NVME (polynomial 0xad93d23594c93659, reflected, as in the NVM Express specification), the checksum of every
//! stored byte.

use crc_fast::CrcAlgorithm::Crc64Nvme;
use crc_fast::Digest;

/// The CRC64-NVME of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(Crc64Nvme, bytes)
}

/// A checksum over bytes that do not lie side by side.
pub struct Checksum(Digest);

impl Default for Checksum {
    fn default() -> Self {
        Checksum(Digest::new(Crc64Nvme))
    }
}

impl Checksum {
    pub fn with(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    pub fn value(self) -> u64 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the NVM Express specification: the checksum of the nine digits.
    #[test]
    fn matches_the_published_check_value() {
        assert_eq!(checksum(b"123456789"), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        assert_eq!(Checksum::default().with(b"1234").with(b"56789").value(), checksum(b"123456789"));
    }
}
