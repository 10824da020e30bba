//! From arbitrary bytes to changes of something valid.
//!
//! ```text
//! edit = kind (1) | place (4) | length (1) | that many bytes
//! ```

/// Takes numbers off the front of an input; an input that ends gives zeroes.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn below(&mut self, limit: usize) -> usize {
        let bytes: [u8; 4] = std::array::from_fn(|_| self.byte());
        u32::from_le_bytes(bytes) as usize % limit.max(1)
    }

    /// Changes `bytes` until the input ends. Gives the places that were touched.
    pub fn apply(mut self, bytes: &mut Vec<u8>) -> Vec<usize> {
        let mut touched = Vec::new();
        while !self.0.is_empty() {
            let kind = self.byte() % 8;
            let (place, length) = (self.below(bytes.len()), usize::from(self.byte()) % 32 + 1);
            match kind {
                0 => bytes.truncate(place),
                1 => bytes.extend(std::iter::repeat_n(0, length)),
                2 => {
                    // Bytes from elsewhere: what is valid there is not valid here.
                    let from = self.below(bytes.len());
                    let copy: Vec<u8> = bytes.iter().skip(from).take(length * 8).copied().collect();
                    overwrite(bytes, place, &copy);
                }
                3 => overwrite(bytes, place, &[0xff; 32][..length]),
                4 => overwrite(bytes, place, &[0; 32][..length]),
                _ => {
                    let new: Vec<u8> = (0..length.min(8)).map(|_| self.byte()).collect();
                    overwrite(bytes, place, &new);
                }
            }
            touched.push(place);
        }
        touched
    }
}

fn overwrite(bytes: &mut [u8], place: usize, new: &[u8]) {
    for (old, new) in bytes.iter_mut().skip(place).zip(new) {
        *old = *new;
    }
}
