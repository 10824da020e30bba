//! Many keys as a condition on their column: `_maniac_among(column, number)`. Where a whole table has to be read to find rows, a
//! condition is cheaper than a join with a temporary table: DuckDB takes it into the scan, which then reads, or makes up, the
//! other columns only for rows that meet it.

use std::sync::Arc;

use crate::host::{FilterFunction, Loan, NumberSet, Session};
use crate::source::Value;

pub static KEY_FILTER: FilterFunction =
    FilterFunction { name: "_maniac_among", set: |loans, number| Some(loans.get::<Numbers>(number)?) };

/// Keys that a condition can name, until it is dropped.
pub struct KeyFilter {
    set: Loan,
    least: i64,
    greatest: i64,
}

impl KeyFilter {
    /// `None` unless each key is one integer.
    pub fn new(session: &Session, keys: &[&[Value]]) -> Option<KeyFilter> {
        let set = Numbers::of_keys(keys)?;
        let (least, greatest) = (*set.sorted.first()?, *set.sorted.last()?);
        Some(KeyFilter { set: session.lend(Arc::new(set)), least, greatest })
    }

    /// The condition that a BIGINT column's value is one of the keys. Their range comes first, by which parts of the table are
    /// passed over.
    pub fn condition(&self, column: &str) -> String {
        let KeyFilter { set, least, greatest } = self;
        format!("{column} BETWEEN {least} AND {greatest} AND {}({column}, {})", KEY_FILTER.name, set.number)
    }
}

/// Bits per number: few enough to stay in a processor's cache, and enough that one of 16 others is looked for in vain.
const BITS_PER_NUMBER: usize = 16;

/// A sorted list, behind a bit for each number's hash, which turns nearly all others away.
struct Numbers {
    sorted: Vec<i64>,
    bits: Vec<u64>,
    /// Of a hash, so that what is left of it is a bit's place.
    shift: u32,
}

impl Numbers {
    fn of_keys(keys: &[&[Value]]) -> Option<Numbers> {
        let number_of = |key: &&[Value]| match key {
            [Value::Integer(number)] => Some(*number),
            _ => None,
        };
        Some(Numbers::new(keys.iter().map(number_of).collect::<Option<Vec<i64>>>()?))
    }

    fn new(mut numbers: Vec<i64>) -> Numbers {
        numbers.sort_unstable();
        let places = (numbers.len() * BITS_PER_NUMBER).next_power_of_two().max(64);
        let shift = u64::BITS - places.trailing_zeros();
        let mut bits = vec![0; places / 64];
        for number in &numbers {
            let place = hash(*number) >> shift;
            bits[(place / 64) as usize] |= 1 << (place % 64);
        }
        Numbers { sorted: numbers, bits, shift }
    }
}

impl NumberSet for Numbers {
    fn mark(&self, numbers: &[i64], marks: &mut [bool]) {
        // Rows mostly lie in the order of their keys: then few of the set's numbers have to be looked for.
        if ascend(numbers) {
            let from = self.sorted.partition_point(|number| numbers.first().is_some_and(|first| number < first));
            let near = self.sorted[from..].iter().take_while(|number| numbers.last() >= Some(number));
            for place in near.filter_map(|number| numbers.binary_search(number).ok()) {
                marks[place] = true;
            }
            return;
        }
        for (number, mark) in numbers.iter().zip(marks) {
            let place = hash(*number) >> self.shift;
            let may_be = self.bits[(place / 64) as usize] >> (place % 64) & 1 == 1;
            *mark = may_be && self.sorted.binary_search(number).is_ok();
        }
    }
}

/// Whether each number is greater than the one before it. Looks at all of them, which processors do several at a time.
fn ascend(numbers: &[i64]) -> bool {
    numbers.iter().zip(numbers.iter().skip(1)).fold(true, |ascend, (one, next)| ascend & (one < next))
}

/// Fibonacci hashing (Knuth, volume 3, 6.4): the upper bits depend on all of the number's.
fn hash(number: i64) -> u64 {
    (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_set_has_its_numbers_and_no_others() {
        let members: Vec<i64> = (0..5000).map(|n| n * 37 - 40_000).chain([i64::MIN, i64::MAX]).collect();
        for count in [1, 3, 64, members.len()] {
            let known: HashSet<i64> = members[..count].iter().copied().collect();
            let set = Numbers::new(members[..count].to_vec());
            let ascending: Vec<i64> = [i64::MIN].into_iter().chain(-100_000..200_000).chain([i64::MAX]).collect();
            let others: Vec<i64> = ascending.iter().rev().chain(&ascending).copied().collect();
            for numbers in [&ascending, &others].into_iter().flat_map(|numbers| numbers.chunks(2048)) {
                let mut marks = vec![false; numbers.len()];
                set.mark(numbers, &mut marks);
                for (number, mark) in numbers.iter().zip(marks) {
                    assert_eq!(mark, known.contains(number), "{number} of {count}");
                }
            }
        }
    }

    #[test]
    fn keys_are_a_set_if_each_is_one_integer() {
        let keys = [vec![Value::Integer(7)], vec![Value::Integer(-2)]];
        let keys: Vec<&[Value]> = keys.iter().map(Vec::as_slice).collect();
        assert_eq!(Numbers::of_keys(&keys).unwrap().sorted, [-2, 7]);
        assert!(Numbers::of_keys(&[&[Value::Null]]).is_none());
        assert!(Numbers::of_keys(&[&[Value::Integer(1), Value::Integer(2)]]).is_none());
    }
}
