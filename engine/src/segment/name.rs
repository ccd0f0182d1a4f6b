//! Names of a segment's files, as Kafka writes them (`LogFileUtils`): 20 digits of base offset and
//! a suffix; a second suffix says that the file is being made or given up.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::types::Offset;

/// Digits of a base offset in a file's name.
const DIGITS: usize = ZEROS.len();
const ZEROS: &str = "00000000000000000000";

/// What a file of a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suffix {
    /// `.log`: the batches.
    Log,
    /// `.index`: the offset index.
    Index,
    /// `.timeindex`: the time index.
    TimeIndex,
    /// `.txnindex`: the aborted transactions.
    TxnIndex,
    /// `.snapshot`: the producers' state at the base offset.
    Snapshot,
}

impl Suffix {
    const ALL: [Self; 5] =
        [Self::Log, Self::Index, Self::TimeIndex, Self::TxnIndex, Self::Snapshot];

    /// The suffix with its dot.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
        }
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where in its life a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// In use: no second suffix.
    Live,
    /// `.cleaned`: the cleaner is writing it.
    Cleaned,
    /// `.swap`: whole, and about to take the place of the originals.
    Swap,
    /// `.deleted`: given up, removed after a delay.
    Deleted,
}

impl Stage {
    const MARKED: [Self; 3] = [Self::Cleaned, Self::Swap, Self::Deleted];

    /// The second suffix with its dot; empty for a file in use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
            Self::Deleted => ".deleted",
        }
    }
}

/// A file's name taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// The base offset (of a snapshot: the offset that the state is valid for).
    pub base_offset: Offset,
    /// What the file holds.
    pub suffix: Suffix,
    /// Where in its life it is.
    pub stage: Stage,
}

impl FileName {
    /// Reads a name. `None` for every file that is not a segment's.
    pub fn parse(name: &str) -> Option<Self> {
        let (digits, rest) = name.split_at_checked(DIGITS)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let base_offset = digits.parse().ok()?;
        let marked = |stage: &Stage| Some((rest.strip_suffix(stage.as_str())?, *stage));
        let (kind, stage) = Stage::MARKED.iter().find_map(marked).unwrap_or((rest, Stage::Live));
        let suffix = Suffix::ALL.into_iter().find(|suffix| suffix.as_str() == kind)?;
        Some(Self { base_offset, suffix, stage })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not `{:020}`, which writes zero after zero: a recovery makes many names.
        let digits = self.base_offset.checked_ilog10().map_or(1, |power| power as usize + 1);
        f.write_str(&ZEROS[digits..])?;
        write!(f, "{}", self.base_offset)?;
        f.write_str(self.suffix.as_str())?;
        f.write_str(self.stage.as_str())
    }
}

/// Name of a file in use: `00000000000000000042.log`.
pub fn file_name(base_offset: Offset, suffix: Suffix) -> String {
    FileName { base_offset, suffix, stage: Stage::Live }.to_string()
}

/// Path of a file in use, in a partition's folder.
pub fn file_path(dir: &Path, base_offset: Offset, suffix: Suffix) -> PathBuf {
    dir.join(file_name(base_offset, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        assert_eq!(file_name(42, Suffix::Log), "00000000000000000042.log");
        for power in 0..19 {
            for base_offset in [10_i64.pow(power) - 1, 10_i64.pow(power)] {
                assert_eq!(
                    file_name(base_offset, Suffix::Index),
                    format!("{base_offset:020}.index")
                );
            }
        }
        for suffix in Suffix::ALL {
            assert_eq!(suffix.to_string(), suffix.as_str());
            for stage in [Stage::Live, Stage::Cleaned, Stage::Swap, Stage::Deleted] {
                let name = FileName { base_offset: Offset::MAX, suffix, stage };
                assert_eq!(FileName::parse(&name.to_string()), Some(name));
            }
        }
    }

    #[test]
    fn other_files_are_nobodys_segment() {
        for name in [
            "",
            "leader-epoch-checkpoint",
            "0000000000000000042.log",
            "000000000000000000042.log",
            "0000000000000000004x.log",
            "+0000000000000000042.log",
            "99999999999999999999.log",
            "00000000000000000042",
            "00000000000000000042.logs",
            "00000000000000000042.log.tmp",
            "00000000000000000042.deleted",
            "0000000000000000004é.log",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
