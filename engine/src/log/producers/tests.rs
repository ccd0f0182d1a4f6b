mod generations;

use proptest::prelude::*;

use super::*;
use crate::{limits::PRODUCER_WINDOW, record::Attributes};

const ID: i64 = 7;

/// A data batch of `records` records.
fn batch(epoch: i16, base_sequence: i32, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        batch_length: 100,
        leader_epoch: 0,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: records - 1,
        base_timestamp: 0,
        max_timestamp: 1_000 + base_sequence as i64,
        producer_id: ID,
        producer_epoch: epoch,
        base_sequence,
        record_count: records,
    }
}

fn transactional(header: BatchHeader) -> BatchHeader {
    BatchHeader { attributes: header.attributes.with_transactional(true), ..header }
}

fn control(epoch: i16) -> BatchHeader {
    let header = transactional(batch(epoch, -1, 1));
    BatchHeader { attributes: header.attributes.with_control(true), ..header }
}

fn marker(aborted: bool, coordinator_epoch: i32) -> EndTransaction {
    EndTransaction { aborted, coordinator_epoch, raises_epoch: false }
}

/// Checks and applies one batch at the end.
fn append(
    states: &mut ProducerStates,
    origin: Origin,
    header: &BatchHeader,
    marker: Option<EndTransaction>,
) -> Result<(Check, Vec<AbortedTransaction>), ProducerError> {
    let base = states.end_offset();
    let mut append = states.begin(origin);
    let check = append.check(states, header, base, marker)?;
    let end = if check == Check::New { base + header.last_offset_delta as i64 + 1 } else { base };
    Ok((check, states.apply(append, end, || 0)))
}

fn send(states: &mut ProducerStates, header: &BatchHeader) -> Result<Check, ProducerError> {
    append(states, Origin::Client, header, None).map(|(check, _)| check)
}

fn end(
    states: &mut ProducerStates,
    header: &BatchHeader,
    marker: EndTransaction,
) -> Result<Vec<AbortedTransaction>, ProducerError> {
    append(states, Origin::Coordinator, header, Some(marker)).map(|(_, aborted)| aborted)
}

fn out_of_order(result: Result<Check, ProducerError>) -> (i32, i32) {
    match result {
        Err(ProducerError::OutOfOrderSequence { expected, found, .. }) => (expected, found),
        other => panic!("out of order expected, found {other:?}"),
    }
}

#[test]
fn sequences_go_on_and_wrap_to_zero() {
    let mut states = ProducerStates::new(0);
    // Not known: its earlier batches may have been deleted.
    assert_eq!(send(&mut states, &batch(0, i32::MAX - 3, 2)), Ok(Check::New));
    assert_eq!(out_of_order(send(&mut states, &batch(0, 0, 1))), (i32::MAX - 1, 0));
    assert_eq!(send(&mut states, &batch(0, i32::MAX - 1, 5)), Ok(Check::New));
    assert_eq!(states.get(ID).unwrap().last_sequence(), 2);
    assert_eq!(out_of_order(send(&mut states, &batch(0, 4, 1))), (3, 4));
    assert_eq!(send(&mut states, &batch(0, 3, 1)), Ok(Check::New));
}

#[test]
fn the_last_five_batches_are_recognised_when_sent_again() {
    let mut states = ProducerStates::new(100);
    for sequence in 0..6 {
        send(&mut states, &batch(0, sequence * 2, 2)).unwrap();
    }
    for sequence in 1..6 {
        let base_offset = 100 + sequence as i64 * 2;
        let first_copy = Check::Duplicate {
            base_offset,
            last_offset: base_offset + 1,
            timestamp: 1_000 + sequence as i64 * 2,
        };
        assert_eq!(send(&mut states, &batch(0, sequence * 2, 2)), Ok(first_copy));
    }
    assert_eq!(out_of_order(send(&mut states, &batch(0, 0, 2))), (12, 0));
    assert_eq!(out_of_order(send(&mut states, &batch(0, 10, 1))), (12, 10));
    assert_eq!(states.end_offset(), 112);
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut states = ProducerStates::new(0);
    send(&mut states, &batch(3, 5, 1)).unwrap();
    assert_eq!(out_of_order(send(&mut states, &batch(4, 6, 1))), (0, 6));
    assert_eq!(send(&mut states, &batch(4, 0, 1)), Ok(Check::New));
    let fenced = ProducerError::InvalidEpoch { producer_id: ID, offset: 2, found: 3, current: 4 };
    assert_eq!(send(&mut states, &batch(3, 5, 1)), Err(fenced.clone()));
    let by_coordinator = append(&mut states, Origin::Coordinator, &batch(3, -1, 1), None);
    assert_eq!(by_coordinator, Err(fenced));
    // A follower takes what the leader took.
    assert!(append(&mut states, Origin::Replication, &batch(3, 99, 1), None).is_ok());
}

#[test]
fn a_client_with_an_id_needs_epoch_and_sequence_and_a_batch_without_an_id_is_not_looked_at() {
    let mut states = ProducerStates::new(0);
    for header in [batch(0, -1, 1), batch(-1, 0, 1)] {
        let refused = send(&mut states, &header);
        assert!(matches!(refused, Err(ProducerError::NoSequence { .. })), "{refused:?}");
    }
    for producer_id in [-1, -2] {
        let header = BatchHeader { producer_id, ..batch(-1, -1, 1) };
        assert_eq!(send(&mut states, &header), Ok(Check::New));
    }
    assert!(states.is_empty());
}

#[test]
fn an_append_is_checked_whole_and_changes_nothing_before_it_is_applied() {
    let mut states = ProducerStates::new(0);
    let mut refused = states.begin(Origin::Client);
    assert_eq!(refused.check(&states, &batch(0, 5, 1), 0, None), Ok(Check::New));
    assert_eq!(refused.check(&states, &batch(0, 6, 2), 1, None), Ok(Check::New));
    let again = Check::Duplicate { base_offset: 1, last_offset: 2, timestamp: 1_006 };
    assert_eq!(refused.check(&states, &batch(0, 6, 2), 3, None), Ok(again));
    assert_eq!(out_of_order(refused.check(&states, &batch(0, 9, 1), 3, None)), (8, 9));
    drop(refused);
    assert!(states.is_empty());
    assert_eq!(send(&mut states, &batch(0, 0, 1)), Ok(Check::New));
}

#[test]
#[should_panic(expected = "checked against this state")]
fn an_append_is_applied_only_to_the_state_it_was_checked_against() {
    let mut states = ProducerStates::new(0);
    let append = states.begin(Origin::Client);
    send(&mut states, &batch(0, 0, 1)).unwrap();
    states.apply(append, 1, || 0);
}

#[test]
fn transactions_hold_the_last_stable_offset_back_until_their_marker_is_replicated() {
    let mut states = ProducerStates::new(10);
    let other = |header: BatchHeader| BatchHeader { producer_id: 8, ..header };
    send(&mut states, &transactional(batch(0, 0, 2))).unwrap(); // 10, 11
    send(&mut states, &other(transactional(batch(0, 0, 1)))).unwrap(); // 12
    send(&mut states, &transactional(batch(0, 2, 1))).unwrap(); // 13
    assert_eq!(states.last_stable_offset(0, 14), 10);
    assert_eq!(states.last_stable_offset(0, 5), 5);
    assert_eq!(states.last_stable_offset(11, 14), 11);

    let aborted = end(&mut states, &control(0), marker(true, 1)).unwrap(); // 14
    let entry = AbortedTransaction {
        producer_id: ID,
        first_offset: 10,
        last_offset: 14,
        last_stable_offset: 12,
    };
    assert_eq!(aborted, [entry]);
    assert_eq!(states.last_stable_offset(0, 14), 10);
    states.high_watermark_moved(14);
    assert_eq!(states.first_unstable_offset(), Some(10));
    states.high_watermark_moved(15);
    assert_eq!(states.first_unstable_offset(), Some(12));

    let aborted = end(&mut states, &other(control(0)), marker(false, 1)).unwrap(); // 15
    assert_eq!(aborted, []);
    states.log_start_moved(16);
    assert_eq!(states.first_unstable_offset(), None);
    assert_eq!(states.last_stable_offset(16, 16), 16);
}

#[test]
fn a_transaction_takes_transactional_batches_only() {
    let mut states = ProducerStates::new(0);
    send(&mut states, &transactional(batch(0, 0, 1))).unwrap();
    let refused = send(&mut states, &batch(0, 1, 1));
    let expected =
        ProducerError::NotInTransaction { producer_id: ID, offset: 1, transaction_start: 0 };
    assert_eq!(refused, Err(expected));
    assert!(append(&mut states, Origin::Replication, &batch(0, 1, 1), None).is_ok());
    assert_eq!(states.first_unstable_offset(), Some(0));
}

#[test]
fn markers_are_fenced_by_epoch_and_by_coordinator() {
    let mut states = ProducerStates::new(0);
    send(&mut states, &transactional(batch(2, 0, 1))).unwrap();
    let fenced = end(&mut states, &control(1), marker(false, 5));
    assert!(matches!(fenced, Err(ProducerError::InvalidEpoch { found: 1, current: 2, .. })));
    end(&mut states, &control(2), marker(false, 5)).unwrap();
    let fenced = end(&mut states, &control(2), marker(false, 4));
    assert!(matches!(fenced, Err(ProducerError::CoordinatorFenced { found: 4, current: 5, .. })));
    // A marker without a transaction is stored and changes nothing else.
    assert_eq!(end(&mut states, &control(2), marker(true, 5)), Ok(vec![]));
    // The marker of the same epoch left the sequences alone.
    assert_eq!(out_of_order(send(&mut states, &batch(2, 5, 1))), (1, 5));
    // One of a later epoch starts them anew.
    end(&mut states, &control(3), marker(true, 5)).unwrap();
    assert_eq!(out_of_order(send(&mut states, &batch(3, 1, 1))), (0, 1));
    // So does one for a producer that is not known.
    let stranger = BatchHeader { producer_id: 9, ..control(0) };
    end(&mut states, &stranger, marker(true, 5)).unwrap();
    assert_eq!(states.get(9).unwrap().epoch, 0);
}

#[test]
fn a_coordinator_that_raises_epochs_ends_a_transaction_with_a_higher_one() {
    let mut states = ProducerStates::new(0);
    let raising = |coordinator_epoch| EndTransaction {
        raises_epoch: true,
        ..marker(true, coordinator_epoch)
    };
    send(&mut states, &transactional(batch(2, 0, 1))).unwrap();
    let stale = end(&mut states, &control(2), raising(1));
    assert!(matches!(stale, Err(ProducerError::InvalidEpoch { found: 2, current: 2, .. })));
    assert_eq!(end(&mut states, &control(3), raising(1)).unwrap().len(), 1);
    // Sent again after a lost answer.
    assert_eq!(end(&mut states, &control(3), raising(1)), Ok(vec![]));
}

#[test]
fn an_empty_control_batch_says_nothing() {
    let mut states = ProducerStates::new(0);
    send(&mut states, &transactional(batch(0, 0, 1))).unwrap();
    let empty = append(&mut states, Origin::Coordinator, &control(0), None);
    assert_eq!(empty, Ok((Check::New, vec![])));
    assert_eq!(states.first_unstable_offset(), Some(0));
}

#[test]
fn idle_producers_are_forgotten_but_not_in_a_transaction() {
    const DAY: i64 = 86_400_000;
    let mut states = ProducerStates::new(0);
    send(&mut states, &batch(0, 0, 1)).unwrap();
    let other = BatchHeader { producer_id: 8, ..transactional(batch(0, 0, 1)) };
    send(&mut states, &other).unwrap();
    // Timestamps of the batches, near 0 as from an old file that is sent now, do not matter.
    assert_eq!(states.expire(DAY - 1, DAY), 0);
    assert_eq!(states.expire(DAY, DAY), 1);
    assert!(states.get(ID).is_none() && states.get(8).is_some());
    assert_eq!(send(&mut states, &batch(0, 17, 1)), Ok(Check::New));
    let reloaded =
        ProducerStates::parse("f".as_ref(), &states.to_bytes(), states.end_offset(), DAY);
    assert_eq!(reloaded.unwrap().expire(2 * DAY - 1, DAY), 0);
}

#[test]
fn replay_notes_what_the_log_holds_once() {
    let mut states = ProducerStates::new(0);
    let first = BatchHeader { base_offset: 5, ..transactional(batch(0, 0, 3)) };
    assert_eq!(states.replay(&first, None, 0), []);
    assert_eq!(states.replay(&first, None, 0), []);
    assert_eq!((states.end_offset(), states.get(ID).unwrap().window.iter().count()), (8, 1));
    let end = BatchHeader { base_offset: 8, ..control(0) };
    let aborted = states.replay(&end, Some(marker(true, 0)), 0);
    assert_eq!((aborted.len(), states.end_offset()), (1, 9));
}

/// A batch as the naive model keeps it: all of them, for ever.
#[derive(Debug, Clone)]
struct Stored {
    producer_id: i64,
    epoch: i16,
    /// None for a marker.
    sequences: Option<(i32, i32)>,
    first_offset: Offset,
    last_offset: Offset,
    timestamp: i64,
    transactional: bool,
    aborts: bool,
}

/// Finds every answer by walking over the whole log.
#[derive(Debug, Clone, Default)]
struct Model {
    log: Vec<Stored>,
    high_watermark: Offset,
    /// Batches before this place in the log are known by the last of each producer only.
    snapshot: usize,
}

impl Model {
    fn end(&self) -> Offset {
        self.log.last().map_or(0, |stored| stored.last_offset + 1)
    }

    fn of(&self, producer_id: i64) -> impl DoubleEndedIterator<Item = (usize, &Stored)> {
        self.log.iter().enumerate().filter(move |(_, stored)| stored.producer_id == producer_id)
    }

    fn epoch(&self, producer_id: i64) -> Option<i16> {
        self.of(producer_id).next_back().map(|(_, stored)| stored.epoch)
    }

    /// The data batches of the producer's present epoch that are remembered, newest first.
    fn remembered(&self, producer_id: i64) -> Vec<&Stored> {
        let epoch = self.epoch(producer_id);
        let current = self.of(producer_id).rev().take_while(|(_, s)| Some(s.epoch) == epoch);
        let mut before_snapshot = false;
        current
            .filter(|(_, stored)| stored.sequences.is_some())
            .take_while(|(at, _)| {
                let first = !before_snapshot;
                before_snapshot |= *at < self.snapshot;
                first
            })
            .map(|(_, stored)| stored)
            .take(PRODUCER_WINDOW)
            .collect()
    }

    /// The timestamp that is remembered of a batch. A snapshot has room for one a producer, the
    /// last batch's or marker's.
    fn timestamp(&self, batch: &Stored) -> i64 {
        let of_snapshot = self.of(batch.producer_id).take_while(|(at, _)| *at < self.snapshot);
        match of_snapshot.last() {
            Some((_, last)) if last.first_offset >= batch.first_offset => last.timestamp,
            _ => batch.timestamp,
        }
    }

    fn transaction_start(&self, producer_id: i64) -> Option<Offset> {
        let mut start = None;
        for (_, stored) in self.of(producer_id) {
            match stored.sequences {
                None => start = None,
                Some(_) if stored.transactional => start = start.or(Some(stored.first_offset)),
                Some(_) => {}
            }
        }
        start
    }

    /// What a leader answers: `Some(first offset of the first copy)` for a duplicate.
    fn check(&self, new: &Stored) -> Result<Option<Offset>, &'static str> {
        let id = new.producer_id;
        let epoch = self.epoch(id);
        let Some((first, _)) = new.sequences else {
            return if epoch > Some(new.epoch) { Err("epoch") } else { Ok(None) };
        };
        let remembered = self.remembered(id);
        if epoch == Some(new.epoch)
            && let Some(copy) = remembered.iter().find(|stored| stored.sequences == new.sequences)
        {
            return Ok(Some(copy.first_offset));
        }
        if epoch > Some(new.epoch) {
            return Err("epoch");
        }
        let last = remembered.first().and_then(|stored| stored.sequences).map(|(_, last)| last);
        let next = match (epoch, last) {
            (None, _) => first,
            (Some(epoch), Some(last)) if epoch == new.epoch => {
                if last == i32::MAX {
                    0
                } else {
                    last + 1
                }
            }
            _ => 0,
        };
        if first != next {
            return Err("sequence");
        }
        if self.transaction_start(id).is_some() && !new.transactional {
            return Err("transaction");
        }
        Ok(None)
    }

    /// First offsets of the transactions that are open or end at or above the high watermark.
    fn first_unstable(&self) -> Option<Offset> {
        let mut unstable = Vec::new();
        for (at, stored) in self.log.iter().enumerate() {
            let before = Self { log: self.log[..at].to_vec(), ..self.clone() };
            let ended = stored.sequences.is_none() && stored.last_offset >= self.high_watermark;
            unstable.extend(before.transaction_start(stored.producer_id).filter(|_| ended));
        }
        unstable.extend((0..3).filter_map(|id| self.transaction_start(id)));
        unstable.into_iter().min()
    }

    /// The `.txnindex` entry that a stored marker makes.
    fn aborted(&self, new: &Stored) -> Option<AbortedTransaction> {
        let first_offset = self.transaction_start(new.producer_id).filter(|_| new.aborts)?;
        let others = (0..3).filter(|id| *id != new.producer_id);
        let open = others.filter_map(|id| self.transaction_start(id)).min();
        Some(AbortedTransaction {
            producer_id: new.producer_id,
            first_offset,
            last_offset: new.last_offset,
            last_stable_offset: open.unwrap_or(new.last_offset + 1),
        })
    }
}

#[derive(Debug, Clone)]
enum Sequence {
    Next,
    /// As this many batches ago.
    Again(usize),
    Any(i32),
}

#[derive(Debug, Clone)]
struct NewBatch {
    producer_id: i64,
    /// Added to the producer's present epoch.
    epochs_on: i16,
    sequence: Sequence,
    records: i32,
    transactional: bool,
    /// A marker, and whether it aborts.
    marker: Option<bool>,
}

#[derive(Debug, Clone)]
enum Step {
    /// The write of the batches succeeds, or fails.
    Append(Vec<NewBatch>, bool),
    HighWatermark(prop::sample::Index),
    Reload,
}

fn new_batch() -> impl Strategy<Value = NewBatch> {
    let sequence = prop_oneof![
        8 => Just(Sequence::Next),
        3 => (0..7_usize).prop_map(Sequence::Again),
        1 => prop_oneof![0..4, i32::MAX - 3..=i32::MAX].prop_map(Sequence::Any),
    ];
    let epochs_on = prop_oneof![12 => Just(0_i16), 1 => -1..=1_i16];
    let marker = prop_oneof![5 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (0..3_i64, epochs_on, sequence, 1..4, any::<bool>(), marker).prop_map(
        |(producer_id, epochs_on, sequence, records, transactional, marker)| NewBatch {
            producer_id,
            epochs_on,
            sequence,
            records,
            transactional,
            marker,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (prop::collection::vec(new_batch(), 1..4), prop::bool::weighted(0.8))
            .prop_map(|(batches, written)| Step::Append(batches, written)),
        2 => any::<prop::sample::Index>().prop_map(Step::HighWatermark),
        1 => Just(Step::Reload),
    ]
}

/// What `new` would be at the end of `model`, and its header.
fn realise(model: &Model, new: &NewBatch) -> (Stored, BatchHeader) {
    const NEAR_WRAP: i32 = i32::MAX - 5;
    let epoch = (model.epoch(new.producer_id).unwrap_or(0) + new.epochs_on).max(0);
    let remembered = model.remembered(new.producer_id);
    let last = remembered.first().and_then(|stored| stored.sequences).map(|(_, last)| last);
    let next = match (model.epoch(new.producer_id), last) {
        (None, _) => NEAR_WRAP,
        (Some(known), Some(last)) if known == epoch => last.checked_add(1).unwrap_or(0),
        _ => 0,
    };
    let again = |ago: usize| remembered.get(ago).and_then(|stored| stored.sequences);
    let (first, records) = match new.sequence {
        Sequence::Next => (next, new.records),
        Sequence::Any(sequence) => (sequence, new.records),
        Sequence::Again(ago) => again(ago).map_or((next, new.records), |(first, last)| {
            (first, (last.wrapping_sub(first) & i32::MAX) + 1)
        }),
    };
    let mut header = BatchHeader { producer_id: new.producer_id, ..batch(epoch, first, records) };
    if new.transactional {
        header = transactional(header);
    }
    if new.marker.is_some() {
        header = BatchHeader { producer_id: new.producer_id, ..control(epoch) };
    }
    let first_offset = model.end();
    let stored = Stored {
        producer_id: new.producer_id,
        epoch,
        sequences: new.marker.is_none().then(|| (first, header.last_sequence())),
        first_offset,
        last_offset: first_offset + header.last_offset_delta as i64,
        timestamp: header.max_timestamp,
        transactional: new.transactional,
        aborts: new.marker == Some(true),
    };
    (stored, header)
}

fn reason(error: &ProducerError) -> &'static str {
    match error {
        ProducerError::InvalidEpoch { .. } => "epoch",
        ProducerError::OutOfOrderSequence { .. } => "sequence",
        ProducerError::NotInTransaction { .. } => "transaction",
        other => panic!("not expected: {other}"),
    }
}

/// Appends to both and compares each answer. A refusal or a failed write leaves both as they were.
fn append_to_both(states: &mut ProducerStates, model: &mut Model, new: &[NewBatch], written: bool) {
    let mut after = model.clone();
    let mut aborted = Vec::new();
    let mut append = states.begin(Origin::Client);
    for new in new {
        let (stored, header) = realise(&after, new);
        let ends = new.marker.map(|aborted| EndTransaction {
            aborted,
            coordinator_epoch: 0,
            raises_epoch: false,
        });
        let found = append.check(states, &header, after.end(), ends);
        match (found, after.check(&stored)) {
            (Ok(Check::New), Ok(None)) => {
                aborted.extend(after.aborted(&stored));
                after.log.push(stored);
            }
            (Ok(Check::Duplicate { base_offset, last_offset, timestamp }), Ok(Some(first))) => {
                let copy = after.log.iter().find(|copy| copy.first_offset == first).unwrap();
                assert_eq!(base_offset, first);
                assert_eq!((last_offset, timestamp), (copy.last_offset, after.timestamp(copy)));
            }
            (Err(error), Err(expected)) => {
                assert_eq!(reason(&error), expected);
                return;
            }
            (found, expected) => panic!("found {found:?}, expected {expected:?}"),
        }
    }
    if written {
        assert_eq!(states.apply(append, after.end(), || 0), aborted);
        *model = after;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]

    #[test]
    fn producers_are_what_a_walk_over_the_log_says(steps in prop::collection::vec(step(), 1..30)) {
        let (mut states, mut model) = (ProducerStates::new(0), Model::default());
        for step in steps {
            match step {
                Step::Append(new, written) => {
                    append_to_both(&mut states, &mut model, &new, written);
                }
                Step::HighWatermark(index) => {
                    let room = (model.end() - model.high_watermark) as usize;
                    model.high_watermark += index.index(room + 1) as i64;
                    states.high_watermark_moved(model.high_watermark);
                }
                Step::Reload => {
                    // Ended transactions above the high watermark are not in a snapshot.
                    model.high_watermark = model.end();
                    model.snapshot = model.log.len();
                    let (bytes, end) = (states.to_bytes(), states.end_offset());
                    states = ProducerStates::parse("f".as_ref(), &bytes, end, 0).unwrap();
                    prop_assert_eq!(states.to_bytes(), bytes);
                }
            }
            prop_assert_eq!(states.end_offset(), model.end());
            prop_assert_eq!(states.first_unstable_offset(), model.first_unstable());
            for id in 0..3 {
                let entry = states.get(id);
                prop_assert_eq!(entry.map(|entry| entry.epoch), model.epoch(id));
                let start = entry.and_then(|entry| entry.transaction_start);
                prop_assert_eq!(start, model.transaction_start(id));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_snapshot_or_a_typed_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        if bytes.len() > 10 {
            bytes[..2].copy_from_slice(&[0, 1]);
            let crc = crc32c::crc32c(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        if let Ok(states) = ProducerStates::parse("f".as_ref(), &bytes, 1 << 40, 0) {
            prop_assert_eq!(states.len(), (bytes.len() - 10) / 46);
        }
    }
}
