//! The compression of a run, as it is written on the command line: `none`, `lz4`, `zstd:6`.

use std::{fmt, str::FromStr};

/// A codec and its level, where one is given. Ranges are those of the engine's codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Compression {
    codec: Codec,
    level: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

const CODECS: [(&str, Codec, i32, i32); 5] = [
    ("none", Codec::None, 0, -1),
    ("gzip", Codec::Gzip, 1, 9),
    ("snappy", Codec::Snappy, 0, -1),
    ("lz4", Codec::Lz4, 1, 17),
    ("zstd", Codec::Zstd, -131_072, 22),
];

impl Compression {
    /// Batches as they are.
    pub const NONE: Self = Self { codec: Codec::None, level: None };

    /// The codec's name without the level.
    pub fn codec_name(self) -> &'static str {
        let entry = CODECS.iter().find(|entry| entry.1 == self.codec);
        entry.map_or("none", |entry| entry.0)
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let Some((_, codec, least, most)) = CODECS.iter().find(|entry| entry.0 == name) else {
            return Err(format!(
                "compression must be none, gzip, snappy, lz4 or zstd (gzip, lz4 and zstd take a \
                 level, as in zstd:6), found `{text}`"
            ));
        };
        let level = match level {
            None => None,
            Some(_) if least > most => return Err(format!("{name} has no levels: `{text}`")),
            Some(level) => Some(
                level
                    .parse()
                    .ok()
                    .filter(|level| (least..=most).contains(&level))
                    .ok_or_else(|| format!("{name} has levels {least} to {most}: `{text}`"))?,
            ),
        };
        Ok(Self { codec: *codec, level })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.codec_name())?;
        self.level.map_or(Ok(()), |level| write!(f, ":{level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_and_levels_are_read_and_shown() {
        for text in ["none", "gzip", "gzip:9", "snappy", "lz4:1", "zstd", "zstd:-5", "zstd:22"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        for text in ["", "brotli", "none:1", "snappy:2", "gzip:0", "lz4:18", "zstd:23", "zstd:"] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
    }
}
