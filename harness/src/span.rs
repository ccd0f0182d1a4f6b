//! Spans of time as people write them: `5ms`, `30s`, `2m`.

use std::{fmt, str::FromStr, time::Duration};

use crate::number::{self, NumberError};

/// A span of time; the unit must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Span {
    /// `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
}

impl FromStr for Span {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let (digits, unit) = number::split(text);
        let unit = if unit == "µs" { "us" } else { unit };
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NumberError::Unit {
            text: text.into(),
            expected: "h, m, s, ms, us or ns, as in 30s",
        })?;
        number::scaled(text, digits, factor.1).map(|ns| Self(Duration::from_nanos(ns)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos() as u64;
        let unit = UNITS.iter().find(|(_, factor)| ns >= *factor && ns.is_multiple_of(*factor));
        let (name, factor) = unit.unwrap_or(&("s", 1_000_000_000));
        write!(f, "{}{name}", ns / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, ns) in [
            ("5ms", 5_000_000),
            ("30s", 30_000_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("100us", 100_000),
            ("100µs", 100_000),
            ("0s", 0),
        ] {
            let span = Span(Duration::from_nanos(ns));
            assert_eq!(text.parse(), Ok(span), "{text}");
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        for text in ["", "5", "s", "5 minutes", "-1s", "0.1ns"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
