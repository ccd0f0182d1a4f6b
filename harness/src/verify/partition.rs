//! One partition's folder: its segments from the first byte to the last, and all files beside them.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use trunkline::{
    io::Storage,
    limits::MAX_RELATIVE_OFFSET,
    log::{
        checkpoint::{LEADER_EPOCHS, read_partition_metadata},
        epochs::LeaderEpochs,
    },
    record::{Batch, BatchError, BatchHeader, Decoder, TransactionMarker},
    segment::{SEALS_FILE, Seals, SegmentError, Suffix, file_path},
    types::{LeaderEpoch, NO_EPOCH, Offset},
};

use super::{
    fault::Findings,
    index::{Indexes, ZeroTail},
    producers::Producers,
    root::{Root, Voice},
    seals::{self, SegmentFound},
};
use crate::{
    batches::{self, BatchFile, Found, Skipped},
    count::counted,
    folder::{Listing, PartitionFolder},
};

/// Checks one partition. `compacted` says why gaps are no fault, if they are none; `read_bytes` rises with what was read of its logs.
pub(super) fn check(
    storage: &Storage,
    partition: &PartitionFolder,
    root: &Root,
    compacted: Option<&str>,
    read_bytes: &AtomicU64,
) -> Findings {
    let mut findings = Findings::default();
    findings.counts.partitions = 1;
    match Listing::read(storage, &partition.path) {
        Ok(listing) => {
            if let Some(why) = compacted {
                let name = &partition.name;
                findings.note(format!("{name} is compacted ({why}): gaps are no fault"));
            }
            let is_compacted = compacted.is_some();
            Check::new(storage, partition, root, is_compacted, &listing, &mut findings)
                .run(&listing, read_bytes);
        }
        Err(error) => findings.fault(error),
    }
    findings
}

/// What is known while the segments go by.
struct Check<'a> {
    storage: &'a Storage,
    partition: &'a PartitionFolder,
    root: &'a Root,
    is_compacted: bool,
    findings: &'a mut Findings,
    decoder: Decoder,
    producers: Producers,
    epochs: Option<LeaderEpochs>,
    seals: Seals,
    first: Offset,
    log_start: Offset,
    /// Offset of the next batch; `None` behind a damaged place.
    expected: Option<Offset>,
    /// Offset behind the last whole batch.
    log_end: Offset,
    /// Leader epoch of the batch before.
    epoch: LeaderEpoch,
    /// The mismatch of leader epochs that was told last, so that a run of batches is told once.
    told_epochs: Option<(LeaderEpoch, Option<LeaderEpoch>)>,
}

/// Where no valid batch stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    position: u64,
    base_offset: Offset,
    tail: ZeroTail,
}

impl<'a> Check<'a> {
    fn new(
        storage: &'a Storage,
        partition: &'a PartitionFolder,
        root: &'a Root,
        is_compacted: bool,
        listing: &Listing,
        findings: &'a mut Findings,
    ) -> Self {
        let dir = &partition.path;
        let first = listing.of(Suffix::Log).next().map_or(0, |(base, _)| base);
        let snapshots = listing.of(Suffix::Snapshot).map(|(offset, _)| offset);
        let producers = Producers::read(storage, dir, snapshots, first, is_compacted, findings);
        let epochs = LeaderEpochs::load(storage, dir).unwrap_or_else(|error| {
            findings.checkpoint(error);
            // What it said is not known: no batch can contradict it.
            None
        });
        let seals = Seals::load(storage, dir).unwrap_or_else(|error| {
            match error {
                SegmentError::Corrupt(corruption) => findings.fault(corruption),
                SegmentError::Io(error) => findings.fault(error),
                other => findings.refuse(&dir.join(SEALS_FILE), 0, "file", "seals", other),
            }
            Seals::default()
        });
        if let Err(error) = read_partition_metadata(storage, dir) {
            findings.checkpoint(error);
        }
        Self {
            storage,
            partition,
            root,
            is_compacted,
            findings,
            decoder: Decoder::new(),
            producers,
            epochs,
            seals,
            first,
            log_start: root.log_start(&partition.name).unwrap_or(first).max(first),
            expected: None,
            log_end: first,
            epoch: NO_EPOCH,
            told_epochs: None,
        }
    }

    fn run(mut self, listing: &Listing, read_bytes: &AtomicU64) {
        let logs: Vec<(Offset, u64)> = listing.of(Suffix::Log).collect();
        self.note_files(listing, &logs);
        let mut found = Vec::new();
        for (place, (base, _)) in logs.iter().enumerate() {
            let is_last = place + 1 == logs.len();
            found.extend(self.segment(*base, is_last, read_bytes));
        }
        self.producers.finish(self.log_end, self.findings);
        self.check_epoch_file();
        self.root.check(&self.partition.name, self.first, self.log_end, self.findings);
        let (name, voice) = (&self.partition.name, self.voice());
        seals::check(&self.seals, name, &self.partition.path, &found, voice, self.findings);
    }

    fn note_files(&mut self, listing: &Listing, logs: &[(Offset, u64)]) {
        let name = &self.partition.name;
        let bases: BTreeSet<Offset> = logs.iter().map(|(base, _)| *base).collect();
        let mut missing = 0;
        for suffix in [Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex] {
            let there: BTreeSet<Offset> = listing.of(suffix).map(|(base, _)| base).collect();
            for base in there.difference(&bases) {
                let path = file_path(&self.partition.path, *base, suffix);
                self.findings.refuse(&path, 0, "index", "a log beside it", "none");
            }
            if suffix != Suffix::TxnIndex {
                missing += bases.difference(&there).count();
            }
        }
        if missing > 0 {
            let missing = counted(missing as u64, "index file is", "index files are");
            self.findings.note(format!(
                "{name}: {missing} missing; whoever needs what they say takes it from the log"
            ));
        }
        if !listing.aside.is_empty() {
            let names = listing.aside.join(", ");
            self.findings.note(format!("{name}: not looked at: {names}"));
        }
        if logs.is_empty() {
            self.findings.note(format!("{name} has no segment"));
        }
    }

    /// Reads a segment from end to end.
    fn segment(
        &mut self,
        base_offset: Offset,
        is_last: bool,
        read_bytes: &AtomicU64,
    ) -> Option<SegmentFound> {
        let dir = &self.partition.path;
        let path = file_path(dir, base_offset, Suffix::Log);
        let mut file = match BatchFile::open(self.storage, &path) {
            Ok(file) => file,
            Err(error) => {
                self.findings.fault(error);
                return None;
            }
        };
        let tail =
            if is_last && !self.root.is_closed { ZeroTail::Reserved } else { ZeroTail::Fault };
        let mut indexes = Indexes::read(self.storage, dir, base_offset, tail, self.findings);
        self.begin(&path, base_offset);
        self.findings.counts.segments += 1;
        self.findings.counts.bytes += file.file_len();

        let mut is_whole = true;
        let mut told = 0;
        loop {
            match file.read_batch() {
                Ok(None) => break,
                Ok(Some(Found { position, batch: Ok(batch) })) => {
                    self.batch(&path, position, &batch, base_offset, &mut indexes);
                    let end = position + batch.bytes().len() as u64;
                    // Not for every batch: the counter is shared between threads.
                    if end - told > 1 << 20 {
                        read_bytes.fetch_add(end - told, Ordering::Relaxed);
                        told = end;
                    }
                }
                Ok(Some(Found { position, batch: Err(error) })) => {
                    is_whole = false;
                    let place = Place { path: &path, position, base_offset, tail };
                    if !self.damage(place, error, &mut file, &mut indexes) {
                        break;
                    }
                }
                Err(error) => {
                    is_whole = false;
                    self.lost(&mut indexes, u64::MAX, Offset::MAX);
                    self.findings.fault(error);
                    break;
                }
            }
        }
        read_bytes.fetch_add(file.file_len().saturating_sub(told), Ordering::Relaxed);
        let largest = indexes.largest();
        indexes.finish(self.findings);
        let txnindex = self.producers.end_of_segment(self.storage, base_offset, self.findings);
        let [index, timeindex] = indexes.checksums;
        Some(SegmentFound {
            base_offset,
            len: file.file_len(),
            next_offset: self.log_end,
            largest,
            is_whole,
            checksums: [index, timeindex, txnindex],
        })
    }

    /// A segment begins where the one before ended.
    fn begin(&mut self, path: &Path, base_offset: Offset) {
        if let Some(expected) = self.expected
            && base_offset != expected
            && (base_offset < expected || !self.is_compacted)
        {
            let what = "base offset of the segment";
            self.findings.refuse(path, 0, what, expected, base_offset);
            self.producers.damaged();
        }
        self.expected = Some(base_offset);
        self.log_end = self.log_end.max(base_offset);
    }

    /// A batch with a right CRC.
    fn batch(
        &mut self,
        path: &Path,
        position: u64,
        batch: &Batch<'_>,
        base_offset: Offset,
        indexes: &mut Indexes,
    ) {
        let header = batch.header();
        self.check_offsets(path, position, header, base_offset);
        self.check_epoch(path, position, header);
        self.findings.counts.batches += 1;
        indexes.batch(position, header, self.findings);
        let marker = match self.decode(path, position, batch) {
            Ok(marker) => marker,
            Err(error) => {
                self.findings.fault(batches::corruption(error, path, position));
                self.producers.damaged();
                None
            }
        };
        self.producers.batch(header, marker, self.findings);
        self.expected = Some(header.next_offset());
        self.log_end = self.log_end.max(header.next_offset());
    }

    fn check_offsets(
        &mut self,
        path: &Path,
        position: u64,
        header: &BatchHeader,
        base_offset: Offset,
    ) {
        let base = header.base_offset;
        let refused = match self.expected {
            Some(expected) if base < expected || (base > expected && !self.is_compacted) => {
                Some(expected.to_string())
            }
            None if base < self.log_end => Some(format!("at least {}", self.log_end)),
            _ if header.last_offset() - base_offset > MAX_RELATIVE_OFFSET => {
                Some(format!("at most {}", base_offset + MAX_RELATIVE_OFFSET))
            }
            _ => None,
        };
        if let Some(expected) = refused {
            self.findings.refuse(path, position, "base offset", expected, base);
            self.producers.damaged();
        }
        let span = header.last_offset_delta as i64 + 1;
        if !self.is_compacted && header.record_count as i64 != span {
            let expected = format!("{span}, one for each offset of the batch");
            self.findings.refuse(
                path,
                position + 57,
                "record count",
                expected,
                header.record_count,
            );
        }
    }

    fn check_epoch(&mut self, path: &Path, position: u64, header: &BatchHeader) {
        let epoch = header.leader_epoch;
        if epoch < self.epoch && self.epoch != NO_EPOCH {
            let expected = format!("at least {}, as in the batch before", self.epoch);
            self.findings.refuse(path, position + 12, "leader epoch", expected, epoch);
            // What follows is held against the checkpoint.
            self.epoch = self.epoch.max(epoch);
            return;
        }
        self.epoch = epoch;
        // Records below the log start are on their way out; the checkpoint has forgotten them.
        if epoch < 0 || header.last_offset() < self.log_start {
            return;
        }
        let Some(epochs) = &self.epochs else { return };
        let stored = [header.base_offset.max(self.log_start), header.last_offset()]
            .map(|offset| epochs.epoch_for(offset));
        let [begin, end] = stored;
        if begin == Some(epoch) && end == Some(epoch) {
            self.told_epochs = None;
            return;
        }
        // Kafka cuts the front of the checkpoint off before it moves the log start.
        if begin.is_none() && !epochs.entries().is_empty() && end.is_none_or(|end| end == epoch) {
            return;
        }
        let other = if begin == Some(epoch) { end } else { begin };
        if self.told_epochs.replace((epoch, other)) != Some((epoch, other)) {
            let other = other.map_or("none".into(), |other| other.to_string());
            let expected = format!("{other} as in {LEADER_EPOCHS}");
            self.findings.refuse(path, position + 12, "leader epoch", expected, epoch);
        }
    }

    /// Reads all records of a batch; gives the transaction marker of a control batch.
    fn decode(
        &mut self,
        path: &Path,
        position: u64,
        batch: &Batch<'_>,
    ) -> Result<Option<TransactionMarker>, BatchError> {
        let header = batch.header();
        let mut largest = -1;
        let mut count = 0;
        for record in batch.records(&mut self.decoder)? {
            largest = record?.timestamp.max(largest);
            count += 1;
        }
        // The cleaner leaves an emptied batch its timestamp.
        if count > 0 && header.max_timestamp != largest {
            let what = "largest timestamp";
            self.findings.refuse(path, position + 35, what, largest, header.max_timestamp);
        }
        if header.attributes.is_control() {
            return batch.marker(&mut self.decoder);
        }
        self.findings.counts.records += count;
        Ok(None)
    }

    /// No valid batch stands at `position`. Tells it once, with what follows; whether one does.
    fn damage(
        &mut self,
        place: Place<'_>,
        error: BatchError,
        file: &mut BatchFile,
        indexes: &mut Indexes,
    ) -> bool {
        let Place { path, position, base_offset, tail } = place;
        let mut corruption = batches::corruption(error, path, position);
        let plausible = |header: &BatchHeader| {
            let relative = header.last_offset().saturating_sub(base_offset);
            (0..=MAX_RELATIVE_OFFSET).contains(&relative) && header.base_offset >= base_offset
        };
        match file.skip_damage(plausible) {
            // Reserved, or written ahead of the batches.
            Ok(Skipped { all_zero: true, .. }) if tail == ZeroTail::Reserved => false,
            Ok(Skipped { bytes, all_zero: true, .. }) => {
                let found = format!("{bytes} zero bytes");
                self.findings.refuse(path, position, "zero tail", "the end", found);
                false
            }
            Ok(Skipped { bytes, resumes, .. }) => {
                let rest = if resumes {
                    format!("; the next whole batch is at byte {}", position + bytes)
                } else {
                    format!("; no whole batch in the {bytes} bytes up to the end")
                };
                corruption.found.push_str(&rest);
                self.findings.fault(corruption);
                if resumes {
                    self.resume(path, file, indexes);
                } else {
                    self.lost(indexes, u64::MAX, Offset::MAX);
                }
                resumes
            }
            Err(error) => {
                self.findings.fault(corruption);
                self.findings.fault(error);
                self.lost(indexes, u64::MAX, Offset::MAX);
                false
            }
        }
    }

    /// What the damaged range held nobody can tell.
    fn lost(&mut self, indexes: &mut Indexes, position: u64, offset: Offset) {
        indexes.damaged(position.min(i64::MAX as u64), offset);
        self.producers.damaged();
        self.expected = None;
    }

    fn resume(&mut self, path: &Path, file: &mut BatchFile, indexes: &mut Indexes) {
        match file.damaged_header() {
            Ok(Some(header)) => self.lost(indexes, file.position(), header.base_offset),
            Ok(None) => self.lost(indexes, file.position(), self.log_end),
            Err(error) => {
                self.lost(indexes, file.position(), self.log_end);
                self.findings.refuse(path, file.position(), "read", "success", error);
            }
        }
    }

    /// Epochs that begin behind the log's end: the log was cut without them.
    fn check_epoch_file(&mut self) {
        let path = self.partition.path.join(LEADER_EPOCHS);
        match &self.epochs {
            Some(epochs) => {
                for entry in epochs.entries().iter().filter(|it| it.start_offset > self.log_end) {
                    let what = format!("start of leader epoch {}", entry.epoch);
                    let expected = format!("at most the log end {}", self.log_end);
                    self.findings.refuse(&path, 0, what, expected, entry.start_offset);
                }
                let found = (!epochs.entries().is_empty()).then(|| epochs.checksum());
                if let Voice::Exact(ours) = self.voice()
                    && ours.epochs_crc != found
                {
                    let told =
                        |crc: Option<u32>| crc.map_or("none".into(), |crc| format!("{crc:08x}"));
                    let (expected, found) = (told(ours.epochs_crc), told(found));
                    self.findings.refuse(&path, 0, "checksum of the file", expected, found);
                }
            }
            None if self.epoch >= 0 && !self.has_epoch_file(&path) => {
                let expected = format!("leader epochs up to {}", self.epoch);
                self.findings.refuse(&path, 0, "file", expected, "none");
            }
            None => {}
        }
    }

    fn has_epoch_file(&self, path: &Path) -> bool {
        self.storage.exists(path).unwrap_or(true)
    }

    fn voice(&self) -> Voice {
        self.root.voice(&self.partition.name, self.log_end)
    }
}
