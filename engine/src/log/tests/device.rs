//! What a failed sync leaves: a page cache that shows bytes which the device lacks. And folders whose own
//! entries were never synced.

use std::{path::Path, sync::Arc};

use super::bench::{Bench, NOW_MS, batch, batch_of, partition, small};
use crate::{
    clock::ManualClock,
    commit::Strategy,
    io::{Disk, ForgetfulDisk, Loss},
    log::{Isolation, LogConfig, LogDir, UnrecoveredLog},
    types::{Durability, Offset},
};

fn written() -> LogConfig {
    LogConfig { durability: Durability::Written, ..small() }
}

#[test]
fn what_a_failed_sync_lost_is_not_believed_by_the_next_open() {
    for config in [small(), written(), LogConfig { preallocate: true, ..small() }] {
        let bench = Bench::new(config);
        bench.append_each(0..3);
        bench.append(&["3"]);
        bench.disk.fail_sync(1);
        bench.log.commit(4).unwrap_err();
        assert_eq!(bench.offsets(), [0, 1, 2, 3], "the page cache shows it");
        let bench = bench.kill();
        assert_eq!((bench.log.watermarks().durable_end, bench.offsets()), (3, vec![0, 1, 2]));
        bench.append_each(3..5);
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.offsets(), [0, 1, 2, 3, 4], "{:?}", bench.report);
    }
}

#[test]
fn what_is_claimed_after_any_failed_sync_survives_a_power_cut() {
    let mut failed = 0;
    for nth in 1..60 {
        let bench = Bench::new(small());
        bench.append_each(0..4);
        bench.checkpoint();
        bench.disk.fail_sync(nth);
        for value in 4..24 {
            let batch = batch_of(3, value - 4, &[&value.to_string()]);
            let appended = bench.log.append(vec![batch], 1 + value / 8);
            let committed = appended.is_ok_and(|appended| bench.log.commit(appended.end).is_ok());
            let persisted = value != 13 || bench.log.checkpoint().is_ok();
            if !committed || !persisted {
                failed += 1;
                break;
            }
        }
        bench.disk.fail_sync(0);
        let bench = bench.kill();
        let claimed = bench.log.watermarks().durable_end;
        let before = bench.offsets();
        assert_eq!(before, (0..claimed).collect::<Vec<_>>(), "sync {nth}");
        bench.checkpoint();
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.offsets(), before, "sync {nth}: {:?}", bench.report);
        assert!(bench.report.damage.is_empty() && bench.report.cut.is_none(), "sync {nth}");
        assert!(bench.report.rebuilt.is_empty(), "sync {nth}: {:?}", bench.report);
    }
    assert!(failed > 20, "{failed} syncs failed");
}

#[test]
fn a_reader_sees_what_the_device_has_not_what_the_cache_had() {
    // Cut and appended again; the sync of that is lost, so the device holds the batch of before.
    let bench = Bench::new(small());
    bench.append_each(0..3);
    bench.log.truncate_to(2).unwrap();
    bench.append(&["other"]);
    bench.disk.fail_sync(1);
    bench.log.commit(3).unwrap_err();
    let values = |bench: &Bench| bench.all().pop().map(|(_, value)| value);
    let bench = bench.kill();
    let seen = values(&bench);
    let bench = bench.cut_power(Loss::Everything);
    assert_eq!(values(&bench), seen);
}

#[test]
fn a_log_dir_several_folders_deep_is_durable_with_what_is_in_it() {
    let config = small();
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let open = |disk: &ForgetfulDisk| {
        let root = Path::new("/a/b/c");
        let dir = Arc::new(LogDir::open(&disk.storage(), root, Strategy::default()).unwrap());
        let log = UnrecoveredLog::open(&dir, &partition(), config.clone(), clock.clone());
        log.unwrap().recover().unwrap().0
    };
    let disk = ForgetfulDisk::new();
    let log = open(&disk);
    log.append(vec![batch(&["0"])], 1).unwrap();
    log.commit(1).unwrap();
    let disk = disk.power_cut(Loss::Everything);
    assert_eq!(open(&disk).fetch(0, 1, Isolation::LogEnd).unwrap().next_offset(), 1 as Offset);
}

#[test]
fn a_folder_that_a_crash_left_unsynced_is_durable_once_it_is_opened() {
    // The process that made it died before the sync of the folder above; the machine went on.
    for made in 1..=3 {
        let disk = ForgetfulDisk::new();
        let storage = disk.storage();
        let levels = ["/a", "/a/b", "/a/b/c"].map(Path::new);
        for (number, level) in levels[..made].iter().enumerate() {
            disk.create_dir(level).unwrap();
            if number + 1 < made {
                storage.sync_parent(level).unwrap();
            }
        }
        LogDir::open(&storage, levels[2], Strategy::default()).unwrap();
        let disk = disk.power_cut(Loss::Everything);
        assert!(disk.storage().exists(levels[2]).unwrap(), "{made} folders were there");
    }
}
