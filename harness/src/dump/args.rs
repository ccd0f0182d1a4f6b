//! The command line of `dump`.

use std::path::PathBuf;

use clap::Args;

/// What `dump --help` says.
pub const ABOUT: &str = "\
Print what a log holds.

PATH is a data folder, a partition's folder, or a single file: .log, .index, .timeindex, .txnindex \
or .snapshot; Trunkline's or Apache Kafka's. Only the .log files of a folder are printed, whole, \
whatever its checkpoints say; indexes are not needed. Nothing is ever written.

The lines are those of Kafka's own tool, `kafka-dump-log.sh --print-data-log`: one for each batch, \
then one for each of its records. --no-data leaves keys and payloads out (Kafka: --deep-iteration), \
--shallow the records too (Kafka: without an option).

With --json each data record is one line: {\"topic\":\"orders\",\"partition\":0,\"offset\":17,\
\"timestamp\":1700000000000,\"key\":\"6b\",\"value\":null,\"headers\":[[\"name\",\"76\"]]}. Bytes are \
hex, null stays null, timestamps are milliseconds since 1970, control records are left out.

What cannot be read is told on standard error, and what follows it is printed. Exit code: 0, or 1 \
where something could not be read, or 2 where nothing could.";

/// Examples below `dump --help`.
pub const EXAMPLES: &str = "\
Examples:
  trunkline-harness dump data/orders-0/00000000000000000000.log
  trunkline-harness dump --shallow data/orders-0            batches only
  trunkline-harness dump --json data | jq -r .offset        every record of a data folder
  trunkline-harness dump data/orders-0/00000000000000000000.timeindex";

/// Options of `dump`.
#[derive(Debug, Clone, Args)]
pub struct DumpArgs {
    /// Data folder, partition's folder, or file
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Print batches only, without their records
    #[arg(long, conflicts_with = "json")]
    pub shallow: bool,
    /// Print records without key and payload
    #[arg(long, conflicts_with = "json")]
    pub no_data: bool,
    /// Print each data record as a JSON object, a line each
    #[arg(long)]
    pub json: bool,
}
