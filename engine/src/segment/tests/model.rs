//! A segment must answer as a `Vec` of batches does.

use proptest::prelude::*;

use super::*;
use crate::segment::Seal;

/// The naive segment: every answer by looking at every batch.
#[derive(Debug, Clone, Default)]
struct Model {
    batches: Vec<Stored>,
    next_offset: Offset,
}

#[derive(Debug, Clone)]
struct Stored {
    header: BatchHeader,
    position: u64,
    bytes: Vec<u8>,
    timestamps: Vec<i64>,
}

impl Model {
    fn len(&self) -> u64 {
        self.batches.iter().map(|batch| batch.bytes.len() as u64).sum()
    }

    fn append(&mut self, batch: &SealedBatch, timestamps: Vec<i64>) {
        let (header, position) = (*batch.header(), self.len());
        self.batches.push(Stored { header, position, bytes: batch.bytes().to_vec(), timestamps });
        self.next_offset = header.next_offset();
    }

    fn truncate_to(&mut self, offset: Offset) {
        if let Some(gone) = self.batches.iter().position(|b| b.header.last_offset() >= offset) {
            let first_gone = self.batches[gone].header.base_offset;
            self.batches.truncate(gone);
            self.next_offset = offset.clamp(0, first_gone);
        }
    }

    fn locate(&self, offset: Offset) -> Option<(u64, BatchHeader)> {
        let found = self.batches.iter().find(|batch| batch.header.last_offset() >= offset)?;
        Some((found.position, found.header))
    }

    fn find_timestamp(&self, timestamp: i64, from: Offset) -> Option<(i64, Offset)> {
        let records = self
            .batches
            .iter()
            .flat_map(|batch| batch.timestamps.iter().copied().zip(batch.header.base_offset..));
        records.into_iter().find(|(time, offset)| *time >= timestamp && *offset >= from)
    }

    fn max_timestamp(&self) -> Option<(i64, Offset)> {
        self.batches.iter().fold(None, |largest, batch| {
            let time = batch.header.max_timestamp;
            let is_larger = time > largest.map_or(-1, |(time, _)| time);
            if is_larger { Some((time, batch.header.last_offset())) } else { largest }
        })
    }

    fn read(&self, position: u64, upto: u64, max_bytes: usize, first_whole: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for batch in self.batches.iter().skip_while(|batch| batch.position < position) {
            let end = batch.position + batch.bytes.len() as u64;
            let fits = bytes.len() + batch.bytes.len() <= max_bytes;
            if end > upto || !(fits || first_whole && bytes.is_empty()) {
                break;
            }
            bytes.extend_from_slice(&batch.bytes);
        }
        bytes
    }

    /// The `.index` file that Kafka's rule gives.
    fn offset_index(&self, interval: u32) -> Vec<u8> {
        let (mut bytes, mut since) = (Vec::new(), 0);
        for batch in &self.batches {
            if since > interval as usize {
                bytes.extend_from_slice(&(batch.header.last_offset() as i32).to_be_bytes());
                bytes.extend_from_slice(&(batch.position as i32).to_be_bytes());
                since = 0;
            }
            since += batch.bytes.len();
        }
        bytes
    }
}

#[derive(Debug, Clone)]
struct Shape {
    timestamps: Vec<i64>,
    value_bytes: usize,
    gap: i64,
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Shape>),
    /// To an offset, in thousandths of the log.
    Truncate(i64),
    WriteIndexes,
    /// Close, and open with the seal.
    Close,
    /// Close, and open without.
    CloseAndLoseSeal,
    /// Drop it as it is, and trust the indexes on disk.
    Crash,
    /// Drop it as it is, and trust nothing.
    CrashAndRebuild,
    /// Seal, and open the sealed form.
    Reopen,
}

fn shape() -> impl Strategy<Value = Shape> {
    let timestamps = prop::collection::vec(prop_oneof![9 => 0..60_i64, 1 => Just(-1)], 1..4);
    (timestamps, 0..300_usize, 0..3_i64).prop_map(|(timestamps, value_bytes, gap)| Shape {
        timestamps,
        value_bytes,
        gap,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(shape(), 1..8).prop_map(Step::Append),
        2 => (0..1_100_i64).prop_map(Step::Truncate),
        1 => Just(Step::WriteIndexes),
        1 => Just(Step::Close),
        1 => Just(Step::CloseAndLoseSeal),
        1 => Just(Step::Crash),
        1 => Just(Step::CrashAndRebuild),
        1 => Just(Step::Reopen),
    ]
}

/// The two side by side.
struct Pair {
    folder: Folder,
    model: Model,
    active: ActiveSegment,
}

impl Pair {
    fn perform(mut self, step: &Step) -> Self {
        match step {
            Step::Append(shapes) => self.append(shapes),
            Step::Truncate(thousandth) => {
                let offset = self.model.next_offset * thousandth / 1_000;
                self.model.truncate_to(offset);
                let left = self.active.truncate_to(offset).unwrap();
                assert_eq!(left.len, self.model.len());
            }
            Step::WriteIndexes => self.active.write_indexes().unwrap(),
            Step::Close => {
                let seal = self.close();
                self.active = self.folder.open(0, Trust::Seal(&seal)).unwrap();
            }
            Step::CloseAndLoseSeal => {
                self.close();
                self.active = self.folder.open(0, Trust::Indexes).unwrap();
            }
            Step::Crash => self.active = self.folder.open(0, Trust::Indexes).unwrap(),
            Step::CrashAndRebuild => self.active = self.folder.open(0, Trust::Nothing).unwrap(),
            Step::Reopen => {
                let twin = self.folder.open(0, Trust::Indexes).unwrap();
                let (sealed, _) = std::mem::replace(&mut self.active, twin).seal().unwrap();
                self.active = ActiveSegment::reopen(&sealed).unwrap();
            }
        }
        // A truncation into a gap is known to nobody but who was there.
        if !self.folder.options.gaps_allowed {
            assert_eq!(self.active.next_offset(), self.model.next_offset);
        }
        self
    }

    fn append(&mut self, shapes: &[Shape]) {
        let mut sealed = Vec::new();
        for shape in shapes {
            let gap = if self.folder.options.gaps_allowed { shape.gap } else { 0 };
            let base = self.model.next_offset + gap;
            let batch = batch(base, &shape.timestamps, shape.value_bytes);
            self.model.append(&batch, shape.timestamps.clone());
            sealed.push(batch);
        }
        let expected: Vec<_> = sealed.iter().map(|batch| batch.bytes().to_vec()).collect();
        assert_eq!(self.active.append(&mut sealed).unwrap(), expected);
    }

    /// Seals the segment; checks its files and its sealed form, with and without the seal.
    fn close(&mut self) -> Seal {
        let twin = self.folder.open(0, Trust::Indexes).unwrap();
        let (sealed, seal) = std::mem::replace(&mut self.active, twin).seal().unwrap();
        let interval = self.folder.options.index_interval_bytes;
        assert_eq!(self.folder.bytes(0, Suffix::Index), self.model.offset_index(interval));
        assert_eq!(self.folder.bytes(0, Suffix::Log).len() as u64, self.model.len());
        assert_eq!(seal.largest_timestamp, self.model.max_timestamp());
        self.check(&sealed);
        self.check(&self.folder.sealed(0, self.model.next_offset, Some(seal.clone())));
        self.check(&self.folder.sealed(0, self.model.next_offset, None));
        seal
    }

    fn check(&self, segment: &Segment) {
        let model = &self.model;
        let expected: Vec<_> = model.batches.iter().map(|b| (b.position, b.header)).collect();
        assert_eq!(headers(segment), expected);
        assert_eq!(segment.max_timestamp().unwrap(), model.max_timestamp());
        let first = model.batches.first().map(|batch| batch.header.max_timestamp);
        assert_eq!(segment.first_timestamp().unwrap(), first);
        for offset in 0..=model.next_offset + 1 {
            assert_eq!(segment.locate(offset).unwrap(), model.locate(offset), "offset {offset}");
        }
        for timestamp in -1..=61 {
            for from in [0, model.next_offset / 2] {
                let found = segment.find_timestamp(timestamp, from).unwrap();
                assert_eq!(found, model.find_timestamp(timestamp, from), "{timestamp} {from}");
            }
        }
        self.check_reads(segment);
    }

    fn check_reads(&self, segment: &Segment) {
        let len = self.model.len();
        for batch in &self.model.batches {
            for max_bytes in [0, 60, batch.bytes.len(), batch.bytes.len() + 200, usize::MAX] {
                for upto in [batch.position + 100, len.saturating_sub(1), len, u64::MAX] {
                    for first_whole in [false, true] {
                        let found = segment
                            .read(batch.position, upto, max_bytes, first_whole)
                            .unwrap()
                            .to_vec();
                        let expected =
                            self.model.read(batch.position, upto, max_bytes, first_whole);
                        assert_eq!(found, expected);
                    }
                }
            }
        }
        assert_eq!(segment.read(len, u64::MAX, 100, true).unwrap().to_vec(), Vec::<u8>::new());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_segment_answers_as_the_model_does(
        interval in prop_oneof![Just(0_u32), 0..2_000_u32],
        gaps_allowed in any::<bool>(),
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let mut folder = Folder::new(interval);
        folder.options.gaps_allowed = gaps_allowed;
        let active = folder.create(0);
        let mut pair = Pair { folder, model: Model::default(), active };
        for step in &steps {
            pair = pair.perform(step);
            pair.check(pair.active.segment());
        }
        pair.close();
        prop_assert_eq!(pair.folder.fallbacks(), 0);
    }
}
