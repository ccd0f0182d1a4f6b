//! The names of the five codecs and of their levels.

use std::{fmt, str::FromStr};

/// How a batch's record array is compressed. The numbers are those of the batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// A gzip member (RFC 1952). Level 1 is zlib-ng's: faster than zlib's, and it shrinks less.
    Gzip,
    /// A xerial stream of snappy blocks.
    Snappy,
    /// An LZ4 frame of independent blocks.
    Lz4,
    /// A Zstandard frame (RFC 8878).
    Zstd,
}

impl Codec {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its number in a batch's attributes, 0 to 4.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The codec of a number; `None` for 5 and above, which Kafka has not assigned.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(id as usize).copied()
    }

    /// Its name in Kafka's settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Level that is used when none is asked for (Kafka's); `None` where the codec has no levels.
    pub const fn default_level(self) -> Option<i32> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some(6), // zlib's own, which Kafka's −1 stands for
            Self::Lz4 => Some(LZ4_LEVEL),
            Self::Zstd => Some(3),
        }
    }

    /// Levels that are accepted, smallest and largest; `None` where the codec has no levels.
    pub const fn levels(self) -> Option<(i32, i32)> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some((1, 9)),
            Self::Lz4 => Some((LZ4_LEVEL, LZ4_LEVEL)),
            Self::Zstd => Some((-(1 << 17), 22)),
        }
    }
}

/// Kafka's name for lz4's fast compressor. Its other levels, 1 to 17, mean the slow high-compression
/// search, which only rewards readers: it is refused rather than silently replaced by the fast one.
const LZ4_LEVEL: i32 = 9;

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = CompressionError;

    fn from_str(s: &str) -> Result<Self, CompressionError> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == s)
            .ok_or_else(|| CompressionError::Codec { found: s.chars().take(100).collect() })
    }
}

/// A codec and its level, written `codec` or `codec:level`.
///
/// ```
/// use trunkline::record::{Codec, Compression};
/// let compression: Compression = "zstd:-5".parse().unwrap();
/// assert_eq!((compression.codec, compression.level), (Codec::Zstd, Some(-5)));
/// assert_eq!(compression.to_string(), "zstd:-5");
/// assert!("lz4:12".parse::<Compression>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// Its level; `None` for [`Codec::default_level`].
    pub level: Option<i32>,
}

/// Why a codec or its level is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// No codec has this name.
    #[error("compression must be none, gzip, snappy, lz4 or zstd, found `{found}`")]
    Codec {
        /// The name, shortened to 100 characters.
        found: String,
    },
    /// What stands behind the colon is no number.
    #[error("the level of {codec} must be a number, found `{found}`")]
    NoNumber {
        /// The codec.
        codec: Codec,
        /// What stands there, shortened to 100 characters.
        found: String,
    },
    /// The codec has no levels.
    #[error("{codec} has no levels, found {found}")]
    NoLevels {
        /// The codec.
        codec: Codec,
        /// The level.
        found: i32,
    },
    /// The level is outside the codec's range.
    #[error("the level of {codec} must be {smallest} to {largest}, found {found}")]
    Level {
        /// The codec.
        codec: Codec,
        /// Smallest level.
        smallest: i32,
        /// Largest level.
        largest: i32,
        /// The level.
        found: i32,
    },
    /// Of lz4's levels only 9, Kafka's default, is the fast compressor that is built in.
    #[error(
        "lz4 compresses at Kafka's default level 9 only (the fast compressor), found {found}; \
         for a better ratio use zstd"
    )]
    Lz4Level {
        /// The level.
        found: i32,
    },
}

impl Compression {
    /// `codec` at its default level.
    pub const fn new(codec: Codec) -> Self {
        Self { codec, level: None }
    }

    /// Whether the codec has the level.
    pub fn check(self) -> Result<(), CompressionError> {
        let codec = self.codec;
        match (self.level, codec.levels()) {
            (None, _) => Ok(()),
            (Some(found), None) => Err(CompressionError::NoLevels { codec, found }),
            (Some(found), Some((smallest, largest))) if (smallest..=largest).contains(&found) => {
                Ok(())
            }
            (Some(found), Some(_)) if codec == Codec::Lz4 => {
                Err(CompressionError::Lz4Level { found })
            }
            (Some(found), Some((smallest, largest))) => {
                Err(CompressionError::Level { codec, smallest, largest, found })
            }
        }
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self::new(codec)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "{}:{level}", self.codec),
            None => write!(f, "{}", self.codec),
        }
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(s: &str) -> Result<Self, CompressionError> {
        let Some((name, level)) = s.split_once(':') else {
            return Ok(Self::new(s.parse()?));
        };
        let codec = name.parse()?;
        let level = level.parse().map_err(|_| CompressionError::NoNumber {
            codec,
            found: level.chars().take(100).collect(),
        })?;
        let compression = Self { codec, level: Some(level) };
        compression.check()?;
        Ok(compression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kafkas() {
        for (id, codec) in Codec::ALL.into_iter().enumerate() {
            assert_eq!(codec.id() as usize, id);
            assert_eq!(Codec::from_id(id as u8), Some(codec));
        }
        assert_eq!(Codec::from_id(5), None);
    }

    #[test]
    fn names_and_levels_go_both_ways() {
        for text in
            ["none", "gzip", "gzip:1", "gzip:9", "snappy", "lz4", "lz4:9", "zstd", "zstd:-131072"]
        {
            let compression: Compression = text.parse().unwrap();
            assert_eq!(compression.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (text, why) in [
            ("", "compression must be"),
            ("GZIP", "compression must be"),
            ("gzip:", "must be a number"),
            ("gzip:0", "must be 1 to 9"),
            ("gzip:10", "must be 1 to 9"),
            ("none:1", "has no levels"),
            ("snappy:1", "has no levels"),
            ("lz4:1", "level 9 only"),
            ("zstd:23", "must be -131072 to 22"),
            ("zstd:3x", "must be a number"),
        ] {
            let error = text.parse::<Compression>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
