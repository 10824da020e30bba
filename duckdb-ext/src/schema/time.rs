//! Dates and times in the forms that SQLite's functions write and read (lang_datefunc.html, "Time Values"):
//! `YYYY-MM-DD`, `HH:MM`, `HH:MM:SS`, `HH:MM:SS.SSS`, a date and a time joined by a blank or a `T`, and behind a time `Z`
//! or an offset `[+-]HH:MM`, which is taken off to give UTC.
//!
//! Fractions are read to the microsecond, which is what DuckDB keeps; finer ones are refused rather than rounded. Numbers are
//! read as by the modifier `auto`, to the millisecond.

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const MS_PER_DAY: f64 = 86_400_000.0;
/// 1970-01-01 00:00:00 in milliseconds of Julian day numbers.
const UNIX_EPOCH_JULIAN_MS: f64 = 210_866_760_000_000.0;
const LAST_JULIAN_DAY: f64 = 5_373_484.5;
/// From the day before 0000-01-01 on.
const DAYS_TO_1970: i64 = 719_529;
/// The first days of these years, from 1970-01-01 on.
const YEAR_1: i64 = -719_162;
const YEAR_10000: i64 = 2_932_897;

/// Days since 1970-01-01.
pub fn date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    days_of_date(digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, if there is such a day.
#[inline]
fn days_of_date(year: u32, month: u32, day: u32) -> Option<i64> {
    const BEFORE_MONTH: [u32; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let from_january = usize::try_from(month.checked_sub(1)?).ok()?;
    let (before, after) = (BEFORE_MONTH[..12].get(from_january)?, BEFORE_MONTH[from_january + 1]);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = after - before + u32::from(leap && month == 2);
    if day == 0 || day > last {
        return None;
    }
    // The year 0 is a leap year, so that each count of leap years before a year is rounded up.
    let of_years = year * 365 + year.div_ceil(4) - year.div_ceil(100) + year.div_ceil(400);
    Some(i64::from(of_years + before + u32::from(leap && month > 2) + day) - DAYS_TO_1970)
}

/// Days since 1970-01-01 as DuckDB writes the date, in years of four digits after Christ.
pub fn date_text(days: i64) -> Option<String> {
    let (year, month, day) = civil_from_days(days);
    (1..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// Microseconds since 1970-01-01 00:00:00 as DuckDB writes the timestamp, in the same years.
pub fn timestamp_text(micros: i64) -> Option<String> {
    let mut text = date_text(micros.div_euclid(MICROS_PER_DAY))?;
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
    text += &format!(" {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        text += format!(".{fraction:06}").trim_end_matches('0');
    }
    Some(text)
}

/// Microseconds since midnight, without an offset.
pub fn time(text: &str) -> Option<i64> {
    let (micros, rest) = clock(text)?;
    rest.is_empty().then_some(micros)
}

/// Microseconds since 1970-01-01 00:00:00, in UTC if the text tells its offset.
pub fn timestamp(text: &str) -> Option<i64> {
    let day = date(text.get(..10)?)? * MICROS_PER_DAY;
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(day);
    }
    let rest = rest.strip_prefix([' ', 'T'])?;
    let (micros, zone) = clock(rest)?;
    Some(day + micros - offset(zone.trim_start_matches(' '))?)
}

/// What `timestamp` gives for a text of the form `YYYY-MM-DD HH:MM:SS`, which is what SQLite's `datetime` writes; nothing for
/// others, and for those that are no time.
#[inline]
pub fn plain_timestamp(text: &[u8]) -> Option<i64> {
    let text: &[u8; 19] = text.try_into().ok()?;
    let start = numerals(text[..8].try_into().ok()?, *b"0000-00-")?;
    let middle = numerals(text[8..16].try_into().ok()?, *b"00 00:00")?;
    // The last of these again, and the rest.
    let end = numerals(text[11..].try_into().ok()?, *b"00:00:00")?;
    let two = |from: &[u8; 8], at: usize| u32::from(from[at]) * 10 + u32::from(from[at + 1]);
    let (year, month) = (two(&start, 0) * 100 + two(&start, 2), two(&start, 5));
    let days = days_of_date(year, month, two(&middle, 0))?;
    let (hour, minute, second) = (two(&end, 0), two(&end, 3), two(&end, 6));
    let seconds = (hour <= 23 && minute <= 59 && second <= 59).then(|| (hour * 60 + minute) * 60 + second)?;
    Some(days * MICROS_PER_DAY + i64::from(seconds) * MICROS_PER_SECOND)
}

/// The digits' values where `form` has zeroes, if there are digits, and elsewhere is what it has.
#[inline(always)]
fn numerals(text: [u8; 8], form: [u8; 8]) -> Option<[u8; 8]> {
    // Digits are 0x30 to 0x39 and become 0 to 9, the others 0. What added to them reaches the top bit is more.
    let values = u64::from_le_bytes(text) ^ u64::from_le_bytes(form);
    let room = form.map(|byte| if byte == b'0' { 0x76 } else { 0x7f });
    let beyond = values | (values & 0x7f7f_7f7f_7f7f_7f7f).wrapping_add(u64::from_le_bytes(room));
    (beyond & 0x8080_8080_8080_8080 == 0).then(|| values.to_le_bytes())
}

/// Microseconds since 1970-01-01 00:00:00 of a number as SQLite's modifier `auto` reads it: a Julian day number up to
/// 5,373,484.5, which is the end of 9999, and seconds since 1970 otherwise. Only the years 1 to 9999 are times: most Julian day
/// numbers before are small numbers that mean something else.
pub fn timestamp_of_number(number: f64) -> Option<i64> {
    let julian_ms = match (0.0..LAST_JULIAN_DAY).contains(&number) {
        true => number * MS_PER_DAY,
        false => number * 1000.0 + UNIX_EPOCH_JULIAN_MS,
    };
    let micros = ((julian_ms + 0.5) as i64).saturating_sub(UNIX_EPOCH_JULIAN_MS as i64).checked_mul(1000)?;
    (YEAR_1..YEAR_10000).contains(&micros.div_euclid(MICROS_PER_DAY)).then_some(micros)
}

/// Days since 1970-01-01 of a number that is a midnight.
pub fn date_of_number(number: f64) -> Option<i64> {
    let micros = timestamp_of_number(number)?;
    (micros % MICROS_PER_DAY == 0).then_some(micros / MICROS_PER_DAY)
}

/// `HH:MM[:SS[.fraction]]` at the start of a text, and what follows it.
fn clock(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    if bytes.len() < 5 || bytes[2] != b':' || !bytes.is_ascii() {
        return None;
    }
    let (hour, minute) = (digits(&bytes[..2])?, digits(&bytes[3..5])?);
    let mut second = 0;
    let mut micros = 0;
    let mut at = 5;
    if bytes.get(at) == Some(&b':') {
        second = digits(bytes.get(6..8)?)?;
        at = 8;
        if bytes.get(at) == Some(&b'.') {
            let fraction = bytes[9..].iter().take_while(|b| b.is_ascii_digit()).count();
            let shown = &bytes[9..9 + fraction];
            if fraction == 0 || shown.iter().skip(6).any(|digit| *digit != b'0') {
                return None;
            }
            for place in 0..6 {
                micros = micros * 10 + i64::from(shown.get(place).map_or(0, |digit| digit - b'0'));
            }
            at = 9 + fraction;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((i64::from((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros, &text[at..]))
}

/// Microseconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let bytes = zone.as_bytes();
    let sign = match bytes.first() {
        None => return Some(0),
        Some(b'Z' | b'z') if bytes.len() == 1 => return Some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let (hours, minutes) = (digits(&bytes[1..3])?, digits(&bytes[4..])?);
    (hours <= 14 && minutes <= 59).then_some(sign * i64::from((hours * 60 + minutes) * 60) * MICROS_PER_SECOND)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

/// Year, month and day in the proleptic Gregorian calendar. Years are counted from March, so that the leap day ends one.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("2000-02-29"), Some(11_016));
        assert_eq!(date("0000-01-01"), Some(-719_528));
        for bad in ["1900-02-29", "2024-13-01", "2024-00-10", "2024-1-1", "24-01-01", "2024-01-01 ", "", "2024-04-31"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time("00:00"), Some(0));
        assert_eq!(time("23:59:59.999999"), Some(86_399_999_999));
        assert_eq!(time("01:02:03.5"), Some(3_723_500_000));
        for bad in ["24:00", "1:00", "10:60", "10:00:60", "10:00:00.", "10:00:00.1234567", "10:00Z", "été00"] {
            assert_eq!(time(bad), None, "{bad}");
        }
        assert_eq!(time("10:00:00.1234560"), Some(36_000_123_456));
    }

    #[test]
    fn timestamps() {
        let noon = 11_016 * MICROS_PER_DAY + 43_200 * MICROS_PER_SECOND;
        for text in ["2000-02-29 12:00", "2000-02-29T12:00:00Z", "2000-02-29 14:30+02:30", "2000-02-29 12:00:00.000"] {
            assert_eq!(timestamp(text), Some(noon), "{text}");
        }
        assert_eq!(timestamp("2000-02-29"), Some(11_016 * MICROS_PER_DAY));
        assert_eq!(timestamp("1969-12-31 23:59:59.5"), Some(-500_000));
        for bad in ["now", "2451545", "2000-02-29 ", "2000-02-29 12:00 UTC", "2000-02-29x12:00", "2000-02-2é 12:00"] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn plain_timestamps_are_read_as_all_are() {
        let text = "2024-02-29 23:59:59";
        assert_eq!(plain_timestamp(text.as_bytes()), timestamp(text));
        let mut read = 0;
        for at in 0..text.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = byte;
                let plain = plain_timestamp(&bytes);
                if byte == b'T' && at == 10 {
                    assert_eq!(plain, None, "{bytes:?}");
                    continue;
                }
                assert_eq!(plain, std::str::from_utf8(&bytes).ok().and_then(timestamp), "{bytes:?}");
                read += usize::from(plain.is_some());
            }
        }
        assert!((50..100).contains(&read), "{read}");
        for days in (date("0000-01-01").unwrap()..=date("9999-12-31").unwrap()).step_by(17) {
            let (year, month, day) = civil_from_days(days);
            let text = format!("{year:04}-{month:02}-{day:02} 01:02:03");
            assert_eq!(plain_timestamp(text.as_bytes()), timestamp(&text), "{text}");
        }
        for bad in ["", "2024-02-29", "2024-02-29 23:59", "2024-02-29 23:59:59Z", "2023-02-29 00:00:00"] {
            assert_eq!(plain_timestamp(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_read_as_sqlite_reads_them() {
        let times = [
            (2_460_369.5, "2024-02-29 00:00:00"),
            (2_460_370.020_833_3, "2024-02-29 12:29:59.997"),
            (1_721_425.5, "0001-01-01 00:00:00"),
            (5_373_484.499_999, "9999-12-31 23:59:59.914"),
            (5_373_484.5, "1970-03-04 04:38:04.5"),
            (1_709_164_800.0, "2024-02-29 00:00:00"),
            (1_709_210_096.125, "2024-02-29 12:34:56.125"),
            (-0.5, "1969-12-31 23:59:59.5"),
            (253_402_300_799.0, "9999-12-31 23:59:59"),
        ];
        for (number, text) in times {
            assert_eq!(timestamp_of_number(number).and_then(timestamp_text).as_deref(), Some(text), "{number}");
        }
        let others = [0.0, 1984.0, 1_721_425.4, 253_402_300_800.0, 1.7e12, -6.3e10, 1e300, f64::NEG_INFINITY, f64::NAN];
        for number in others {
            assert_eq!(timestamp_of_number(number), None, "{number}");
        }
        assert_eq!(date_of_number(2_460_369.5), Some(19_782));
        assert_eq!(date_of_number(-86_400.0), Some(-1));
        assert_eq!(date_of_number(20_240_229.0), None);
    }

    #[test]
    fn texts_read_back() {
        for days in (date("0001-01-01").unwrap()..=date("9999-12-31").unwrap()).step_by(13) {
            assert_eq!(date(&date_text(days).unwrap()), Some(days));
        }
        assert_eq!(date_text(date("0000-12-31").unwrap()), None);
        assert_eq!(date_text(date("9999-12-31").unwrap() + 1), None);
        for text in ["1969-12-31 23:59:59.5", "2000-02-29 12:00:00", "2024-12-31 00:00:00.000001"] {
            assert_eq!(timestamp(text).and_then(timestamp_text).as_deref(), Some(text));
        }
    }
}
