//! Owns sizes in bytes and lengths of time as files write them: `64MiB`, `250ms`.
//!
//! A bare number is refused where a unit is meant, so that no file depends on a unit in a manual.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text_serde::serde_as_text;

/// Bytes. Written with a unit: `512B`, `64KiB`, `64MiB`, `1GiB`; a space before the unit is fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Milliseconds. Written with a unit: `250ms`, `5s`, `2m`, `1h`; a space before the unit is fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// As the standard library's type.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

const BYTE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// Not a size.
    #[error("a size is a whole number and a unit: B, KiB, MiB or GiB, as in \"64MiB\"")]
    Size,
    /// Not a length of time.
    #[error("a length of time is a whole number and a unit: ms, s, m or h, as in \"250ms\"")]
    Time,
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits_end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let largest = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    let (unit, factor) = largest.or(units.last()).copied().unwrap_or(("", 1));
    write!(f, "{}{unit}", value / factor)
}

impl FromStr for ByteSize {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &BYTE_UNITS).map(Self).ok_or(ParseQuantityError::Size)
    }
}

impl FromStr for Millis {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &TIME_UNITS).map(Self).ok_or(ParseQuantityError::Time)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &BYTE_UNITS)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &TIME_UNITS)
    }
}

serde_as_text!(ByteSize);
serde_as_text!(Millis);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_survive_a_round_trip_in_their_largest_whole_unit() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("1KiB", 1024), ("1500B", 1500), ("0B", 0)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        for (text, ms) in [("1s", 1000), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000), ("90s", 90_000)] {
            assert_eq!(text.parse(), Ok(Millis(ms)));
            assert_eq!(Millis(ms).to_string(), text);
        }
        assert_eq!("64 MiB".parse(), Ok(ByteSize(64 << 20)));
    }

    #[test]
    fn bare_numbers_fractions_signs_and_overflows_are_refused() {
        for bad in ["", "64", "MiB", "1.5MiB", "-1MiB", "64 MB", "64mib", "99999999999GiB", "1  KiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        for bad in ["", "5", "s", "1.5s", "-1s", "5 sec", "99999999999999999h"] {
            assert!(bad.parse::<Millis>().is_err(), "{bad}");
        }
    }
}
