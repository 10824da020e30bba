//! Numbers as the decimals that SQLite shows: integers with all their digits, reals with 15 significant ones.

use crate::source::BorrowedValue as Value;

/// Significant digits of a real in SQLite's text: as many as every decimal keeps on its way through a double.
pub const SHOWN: usize = 15;
/// Digits that a real is written out to before it is rounded to those.
const WRITTEN: usize = 26;

/// DuckDB's widest DECIMAL, whose unscaled values are within an `i128`.
pub const MAX_WIDTH: u8 = 38;

/// The powers of ten that a double has.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// `digits * 10^exponent`, or its negative. The last digit is not 0 unless all is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: u64,
    exponent: i32,
}

impl Decimal {
    /// The number of a value; `None` for infinities, and what is no number.
    pub fn of(value: &Value<'_>) -> Option<Decimal> {
        match value {
            Value::Integer(number) => Some(Decimal::new(*number < 0, number.unsigned_abs(), 0)),
            Value::Real(number) => Decimal::of_real(*number),
            _ => None,
        }
    }

    fn of_real(number: f64) -> Option<Decimal> {
        if !number.is_finite() {
            return None;
        }
        // `d.ddde±x`; correctly rounded, as SQLite's own is but for the last of its digits where the next ones are 5000.
        let text = format!("{:.*e}", WRITTEN - 1, number.abs());
        let (mantissa, exponent) = text.split_once('e')?;
        let mut written = mantissa.bytes().filter(u8::is_ascii_digit).map(|digit| u64::from(digit - b'0'));
        let digits = written.by_ref().take(SHOWN).fold(0, |digits, digit| digits * 10 + digit);
        let digits = digits + u64::from(written.next()? >= 5);
        Some(Decimal::new(number < 0.0, digits, exponent.parse::<i32>().ok()? - (SHOWN as i32 - 1)))
    }

    fn new(negative: bool, mut digits: u64, mut exponent: i32) -> Decimal {
        if digits == 0 {
            return Decimal { negative: false, digits, exponent: 0 };
        }
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent += 1;
        }
        Decimal { negative, digits, exponent }
    }

    pub fn scale(self) -> u32 {
        u32::try_from(-self.exponent).unwrap_or(0)
    }

    /// Digits before the point; none of a fraction of one.
    pub fn whole_digits(self) -> u32 {
        let digits = self.digits.checked_ilog10().map_or(0, |last| last as i32 + 1);
        u32::try_from(digits + self.exponent).unwrap_or(0)
    }

    /// The nearest with at most `scale` digits behind the point; of two, the one farther from zero.
    pub fn rounded(self, scale: u32) -> Decimal {
        let surplus = self.scale().saturating_sub(scale);
        if surplus == 0 {
            return self;
        }
        // More than all digits there are.
        let Some(unit) = 10u128.checked_pow(surplus) else { return Decimal::new(false, 0, 0) };
        let (digits, rest) = (u128::from(self.digits) / unit, u128::from(self.digits) % unit);
        let digits = digits as u64 + u64::from(rest >= unit / 2);
        Decimal::new(self.negative, digits, self.exponent + surplus as i32)
    }

    /// The nearest double.
    pub fn to_real(self) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// The value of a DECIMAL with `scale` digits behind the point and `width` in all, in units of the last; `None` if it
    /// has not as many.
    pub fn unscaled(self, width: u8, scale: u8) -> Option<i128> {
        let power = u32::try_from(self.exponent + i32::from(scale)).ok()?;
        let unscaled = 10i128.checked_pow(power)?.checked_mul(i128::from(self.digits))?;
        let fits = unscaled < 10i128.pow(u32::from(width));
        fits.then_some(if self.negative { -unscaled } else { unscaled })
    }
}

/// The same for a real that is the nearest to a decimal of at most 15 digits, `scale` of them behind the point: that is
/// the one which SQLite shows, and most reals in such columns are so.
pub fn plain_unscaled(number: f64, width: u8, scale: u8) -> Option<i64> {
    let power = *EXACT_POWERS.get(usize::from(scale))?;
    let unscaled = (number * power).round();
    let fits = unscaled.abs() < EXACT_POWERS[usize::from(width).min(SHOWN)] && unscaled / power == number;
    fits.then_some(unscaled as i64)
}

/// Whether 15 digits tell the number.
pub fn has_short_text(number: f64) -> bool {
    (0..=6).any(|scale| plain_unscaled(number, MAX_WIDTH, scale).is_some()) || {
        let digits = |text: &str| text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
        digits(&format!("{number:e}")) <= SHOWN
    }
}

/// An unscaled value as text.
pub fn unscaled_text(unscaled: i128, scale: u8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let scale = usize::from(scale);
    let digits = format!("{:0>1$}", unscaled.unsigned_abs(), scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As DECIMAL(38, scale), in text.
    fn shown(number: f64, scale: u8) -> Option<String> {
        let unscaled = Decimal::of_real(number)?.unscaled(MAX_WIDTH, scale)?;
        Some(unscaled_text(unscaled, scale))
    }

    #[test]
    fn reals_have_the_digits_that_sqlite_shows() {
        // SELECT 173665.46999999997, 0.1 + 0.2, ...
        for (number, scale, text) in [
            (173665.46999999997, 2, "173665.47"),
            (0.1 + 0.2, 1, "0.3"),
            (-0.1 - 0.2, 4, "-0.3000"),
            (1.1 * 1.1 * 1000.0, 0, "1210"),
            (0.0, 2, "0.00"),
            (-0.0, 0, "0"),
            (0.05, 2, "0.05"),
            (123456789012345.67, 0, "123456789012346"),
            (100000000000000.5, 0, "100000000000001"),
            (7533842327729.875, 2, "7533842327729.88"),
            (1e22, 0, "10000000000000000000000"),
            (1e23, 0, "100000000000000000000000"),
            (1e38, 0, "100000000000000000000000000000000000000"),
            (1e-20, 20, "0.00000000000000000001"),
            (1.0 / 3.0, 15, "0.333333333333333"),
        ] {
            let expected = (text.len() <= 38).then(|| text.to_string());
            assert_eq!(shown(number, scale), expected, "{number}");
        }
        for (number, scale) in [(0.125, 2), (1e-5, 4), (1e300, 0), (f64::INFINITY, 0), (f64::NEG_INFINITY, 0)] {
            assert_eq!(shown(number, scale), None, "{number}");
        }
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (number, scale, rounded) in [
            (0.125, 2, 0.13),
            (-0.125, 2, -0.13),
            (2.5, 0, 3.0),
            (-0.5, 0, -1.0),
            (0.49, 0, 0.0),
            (1.005, 2, 1.01),
            (99.995, 2, 100.0),
            (999999999999999.0, 2, 999999999999999.0),
            (0.1 + 0.2, 1, 0.3),
            (1e-300, 5, 0.0),
            (-1e-40, 0, 0.0),
            (1e300, 0, 1e300),
        ] {
            let decimal = Decimal::of_real(number).unwrap().rounded(scale);
            assert_eq!(decimal.to_real(), rounded, "{number} {scale}");
            assert_eq!(Decimal::of_real(decimal.to_real()), Some(decimal), "{number} {scale}");
        }
    }

    #[test]
    fn integers_have_all_their_digits() {
        for number in [0, 1, -10, i64::MAX, i64::MIN, 9_007_199_254_740_993] {
            let decimal = Decimal::of(&Value::Integer(number)).unwrap();
            assert_eq!(decimal.unscaled(19, 0), Some(i128::from(number)));
            assert_eq!(decimal.unscaled(25, 3), Some(i128::from(number) * 1000));
        }
        assert_eq!(Decimal::of(&Value::Integer(1000)).unwrap().unscaled(4, 1), None);
    }

    #[test]
    fn the_short_way_is_the_long_one() {
        let mut numbers: Vec<f64> = (0..2000).map(|n| f64::from(n * n * 37 - 1_000_000) / 100.0).collect();
        numbers.extend(numbers.clone().iter().map(|number| number + 0.1 + 0.2));
        numbers.extend([1e14, 1e15, 999999999999999.0, 1e-22, 123456789012.345, 0.1 + 0.2, 1e300]);
        let mut short = 0;
        for number in numbers {
            for scale in 0..=38 {
                let width = scale.max(11);
                if let Some(unscaled) = plain_unscaled(number, width, scale) {
                    let long = Decimal::of_real(number).unwrap().unscaled(width, scale);
                    assert_eq!(long, Some(i128::from(unscaled)), "{number} {scale}");
                    short += 1;
                }
            }
        }
        assert!(short > 10_000);
        assert_eq!((plain_unscaled(173665.47, 8, 2), plain_unscaled(0.1 + 0.2, 8, 2)), (Some(17_366_547), None));
    }
}
