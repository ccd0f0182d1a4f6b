//! Planted bugs: each is a mistake that a storage engine is known to make, here or elsewhere. A test that
//! never failed proves nothing, so the tests under `tests/lives` run with each of them planted, and must
//! fail (`just twins`).
//!
//! Without the feature `twins` none of this is compiled; the places that ask are `false`.

use std::cell::Cell;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Twin {
    /// A commit syncs nothing and says that it did.
    NoSyncOfLog,
    /// Records count as durable as soon as they are written.
    DurableWhenWritten,
    /// A failed sync is tried again, and believed (cockroach#37102).
    FailedSyncTriedAgain,
    /// A small file gets its name before its bytes are synced.
    RenameBeforeSync,
    /// A small file's new name is not synced.
    RenameNotSynced,
    /// A new segment's names are not synced.
    NewSegmentNotSynced,
    /// A roll does not sync the segment before it, although recovery relies on it.
    RollWithoutSync,
    /// The next segment is named one offset too high.
    RollOffByOne,
    /// Reserved space is left behind the batches when a segment is sealed (LavinMQ#384).
    ReserveNotTrimmed,
    /// A checkpoint counts before the indexes below it are synced.
    CheckpointBeforeSync,
    /// The log is cut while the checkpoints still speak of what goes (redpanda#31470).
    CutBeforeCheckpoint,
    /// A truncation is not synced.
    CutNotSynced,
    /// Segments are removed from the first to the last, so that a crash leaves a hole.
    RemovedFromTheFront,
    /// Snapshots of producers outlive the records that they speak of.
    SnapshotsOutliveCut,
    /// The new log start is shown before it is on disk.
    StartNotPersisted,
    /// Where a leader's term begins is not written (KAFKA-16541's other half).
    EpochsNotStored,
    /// A producer's repeated send is appended again.
    RepeatsAccepted,
    /// A batch is believed without its checksum.
    CrcUnchecked,
    /// Recovery leaves a torn tail where it is.
    TornTailKept,
    /// Recovery believes what the page cache shows after a failed sync.
    RecoveryThroughCache,
    /// Readers believe an index entry over the log.
    IndexBelieved,
    /// A batch that is fetched is not held against the offset that it must have.
    OffsetUnchecked,
    /// Index entries of records that a crash took from the log are kept (iggy#3970, commonware#4260).
    IndexAheadOfLog,
    /// Zeros of a torn index count as entries (iggy#3946).
    ZerosAreEntries,
    /// A log ends where its index does (redpanda#9711).
    EndFromIndex,
    /// A log whose leader epochs are damaged does not open (KAFKA-16541).
    DamagedEpochsRefused,
    /// Every leader's term ends at the log end, so that a follower cuts nothing (KIP-101, KIP-279).
    TermEndsAtLogEnd,
    /// A leader of an older term appends (redpanda#3003).
    StaleLeaderAccepted,
    /// A consumer whose position is gone goes on at the end and says nothing (iggy#2715).
    JumpsToEnd,
    /// A consumer that took a part of a batch goes on behind it (iggy#2924).
    RestOfBatchSkipped,
    /// One partition's position becomes that of all (iggy#4034).
    OnePositionForAll,
    /// A consumer goes on behind a damaged batch and says nothing (iggy#4034: over the gap).
    DamagePassedOver,
    /// A batch's length is believed beyond the bytes that are there (KAFKA-14063).
    LengthBelieved,
    /// A batch's record count is believed before the records are there (kafka-protocol-rs#152).
    CountBelieved,
    /// A producer's buffer that is used again still holds the batch before (KAFKA-19012).
    BufferNotCleared,
    /// A producer takes records without regard to `buffer.memory`.
    MemoryUnbounded,
    /// A durable log appends without regard to what is not synced.
    BacklogUnbounded,
    /// Files are written back together, and the device's cache is not flushed.
    FlushLeftOut,
    /// A flush that failed is the failure of the file that it was asked of, not of all that relied on it.
    FlushFailedForOne,
    /// Space that was prepared and cut off again counts as prepared.
    RoomOutlivesCut,
    /// Space counts as prepared before a sync of its own has made length and blocks durable.
    RoomBelievedUnsynced,
    /// A recovery empties the index of aborted transactions and writes it again in place.
    TransactionsOverwritten,
    /// A checkpoint, and a recovery, sync the other indexes and leave that of aborted transactions out.
    TransactionsUnsynced,
    /// A recovery stores shortened leader epochs before the log that it found shorter is durable.
    EpochsBeforeLog,
    /// The file of leader epochs goes on naming a term whose first append failed.
    FailedTermForgotten,
    /// Indexes are cut to a log before it is seen that the log is short.
    IndexesCutUnjudged,
    /// Of segments that are kept around damage only the index of aborted transactions is asked, durable or not.
    AbortedNotTold,
    /// A truncation takes a record more than it was asked to.
    TruncatesTooFar,
    /// Retention takes a segment more than has expired.
    RetainsTooLittle,
}

impl Twin {
    /// All of them.
    pub const ALL: [Self; 49] = [
        Self::NoSyncOfLog,
        Self::DurableWhenWritten,
        Self::FailedSyncTriedAgain,
        Self::RenameBeforeSync,
        Self::RenameNotSynced,
        Self::NewSegmentNotSynced,
        Self::RollWithoutSync,
        Self::RollOffByOne,
        Self::ReserveNotTrimmed,
        Self::CheckpointBeforeSync,
        Self::CutBeforeCheckpoint,
        Self::CutNotSynced,
        Self::RemovedFromTheFront,
        Self::SnapshotsOutliveCut,
        Self::StartNotPersisted,
        Self::EpochsNotStored,
        Self::RepeatsAccepted,
        Self::CrcUnchecked,
        Self::TornTailKept,
        Self::RecoveryThroughCache,
        Self::IndexBelieved,
        Self::OffsetUnchecked,
        Self::IndexAheadOfLog,
        Self::ZerosAreEntries,
        Self::EndFromIndex,
        Self::DamagedEpochsRefused,
        Self::TermEndsAtLogEnd,
        Self::StaleLeaderAccepted,
        Self::JumpsToEnd,
        Self::RestOfBatchSkipped,
        Self::OnePositionForAll,
        Self::DamagePassedOver,
        Self::LengthBelieved,
        Self::CountBelieved,
        Self::BufferNotCleared,
        Self::MemoryUnbounded,
        Self::BacklogUnbounded,
        Self::FlushLeftOut,
        Self::FlushFailedForOne,
        Self::RoomOutlivesCut,
        Self::RoomBelievedUnsynced,
        Self::TransactionsOverwritten,
        Self::TransactionsUnsynced,
        Self::EpochsBeforeLog,
        Self::FailedTermForgotten,
        Self::IndexesCutUnjudged,
        Self::AbortedNotTold,
        Self::TruncatesTooFar,
        Self::RetainsTooLittle,
    ];

    /// Plants this bug in all that the calling thread does, in place of the one before.
    pub fn plant(self) {
        PLANTED.set(Some(self));
    }

    /// Takes the planted bug out.
    pub fn uproot() {
        PLANTED.set(None);
    }
}

thread_local! {
    static PLANTED: Cell<Option<Twin>> = const { Cell::new(None) };
}

pub(crate) fn is_planted(twin: Twin) -> bool {
    PLANTED.get() == Some(twin)
}
