//! A point in a store's history: a version, or a time.

use maniac_base::Version;

use crate::branches::check_name;
use crate::error::StoreError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    Version(Version),
    /// Milliseconds since 1970-01-01 UTC.
    Time(i64),
    /// The version that has this name.
    Tag(String),
}

impl Moment {
    /// A version in decimal, an ISO-8601 date or time, UTC unless it says otherwise, or what may be the name of a tag.
    pub fn parse(text: &str) -> Result<Moment, StoreError> {
        let text = text.trim();
        if let Ok(version) = text.parse() {
            return Ok(Moment::Version(Version(version)));
        }
        // A plus sign in a URI's query is a space to some hosts; both stand for the offset's sign here.
        let zoned = text.parse::<jiff::Timestamp>().map(|t| t.as_millisecond());
        let civil = || {
            let time = text.parse::<jiff::civil::DateTime>()?;
            time.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp().as_millisecond())
        };
        match zoned.or_else(|_| civil()) {
            Ok(ms) => Ok(Moment::Time(ms)),
            Err(_) if check_name(text).is_ok() => Ok(Moment::Tag(text.to_owned())),
            Err(_) => Err(StoreError::BadMoment { asked: text.to_owned() }),
        }
    }
}

/// A time as ISO-8601 text in UTC.
pub fn time_text(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_and_times() {
        let time = |text: &str| Moment::parse(text).unwrap();
        assert_eq!(time("17"), Moment::Version(Version(17)));
        assert_eq!(time("1970-01-01T00:00:01Z"), Moment::Time(1000));
        assert_eq!(time("1970-01-01 00:00:01.250"), Moment::Time(1250));
        assert_eq!(time("1970-01-01T01:00:00+01:00"), Moment::Time(0));
        assert_eq!(time("1970-01-02"), Moment::Time(86_400_000));
        assert_eq!(time("yesterday"), Moment::Tag("yesterday".into()));
    }

    #[test]
    fn says_what_it_wants() {
        let error = Moment::parse("yester\nday").unwrap_err().to_string();
        assert!(error.contains("is neither a version nor an ISO-8601 time"), "{error}");
    }
}
