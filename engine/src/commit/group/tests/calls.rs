//! Who is woken to lead when a file is free again.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
};

use super::*;

#[derive(Debug, Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// One who stands by for these, and how often it is called.
fn standing_by(targets: &[Target]) -> (StandBy, Arc<Calls>) {
    let calls = Arc::<Calls>::default();
    (StandBy { waker: calls.clone().into(), targets: targets.to_vec() }, calls)
}

/// Calls once; gives how often each was called, and how many still stand by.
fn call(targets: &[&[Target]]) -> (Vec<usize>, usize) {
    let (mut line, calls): (Vec<_>, Vec<_>) =
        targets.iter().map(|targets| standing_by(targets)).unzip();
    call_leaders(&mut line);
    (calls.iter().map(|calls| calls.0.load(Ordering::SeqCst)).collect(), line.len())
}

#[test]
fn one_is_called_for_each_free_file_and_the_others_sleep_on() {
    let storage = ForgetfulDisk::new().storage();
    let files = files_of(&storage, Path::new("/"), 2);
    let both = [append(&files[0], 100, 1), append(&files[1], 100, 1)];
    let (a, b) = (&both[..1], &both[1..]);
    assert_eq!(call(&[a, a, b]), (vec![1, 0, 1], 1));
    assert_eq!(call(&[&both, b]), (vec![1, 0], 1));
    assert!(files[0].lead().is_some());
    assert_eq!(call(&[a, &both]), (vec![0, 1], 1), "the first file is led");
}

/// Who has what it wants would not lead: the call would be spent on it.
#[test]
fn who_is_served_already_is_not_called() {
    let storage = ForgetfulDisk::new().storage();
    let files = files_of(&storage, Path::new("/"), 1);
    let served = append(&files[0], 100, 1);
    let group = GroupCommit::new(storage, Strategy::SyncEach);
    group.commit(std::slice::from_ref(&served)).unwrap();
    let unserved = append(&files[0], 100, 1);
    assert_eq!(call(&[&[served], &[unserved]]), (vec![0, 1], 1));
}
