//! Whole batches that are found, and sent, without being read.

use std::{
    io::Read,
    os::{fd::AsFd, unix::net::UnixStream},
};

use super::*;

/// Bytes that a look-up by the index reads at most; going through the whole log takes ten times as many.
const FEW: u64 = 40_000;

/// Where each batch of a log starts, where it ends, and the offset behind it.
fn places(segment: &Segment) -> Vec<(u64, u64, Offset)> {
    let place = |(position, header): (u64, BatchHeader)| {
        (position, position + header.total_bytes() as u64, header.next_offset())
    };
    headers(segment).into_iter().map(place).collect()
}

#[test]
fn the_last_batch_that_ends_before_a_byte_is_found_by_the_index() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(200, 1_000)).unwrap();
    let segment = active.segment().clone();
    let places = places(&segment);
    for limit in places.iter().flat_map(|(_, end, _)| [end - 1, *end, end + 1]) {
        for from in [0, 1, 100, 199].map(|at: usize| places[at].0) {
            let within = |(_, end, _): &&(u64, u64, Offset)| *end > from && *end <= limit;
            let expected = places.iter().rfind(within).map(|(_, end, next)| (*end, *next));
            let before = folder.disk.bytes_read();
            assert_eq!(segment.view().last_end(from, limit).unwrap(), expected, "{from}, {limit}");
            let read = folder.disk.bytes_read() - before;
            assert!(read < FEW, "{read} bytes from {from} to {limit}");
        }
    }
}

/// What stands before damage is found; a batch that is damaged itself is an error.
#[test]
fn damage_ends_what_is_found_below_a_byte() {
    for interval in [0, 20_000, u32::MAX] {
        let folder = Folder::new(interval);
        let mut active = folder.create(0);
        active.append(&mut plain_batches(40, 1_000)).unwrap();
        let segment = active.segment().clone();
        let places = places(&segment);
        let (damaged, before) = (places[25].0, (places[24].1, places[24].2));
        active.file().write_at(damaged + 16, vec![9]).unwrap();
        // By an entry of its own the batch behind would be found.
        let last = if interval == 0 { 25 } else { 26 };
        for limit in [25, last].map(|at: usize| places[at].1) {
            assert_eq!(segment.view().last_end(0, limit).unwrap(), Some(before));
            assert_eq!(corruption(segment.view().last_end(damaged, limit)).what, "magic");
        }
    }
}

/// Who believes all that stands before a batch has one index entry more to walk from, and no more than that.
#[test]
fn a_batch_is_surely_found_by_the_index() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(200, 1_000)).unwrap();
    active.write_indexes().unwrap();
    let known = headers(active.segment());
    for segment in [active.segment().clone(), folder.sealed(0, 400, None)] {
        assert_eq!(segment.locate_surely(0).unwrap(), Some(known[0]));
        for offset in [1, 150, 151, 399] {
            let before = folder.disk.bytes_read();
            let found = segment.locate_surely(offset).unwrap();
            assert_eq!(found, Some(known[offset as usize / 2]));
            let read = folder.disk.bytes_read() - before;
            assert!(read < FEW, "{read} bytes to find offset {offset}");
        }
    }
}

#[test]
fn a_range_is_sent_from_any_of_its_bytes_on() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(4, 100)).unwrap();
    let segment = active.segment().clone();
    let places = places(&segment);
    let (start, end) = (places[1].0, places[2].1);
    let range = segment.view().range(&segment, start, end);
    assert!(!range.is_empty());
    let log = folder.bytes(0, Suffix::Log);
    let (near, mut far) = UnixStream::pair().unwrap();
    for at in [0, 1, end - start - 1, end - start, end - start + 1] {
        let expected = &log[(start + at).min(end) as usize..end as usize];
        assert_eq!(range.send(at, near.as_fd()).unwrap(), expected.len());
        let mut received = vec![0; expected.len()];
        far.read_exact(&mut received).unwrap();
        assert_eq!(received, expected, "from {at} on");
    }
    let nothing = segment.view().range(&segment, start, start);
    assert!(nothing.is_empty());
    assert_eq!(nothing.send(0, near.as_fd()).unwrap(), 0);

    active.file().set_len(places[1].1).unwrap();
    let at = places[1].1 - start;
    let refused = corruption(range.send(at, near.as_fd()));
    assert_eq!((refused.position, refused.what), (start + at, "length of the file"));
    assert_eq!(refused.expected, format!("at least {end} bytes"));
    assert_eq!(refused.found, (start + at).to_string());
}

#[test]
fn bytes_are_compared_and_shown_as_bytes_are() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(2, 10)).unwrap();
    let segment = active.segment().clone();
    let second = places(&segment)[1].0;
    let read = |position| segment.read(position, u64::MAX, 0, true).unwrap();
    assert_eq!(read(0), read(0));
    assert_ne!(read(0), read(second));
    assert_eq!(format!("{:?}", read(0)), format!("{} bytes, read", second));
}
