//! The command line of `verify`.

use std::path::PathBuf;

use clap::Args;

/// What `verify --help` says.
pub const ABOUT: &str = "\
Check a data folder, byte by byte.

DIR is a data folder (a log dir with partition folders in it) or one partition's folder, written by \
Trunkline or by Apache Kafka. Nothing is ever written, locked or trimmed, unless --recover is given.

Every batch: header, CRC, all records decoded, their count and largest timestamp; offsets without \
gaps within and between segments (unless the topic is compacted); leader epochs against \
leader-epoch-checkpoint. Every index entry against the batch it names. Aborted transactions and \
producer snapshots against what the batches say. Checkpoints against the log's ends, checksums of \
the files that only Trunkline writes. Missing indexes are no fault: they are made again from the log.

Prints a line for each fault, `FILE: byte N: what: expected ..., found ...`, and a summary. \
Exit code: 0 without faults, 1 with some, 2 where it could not look, or not tell.

A folder that a broker or an engine has open changes while it is read: its last segments and \
checkpoints may then show faults that are none.";

/// Examples below `verify --help`.
pub const EXAMPLES: &str = "\
Examples:
  trunkline-harness verify /var/lib/kafka/data         all partitions
  trunkline-harness verify /var/lib/kafka/data/orders-3
  trunkline-harness verify --compacted=users data      gaps in `users` are what compaction leaves
  trunkline-harness verify --recover data              open it as after a crash first, tell what was
                                                       cut off, then check it";

/// Options of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Data folder, or a partition's folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Topics that are compacted, so that gaps between offsets are no fault: a comma list, or all
    /// topics without one. Those that trunkline-topics or cleaner-offset-checkpoint name are known
    #[arg(long, value_name = "TOPICS", num_args = 0.., require_equals = true, value_delimiter = ',')]
    pub compacted: Option<Vec<String>>,
    /// First open the folder as the engine does after a crash and close it again. Cuts torn tails off
    /// and tells of each file beside the log that it made anew. In a folder that was closed cleanly
    /// nothing is looked for. This writes to the folder
    #[arg(long)]
    pub recover: bool,
    /// With --recover: where acknowledged records are damaged, cut the log there. Those from the damage
    /// on are lost to readers, whole ones too, and their offsets are given out again; their bytes are
    /// kept beside the log in .quarantined files. Without it they stay, and appends are refused
    #[arg(long, requires = "recover")]
    pub cut_damage: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

impl VerifyArgs {
    /// Whether the command line says that `topic` is compacted.
    pub fn says_compacted(&self, topic: &str) -> bool {
        let named = |topics: &Vec<String>| topics.is_empty() || topics.iter().any(|it| it == topic);
        self.compacted.as_ref().is_some_and(named)
    }
}
