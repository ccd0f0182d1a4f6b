//! How many records a second are offered: `100k`, `50%`, `max`.

use std::{fmt, str::FromStr};

use crate::{count::Count, number::NumberError};

/// A rate that is offered to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// Records a second over all producers, open loop: records leave when they are due, whether or
    /// not the earlier ones are acknowledged.
    PerSecond(u64),
    /// Percent of the largest rate that was measured for the same batch size and codec (the
    /// smallest over its lingers, so that all of them are compared at one rate). Sweeps only.
    PercentOfMax(u8),
    /// As fast as the engine takes them: only its backpressure closes the loop.
    Max,
}

impl FromStr for Rate {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let malformed =
            || NumberError::Number { text: text.into(), example: "100k, 1_000_000, 50% or max" };
        let outside = |range| NumberError::Range { text: text.into(), range };
        if text == "max" {
            return Ok(Self::Max);
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse::<u8>().map_err(|_| malformed())?;
            return match percent {
                1..=100 => Ok(Self::PercentOfMax(percent)),
                _ => Err(outside("a percentage is 1% to 100%")),
            };
        }
        match text.parse::<Count>()?.0 {
            0 => Err(outside("a rate is at least 1 record a second")),
            rate => Ok(Self::PerSecond(rate)),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerSecond(rate) => write!(f, "{}", Count(*rate)),
            Self::PercentOfMax(percent) => write!(f, "{percent}%"),
            Self::Max => f.write_str("max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        for (text, rate) in [
            ("max", Rate::Max),
            ("100k", Rate::PerSecond(100_000)),
            ("1234", Rate::PerSecond(1_234)),
            ("50%", Rate::PercentOfMax(50)),
        ] {
            assert_eq!(text.parse(), Ok(rate));
            assert_eq!(rate.to_string(), text);
        }
        for text in ["", "0", "0%", "101%", "Max", "1.5"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        let error = "0".parse::<Rate>().unwrap_err().to_string();
        assert_eq!(error, "`0`: a rate is at least 1 record a second");
    }
}
