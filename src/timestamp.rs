//! Owns the way between dates as files write them and seconds since 1970.
//!
//! It does not know what time it is.

use toml::value::{Datetime, Offset};

/// Seconds since 1970 of a date that has a time and an offset; fractions are cut off.
pub fn unix_seconds(time: &Datetime) -> Option<i64> {
    let (date, clock, offset) = (time.date?, time.time?, time.offset?);
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let seconds_of_day =
        i64::from(clock.hour) * 3600 + i64::from(clock.minute) * 60 + i64::from(clock.second.unwrap_or(0));
    let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    Some(days * 86_400 + seconds_of_day - offset_minutes * 60)
}

/// Counts days of the Gregorian calendar. A year begins in March here, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + leap_days + day_of_year - 719_468
}

/// The date as files write it, in UTC: `2027-01-31T12:00:00Z`.
pub fn rfc3339(unix_seconds: i64) -> String {
    let (days, second) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    let (year, month, day) = date_of(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The inverse of [`days_since_1970`].
fn date_of(days: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_like_the_calendar() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("2026-11-05T10:20:30.999Z", 1_793_874_030),
            ("2026-11-05T10:20:30+05:30", 1_793_854_230),
            ("2026-11-05T10:20:30-00:30", 1_793_875_830),
            ("0000-01-01T00:00:00Z", -62_167_219_200),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(unix_seconds(&text.parse().unwrap()), Some(seconds), "{text}");
        }
        for text in ["2026-11-05", "2026-11-05T10:20:30", "10:20:30"] {
            assert_eq!(unix_seconds(&text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_a_thousand_years_survives_the_round_trip() {
        let (first, last) = (days_since_1970(1600, 1, 1), days_since_1970(2600, 1, 1));
        assert_eq!(last - first, 365_243);
        let mut before = (0, 0, 0);
        for days in first..last {
            let date = date_of(days);
            assert!(date > before, "{date:?} after {before:?}");
            assert_eq!(days_since_1970(date.0, date.1, date.2), days);
            before = date;
        }
        for seconds in [0, -1, 951_868_799, 1_793_874_030, 253_402_300_799] {
            assert_eq!(unix_seconds(&rfc3339(seconds).parse().unwrap()), Some(seconds));
        }
    }
}
