//! Medians, percentiles, and the tables that a report is made of.

use std::fmt::Write;

/// The middle value; of an even number of values the lower middle one.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The smallest value that at least `percent` percent of the values don't exceed (nearest rank).
///
/// # Panics
/// If there are no values.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// A Markdown table.
pub struct Table {
    text: String,
    columns: usize,
}

impl Table {
    pub fn new(columns: &[&str]) -> Self {
        let mut table = Self { text: String::new(), columns: columns.len() };
        table.row(columns);
        table.text += &format!("|{}\n", "---|".repeat(columns.len()));
        table
    }

    pub fn row(&mut self, cells: &[&str]) {
        assert_eq!(cells.len(), self.columns, "a row has as many cells as the table has columns");
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    pub fn finish(self) -> String {
        self.text
    }
}

/// With thousands separators, or decimals where the number is small.
pub fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(median(&values), 50.0);
        assert_eq!(percentile(&values, 99.0), 99.0);
        assert_eq!(percentile(&values, 100.0), 100.0);
        assert_eq!(percentile(&[7.0], 50.0), 7.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn numbers() {
        assert_eq!(number(0.25), "0.2");
        assert_eq!(number(999.6), "1,000");
        assert_eq!(number(1_234_567.0), "1,234,567");
    }
}
