//! Whose acknowledgement is waited for.

use std::{fmt, str::FromStr};

/// Kafka's `acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acks {
    /// `0`: nobody's.
    None,
    /// `1`: the leader's.
    Leader,
    /// `all`: that of all in-sync replicas. On one node it is the leader's.
    All,
}

impl From<Acks> for trunkline::producer::Acks {
    fn from(acks: Acks) -> Self {
        match acks {
            Acks::None => Self::None,
            Acks::Leader => Self::Leader,
            Acks::All => Self::All,
        }
    }
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err(format!("acks must be 0, 1 or all, found `{text}`")),
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_are_read_and_shown() {
        for (text, acks) in [("0", Acks::None), ("1", Acks::Leader), ("all", Acks::All)] {
            assert_eq!(text.parse(), Ok(acks));
            assert_eq!(acks.to_string(), text);
        }
        assert!("2".parse::<Acks>().is_err());
    }
}
