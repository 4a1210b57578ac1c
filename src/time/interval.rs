use jiff::Timestamp;
use jiff::civil::DateTime;

use super::{DAY, argument, days_from_civil};
use crate::error::Result;

const FORMS: &str = "use YYYY, YYYY-MM, YYYY-MM-DD, an RFC 3339 instant, or an interval of two of them such as \
                     '2024-01-01/2024-03-31', '2024-01-01/..' or '../2024-03-31'";

/// A half-open span of time, in microseconds since 1970-01-01T00:00Z. `None` is an open end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub start: Option<i64>,
    /// Exclusive: the first microsecond that is no longer inside.
    pub end: Option<i64>,
}

impl Interval {
    /// Reads the `datetime` argument: an instant, a date, a month, a year, or `a/b` with `..` for an open end.
    ///
    /// A date, month or year as an end covers the whole of it; an instant as an end is inside. A time without a zone is
    /// UTC.
    ///
    /// # Errors
    /// Anything else, an interval that ends before it begins, and one that is open at both ends.
    pub fn parse(text: &str) -> Result<Self> {
        let whole = |part: &str| match span(part) {
            Some(span) => Ok(span),
            None => argument(format!("datetime '{text}': '{part}' is not a time; {FORMS}")),
        };
        let Some((from, to)) = text.split_once('/') else {
            let (start, end) = whole(text)?;
            return Ok(Self { start: Some(start), end: Some(end) });
        };
        let bound = |part: &str| match part {
            "" | ".." => Ok(None),
            _ => whole(part).map(Some),
        };
        let (start, end) = (bound(from)?.map(|span| span.0), bound(to)?.map(|span| span.1));
        match (start, end) {
            (None, None) => argument(format!("datetime '{text}' has no end; {FORMS}")),
            (Some(start), Some(end)) if start >= end => argument(format!("datetime '{text}' ends before it begins")),
            _ => Ok(Self { start, end }),
        }
    }
}

impl std::fmt::Display for Interval {
    /// As RFC 3339 instants, the end exclusive.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |time: Option<i64>| match time.map(Timestamp::from_microsecond) {
            Some(Ok(instant)) => instant.to_string(),
            _ => "..".to_owned(),
        };
        write!(f, "{}/{}", show(self.start), show(self.end))
    }
}

/// The half-open span that a year, month, date or instant covers.
fn span(text: &str) -> Option<(i64, i64)> {
    if let Some(instant) = parse_instant(text) {
        return Some((instant, instant.checked_add(1)?));
    }
    let fields: Vec<i64> = text.split('-').map(digits).collect::<Option<_>>()?;
    let widths: Vec<usize> = text.split('-').map(str::len).collect();
    let (first, next) = match (fields.as_slice(), widths.as_slice()) {
        (&[year], [4]) => (days_from_civil(year, 1, 1), days_from_civil(year + 1, 1, 1)),
        (&[year, month @ 1..=12], [4, 2]) => (days_from_civil(year, month, 1), month_after(year, month)),
        (&[year, month @ 1..=12, day], [4, 2, 2]) => {
            let date = days_from_civil(year, month, day);
            if day < 1 || date >= month_after(year, month) {
                return None;
            }
            (date, date + 1)
        }
        _ => return None,
    };
    Some((first * DAY, next * DAY))
}

fn month_after(year: i64, month: i64) -> i64 {
    if month == 12 { days_from_civil(year + 1, 1, 1) } else { days_from_civil(year, month + 1, 1) }
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Microseconds of an RFC 3339 instant; without a zone it is UTC. `None` for anything else, a bare date included.
pub fn parse_instant(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    // jiff reads more of ISO 8601 than RFC 3339 allows.
    let shaped = bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-') && bytes.get(13) == Some(&b':');
    if !shaped || !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let nanoseconds = match text.parse::<Timestamp>() {
        Ok(instant) => instant.as_nanosecond(),
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond(),
    };
    i64::try_from(nanoseconds.div_euclid(1000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        parse_instant(text).unwrap_or_else(|| panic!("{text} is no instant"))
    }

    #[track_caller]
    fn check(text: &str, start: Option<&str>, end: Option<&str>) {
        let expected = Interval { start: start.map(at), end: end.map(at) };
        assert_eq!(Interval::parse(text), Ok(expected), "{text}");
    }

    #[test]
    fn dates_months_and_years_are_whole() {
        check("2023", Some("2023-01-01T00:00:00Z"), Some("2024-01-01T00:00:00Z"));
        check("2024-02", Some("2024-02-01T00:00:00Z"), Some("2024-03-01T00:00:00Z"));
        check("2023-12", Some("2023-12-01T00:00:00Z"), Some("2024-01-01T00:00:00Z"));
        check("2023-01-15", Some("2023-01-15T00:00:00Z"), Some("2023-01-16T00:00:00Z"));
        check("2023-01-10/2023-01-20", Some("2023-01-10T00:00:00Z"), Some("2023-01-21T00:00:00Z"));
        check("2023/2024-06", Some("2023-01-01T00:00:00Z"), Some("2024-07-01T00:00:00Z"));
    }

    #[test]
    fn an_instant_as_an_end_is_inside() {
        check("2023-01-15T10:00:00Z", Some("2023-01-15T10:00:00Z"), Some("2023-01-15T10:00:00.000001Z"));
        check(
            "2023-01-15T10:00:00+02:00/2023-01-15T10:00:00",
            Some("2023-01-15T08:00:00Z"),
            Some("2023-01-15T10:00:00.000001Z"),
        );
    }

    #[test]
    fn open_ends() {
        check("../2023", None, Some("2024-01-01T00:00:00Z"));
        check("/2023", None, Some("2024-01-01T00:00:00Z"));
        check("2023-05-01/..", Some("2023-05-01T00:00:00Z"), None);
        check("2023-05-01/", Some("2023-05-01T00:00:00Z"), None);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for text in [
            "",
            "bad",
            "/",
            "../..",
            "2023-13",
            "2023-02-29",
            "2023-1-1",
            "23",
            "2023-01-01/2022-01-01",
            "2023-01-15T25:00:00Z",
            "2023-01-01Tbad",
            "2023-01-01/2023-02-01/2023-03-01",
            "20230101",
            "2023-00",
            "2023-01-00",
            "+023",
            "2023-01-01 /..",
        ] {
            let message = Interval::parse(text).expect_err(text).to_string();
            assert!(message.starts_with(&format!("datetime '{text}'")), "{message}");
        }
    }

    #[test]
    fn instants_keep_microseconds_and_zones() {
        assert_eq!(at("1970-01-01T00:00:00.123456Z"), 123_456);
        assert_eq!(at("1969-12-31T23:59:59.999999Z"), -1);
        assert_eq!(at("2023-01-15T05:00:00-05:00"), at("2023-01-15 10:00:00"));
        assert_eq!(parse_instant("2023-01-15"), None);
    }
}
