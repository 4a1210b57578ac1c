use super::{DAY, HOUR, MINUTE, argument, days_from_civil, year_and_month};
use crate::error::Result;

const FORMS: &str = "use P1D, P1W, P1M, P1Y, PnD, PnW, PnM, PnY, PTnH or PTnM with a whole n of at least 1, solar_day for \
                     days by the sun, or NULL for one step per distinct timestamp";

/// From the start of a solar day, as a date in UTC, to when it has ended at all longitudes.
pub const LONGEST_SOLAR_DAY: i64 = DAY + DAY / 2;

/// 2000-01-01T00:00Z, from where windows of several minutes, hours, days or weeks are counted.
const EPOCH_2000: i64 = 10_957 * DAY;
/// The Monday after it, from where ISO weeks are counted.
const FIRST_MONDAY: i64 = EPOCH_2000 + 2 * DAY;
/// January 2000, in months since the year 0, from where windows of months are counted.
const MONTH_2000: i64 = 2000 * 12;
/// 250,000 years: the start of a longer window may be no timestamp.
const MOST_MONTHS: u32 = 12 * 250_000;

/// How the time axis is cut into steps. Windows are half-open and lie in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// One step per distinct timestamp.
    Instant,
    /// Windows of n minutes, counted from 2000-01-01T00:00Z.
    Minutes(u32),
    /// Windows of n hours, counted from 2000-01-01T00:00Z.
    Hours(u32),
    /// Windows of n days, counted from 2000-01-01; one day is the calendar day.
    Days(u32),
    /// One week: ISO weeks, from Monday. Several: windows of 7n days, counted from 2000-01-01.
    Weeks(u32),
    /// Windows of n calendar months, counted from January 2000: three are quarters, twelve are years.
    Months(u32),
    /// The day where the item is, by the mean sun: that of the time plus an hour for each 15 degrees of eastern longitude.
    SolarDay,
}

impl Period {
    /// Reads the ISO 8601 durations that name a step; `None` (SQL NULL) is [`Period::Instant`].
    ///
    /// # Errors
    /// Anything else, with the accepted forms: `P0D`, `P1Y6M`, `PT1S`, `PT1.5H`, and windows of 250,000 years.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::Instant) };
        if text == "solar_day" {
            return Ok(Self::SolarDay);
        }
        let refuse = || argument(format!("unknown period '{text}'; {FORMS}"));
        let Some((n, unit)) = count_and_unit(text) else { return refuse() };
        let period = match (unit, n) {
            (Unit::Minute, n) => Self::Minutes(n),
            (Unit::Hour, n) => Self::Hours(n),
            (Unit::Day, n) => Self::Days(n),
            (Unit::Week, n) => Self::Weeks(n),
            (Unit::Month, n) if n < MOST_MONTHS => Self::Months(n),
            (Unit::Year, n) if n < MOST_MONTHS / 12 => Self::Months(n * 12),
            (Unit::Month | Unit::Year, _) => return refuse(),
        };
        match period.window() {
            Some((_, width)) if width > i128::from(i64::MAX) => refuse(),
            _ => Ok(period),
        }
    }

    /// The start of the step that `time` falls into at a longitude in degrees.
    pub fn step_at(self, time: i64, longitude: impl FnOnce() -> f64) -> i64 {
        if self != Self::SolarDay {
            return self.step_of(time);
        }
        let ahead = (longitude() / 15.0 * HOUR as f64).round() as i64;
        self.step_of(time.saturating_add(ahead))
    }

    /// Whether the step of a time is not the same everywhere.
    pub fn depends_on_longitude(self) -> bool {
        self == Self::SolarDay
    }

    /// The start of the step that `time` falls into, at Greenwich.
    pub fn step_of(self, time: i64) -> i64 {
        if let Some((origin, width)) = self.window() {
            let start = i128::from(time) - (i128::from(time) - origin).rem_euclid(width);
            // Only a window that reaches beyond the range of an i64, 292,000 years back, is cut.
            return i64::try_from(start).unwrap_or(i64::MIN);
        }
        let Self::Months(n) = self else { return time };
        let (year, month) = year_and_month(time.div_euclid(DAY));
        let months = year * 12 + month - 1;
        let first = months - (months - MONTH_2000).rem_euclid(i64::from(n));
        days_from_civil(first.div_euclid(12), first.rem_euclid(12) + 1, 1).saturating_mul(DAY)
    }

    /// An order like that of [`Period::step_of`], equal where the step is, as DuckDB SQL over a BIGINT expression.
    pub fn step_sql(self, time: &str) -> String {
        if let Some((origin, width)) = self.window() {
            return format!("({time} - {})", remainder(&format!("{time} - {origin}"), width));
        }
        let Self::Months(n) = self else { return time.to_owned() };
        let part = |part: &str| format!("{part}(make_timestamp({time}))");
        let months = format!("({} * 12 + {})", part("year"), part("month"));
        format!("({months} - {})", remainder(&format!("{months} - {}", MONTH_2000 + 1), i128::from(n)))
    }

    /// Whether a bare date is exact enough to name a step.
    pub fn accepts_bare_dates(self) -> bool {
        !matches!(self, Self::Instant | Self::Minutes(_) | Self::Hours(_) | Self::SolarDay)
    }

    /// Origin and width of windows of equal length, in microseconds.
    fn window(self) -> Option<(i128, i128)> {
        let (origin, unit, n) = match self {
            Self::Minutes(n) => (EPOCH_2000, MINUTE, n),
            Self::Hours(n) => (EPOCH_2000, HOUR, n),
            Self::Days(n) => (EPOCH_2000, DAY, n),
            Self::SolarDay => (EPOCH_2000, DAY, 1),
            Self::Weeks(1) => (FIRST_MONDAY, 7 * DAY, 1),
            Self::Weeks(n) => (EPOCH_2000, 7 * DAY, n),
            Self::Instant | Self::Months(_) => return None,
        };
        Some((i128::from(origin), i128::from(unit) * i128::from(n)))
    }
}

/// The remainder that is never negative, in SQL: `%` takes the sign of the dividend, as in C.
fn remainder(dividend: &str, divisor: i128) -> String {
    format!("((({dividend}) % {divisor}) + {divisor}) % {divisor}")
}

enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

fn count_and_unit(text: &str) -> Option<(u32, Unit)> {
    let rest = text.strip_prefix('P')?;
    let (is_time, rest) = rest.strip_prefix('T').map_or((false, rest), |time| (true, time));
    let (at, letter) = rest.char_indices().next_back()?;
    let unit = match (is_time, letter) {
        (true, 'M') => Unit::Minute,
        (true, 'H') => Unit::Hour,
        (false, 'D') => Unit::Day,
        (false, 'W') => Unit::Week,
        (false, 'M') => Unit::Month,
        (false, 'Y') => Unit::Year,
        _ => return None,
    };
    let digits = rest.get(..at)?;
    // `parse` alone would accept a sign.
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n = digits.parse().ok()?;
    (n > 0).then_some((n, unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse_instant;
    use super::*;

    fn at(text: &str) -> i64 {
        parse_instant(text).unwrap_or_else(|| panic!("{text} is no instant"))
    }

    #[track_caller]
    fn check(period: &str, time: &str, step: &str) {
        assert_eq!(Period::parse(Some(period)).unwrap().step_of(at(time)), at(step), "{period} {time}");
    }

    #[test]
    fn parses_what_it_names() {
        assert_eq!(Period::parse(None), Ok(Period::Instant));
        for (text, period) in [
            ("P1D", Period::Days(1)),
            ("P01D", Period::Days(1)),
            ("P16D", Period::Days(16)),
            ("P1W", Period::Weeks(1)),
            ("P2W", Period::Weeks(2)),
            ("P1M", Period::Months(1)),
            ("P3M", Period::Months(3)),
            ("P1Y", Period::Months(12)),
            ("P10Y", Period::Months(120)),
            ("PT6H", Period::Hours(6)),
            ("PT30M", Period::Minutes(30)),
        ] {
            assert_eq!(Period::parse(Some(text)), Ok(period), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_what_it_takes() {
        for text in [
            "",
            "P",
            "PT",
            "D",
            "1D",
            "P0D",
            "PT0H",
            "P0W",
            "P0M",
            "P0Y",
            "PT0M",
            "PT1.5H",
            "PT30",
            "PT30D",
            "P1H",
            "P1Y6M",
            "P250000Y",
            "P3000000M",
            "P4294967295Y",
            "PT4294967296M",
            "P-1D",
            "P+1D",
            "P1",
            "p1d",
            "P1D ",
            "P99999999999D",
            "PT1S",
            "P1MT1H",
            "P4294967295W",
            "P\u{e9}",
            "invalid",
        ] {
            let message = Period::parse(Some(text)).expect_err(text).to_string();
            assert!(message.contains(&format!("'{text}'")) && message.contains("PTnH"), "{message}");
        }
    }

    #[test]
    fn calendar_steps() {
        check("P1D", "2023-01-15T23:59:59.5Z", "2023-01-15T00:00:00Z");
        check("P1D", "1969-12-31T23:00:00Z", "1969-12-31T00:00:00Z");
        check("P1M", "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z");
        check("P1M", "1960-02-29T12:00:00Z", "1960-02-01T00:00:00Z");
        check("P1Y", "2023-12-31T23:59:59.999999Z", "2023-01-01T00:00:00Z");
    }

    #[test]
    fn weeks_begin_on_monday() {
        check("P1W", "2023-01-09T00:00:00Z", "2023-01-09T00:00:00Z");
        check("P1W", "2023-01-15T23:59:59Z", "2023-01-09T00:00:00Z");
        check("P1W", "2022-01-02T12:00:00Z", "2021-12-27T00:00:00Z");
        check("P1W", "2022-01-03T00:00:00Z", "2022-01-03T00:00:00Z");
        check("P1W", "1969-12-31T00:00:00Z", "1969-12-29T00:00:00Z");
    }

    #[test]
    fn windows_are_counted_from_2000_in_both_directions() {
        check("P16D", "2000-01-16T23:59:59Z", "2000-01-01T00:00:00Z");
        check("P16D", "2000-01-17T00:00:00Z", "2000-01-17T00:00:00Z");
        check("P16D", "1999-12-31T23:59:59.999999Z", "1999-12-16T00:00:00Z");
        check("P2W", "1999-12-18T00:00:00Z", "1999-12-18T00:00:00Z");
        check("PT1H", "2023-01-01T00:59:59.5Z", "2023-01-01T00:00:00Z");
        check("PT1H", "2023-01-01T01:00:00Z", "2023-01-01T01:00:00Z");
        check("PT6H", "1969-07-20T20:17:40Z", "1969-07-20T18:00:00Z");
    }

    #[test]
    fn months_and_years_are_counted_from_2000_in_both_directions() {
        check("P3M", "2024-05-03T12:00:00Z", "2024-04-01T00:00:00Z");
        check("P3M", "1999-12-31T23:59:59.999999Z", "1999-10-01T00:00:00Z");
        check("P5M", "2000-05-31T23:59:59Z", "2000-01-01T00:00:00Z");
        check("P5M", "2000-06-01T00:00:00Z", "2000-06-01T00:00:00Z");
        check("P5M", "1999-08-01T00:00:00Z", "1999-08-01T00:00:00Z");
        check("P7M", "1999-05-31T00:00:00Z", "1998-11-01T00:00:00Z");
        check("P12M", "2024-05-03T12:00:00Z", "2024-01-01T00:00:00Z");
        check("P5Y", "2024-05-03T12:00:00Z", "2020-01-01T00:00:00Z");
        check("P10Y", "1999-05-03T12:00:00Z", "1990-01-01T00:00:00Z");
    }

    #[test]
    fn minutes_are_counted_from_2000_in_both_directions() {
        check("PT15M", "2024-05-03T12:44:59.999999Z", "2024-05-03T12:30:00Z");
        check("PT15M", "1999-12-31T23:59:00Z", "1999-12-31T23:45:00Z");
        check("PT7M", "1999-12-31T23:59:00Z", "1999-12-31T23:53:00Z");
        check("PT1440M", "2024-05-03T12:44:59Z", "2024-05-03T00:00:00Z");
    }

    #[test]
    fn an_instant_is_its_own_step_to_the_microsecond() {
        let time = at("2023-01-15T10:00:00.123456Z");
        assert_eq!(Period::Instant.step_of(time), time);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for period in [
            Period::Days(1),
            Period::Weeks(1),
            Period::Hours(7),
            Period::Minutes(11),
            Period::Months(1),
            Period::Months(36),
        ] {
            assert!(period.step_of(i64::MIN) <= period.step_of(i64::MAX), "{period:?}");
        }
    }

    proptest! {
        #[test]
        fn a_step_holds_its_time_and_is_its_own_step(time in -10_000_000_000_000_000i64..10_000_000_000_000_000, n in 1u32..500) {
            for period in [Period::Days(n), Period::Weeks(n), Period::Hours(n), Period::Minutes(n), Period::Months(n)] {
                let step = period.step_of(time);
                prop_assert!(step <= time);
                prop_assert_eq!(period.step_of(step), step);
                prop_assert!(period.step_of(step - 1) < step);
                if let Some((_, width)) = period.window() {
                    prop_assert!(i128::from(time) < i128::from(step) + width);
                }
            }
        }

        #[test]
        fn days_and_dates_agree(days in -4_000_000i64..4_000_000) {
            let (year, month) = year_and_month(days);
            let first = days_from_civil(year, month, 1);
            let next = if month == 12 { days_from_civil(year + 1, 1, 1) } else { days_from_civil(year, month + 1, 1) };
            prop_assert!(first <= days && days < next);
        }
    }
}
