//! What a caller is told, and when a reader looks twice.

use std::{cell::Cell, io, path::Path};

use super::bench::{Bench, ROOT, partition, small};
use crate::{
    error::{Corruption, IoError},
    io::Open,
    log::{
        ChangeError, CommitError, ReadError,
        checkpoint::{RECOVERY_POINTS, read_offsets},
        state::STATE_FILE,
    },
    types::TopicPartition,
};

fn io_error(kind: io::ErrorKind) -> IoError {
    IoError::new("open", "/a", kind.into())
}

#[test]
fn a_damaged_checkpoint_is_told_at_open() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    bench.close();
    assert!(bench.dir.damaged().is_empty());
    let file = bench.storage().open(&Path::new(ROOT).join(STATE_FILE), Open::Write).unwrap();
    let byte = file.read_exact_at(30, 1).unwrap()[0];
    file.write_at(30, vec![byte ^ 1]).unwrap();
    let bench = bench.kill();
    let [damaged] = bench.dir.damaged() else { panic!("{:?}", bench.dir.damaged()) };
    assert!(damaged.to_string().contains(STATE_FILE), "{damaged}");
    assert_eq!(bench.offsets(), [0, 1, 2]);
}

#[test]
fn a_change_that_failed_for_the_disk_says_so_ever_after() {
    let disk = || io_error(io::ErrorKind::Other);
    let kinds = |error: ChangeError| error.io().map(|error| error.source.kind());
    let file_failed = CommitError::File(crate::commit::CommitError::Io(disk()));
    for error in [
        ChangeError::Io(disk()),
        ChangeError::Commit(file_failed),
        ChangeError::Failed { cause: Some(disk()) },
    ] {
        assert_eq!(kinds(error), Some(io::ErrorKind::Other));
    }
    let corrupt = Corruption::new("/a", 0, "x", 1, 2);
    for error in
        [ChangeError::Closed, ChangeError::Corrupt(corrupt), ChangeError::Failed { cause: None }]
    {
        assert_eq!(kinds(error), None);
    }
}

/// Retention may take a file's name between a reader's look at the segments and its first use.
#[test]
fn a_reader_looks_twice_where_a_file_or_the_log_went_away() {
    type Answer = fn() -> ReadError;
    let cases: [(Answer, bool); 3] = [
        (|| io_error(io::ErrorKind::NotFound).into(), true),
        (|| ReadError::Truncated { path: "/a".into() }, true),
        (|| io_error(io::ErrorKind::Other).into(), false),
    ];
    let bench = Bench::new(small());
    for (first, looks_twice) in cases {
        let looks = Cell::new(0);
        let read = bench.log.steady(|_| {
            looks.set(looks.get() + 1);
            if looks.get() == 1 { Err(first()) } else { Ok(()) }
        });
        assert_eq!((read.is_ok(), looks.get() == 2), (looks_twice, looks_twice), "{}", first());
    }
}

#[test]
fn who_forgets_one_partition_still_speaks_for_the_others() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    bench.checkpoint();
    let other = TopicPartition::new(partition().topic, 7);
    bench.dir.persist_one(&other, bench.log.state()).unwrap();
    bench.dir.forget(&[other]).unwrap();
    let path = Path::new(ROOT).join(RECOVERY_POINTS);
    let points = read_offsets(&bench.storage(), &path).unwrap().unwrap();
    assert_eq!(points.into_iter().collect::<Vec<_>>(), [(partition(), 3)]);
}
