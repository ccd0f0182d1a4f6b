//! Sizes in bytes as people write them: `16KiB`, `1MiB`, `100kB`, `1_000`.

use std::{fmt, str::FromStr};

use crate::number::{self, NumberError};

/// A number of bytes. Written with a binary (`KiB MiB GiB TiB`) or decimal (`kB MB GB TB`) unit, or
/// none for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// `n` × 1024 bytes.
    #[cfg(test)]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` × 1024² bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl FromStr for ByteSize {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let (digits, unit) = number::split(text);
        let factor = match unit {
            "" => 1,
            // The shop's kilobyte: nobody means anything else by it.
            "KB" => 1_000,
            unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or(
                NumberError::Unit {
                    text: text.into(),
                    expected: "B, kB, MB, GB (1000s) or KiB, MiB, GiB (1024s)",
                },
            )?,
        };
        number::scaled(text, digits, factor).map(Self)
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that keeps the number whole, so that it reads back as the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (name, factor) = unit.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("100", 100),
            ("1_000", 1_000),
            ("16KiB", 16_384),
            ("16 KiB", 16_384),
            ("1MiB", 1 << 20),
            ("100kB", 100_000),
            ("100KB", 100_000),
            ("1.5MiB", 1_572_864),
            ("2GB", 2_000_000_000),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_or_wrong_is_refused() {
        for text in ["", "KiB", "16k", "16K", "1.0001KiB", "-1", "1e3", "99999999TiB", "_", "1__"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for (bytes, text) in [
            (0, "0B"),
            (100, "100B"),
            (16_384, "16KiB"),
            (100_000, "100kB"),
            (1_048_577, "1048577B"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
    }
}
