//! One seeded life of a log dir: what is done to it, and what is asked of it after each power cut.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use trunkline::{
    clock::{Clock, ManualClock},
    commit::Strategy,
    io::{Fault, FaultyDisk, ForgetfulDisk, Loss, Storage},
    log::{AppendError, ClosedLog, LogConfig, LogDir, PartitionLog, UnrecoveredLog, commit_all},
    record::{
        BatchBuilder, BatchSettings, Codec, Compression, Encoder, Marker, NewRecord, SealedBatch,
        control_batch,
    },
    types::{Durability, Offset, TopicName, TopicPartition},
};

use crate::{
    dice::Dice,
    model::{Fail, Model, Stored},
};

/// What lives add up to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) cuts: u64,
    /// Of these during a recovery.
    pub(crate) cuts_in_recovery: u64,
    /// Deaths of the process between them.
    pub(crate) kills: u64,
    pub(crate) batches: u64,
    pub(crate) acknowledged: u64,
    pub(crate) tails_cut: u64,
    pub(crate) tail_bytes: u64,
    pub(crate) kept_aside: u64,
    pub(crate) clean_reopens: u64,
    pub(crate) repeated_sends: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.kills += other.kills;
        self.batches += other.batches;
        self.acknowledged += other.acknowledged;
        self.tails_cut += other.tails_cut;
        self.tail_bytes += other.tail_bytes;
        self.kept_aside += other.kept_aside;
        self.clean_reopens += other.clean_reopens;
        self.repeated_sends += other.repeated_sends;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} power cuts ({} during recovery) and {} kills in {} lives: {} batches appended, {} records \
             acknowledged as durable, {} tails cut ({} bytes), {} of them kept aside, {} clean \
             reopens, {} repeated sends recognised",
            self.cuts,
            self.cuts_in_recovery,
            self.kills,
            self.lives,
            self.batches,
            self.acknowledged,
            self.tails_cut,
            self.tail_bytes,
            self.kept_aside,
            self.clean_reopens,
            self.repeated_sends
        )
    }
}

/// Why a step did not end well.
enum Stop {
    /// The power went.
    PowerOff,
    /// A planned fault showed.
    Fault,
    /// What must not be.
    Wrong(String),
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Life {
    rng: Dice,
    disk: ForgetfulDisk,
    /// The same disk, where a fault is planned.
    faulty: Option<FaultyDisk>,
    /// A change is under way or stopped half-way: what the log holds is not known.
    changing: bool,
    clock: Arc<ManualClock>,
    strategy: Strategy,
    encoder: Encoder,
    partitions: Vec<Partition>,
    /// While the folder is open.
    dir: Option<Arc<LogDir>>,
    lies: bool,
    /// A power cut tears pages into sectors.
    tears: bool,
    /// Now and then the process dies alone, and the page cache outlives it.
    killed: bool,
    /// Whether the last open found each log as a clean close leaves it.
    opened_clean: bool,
    /// A fault has struck in the life before: a file beside the log may have to be made anew.
    outlives_fault: bool,
    tally: Tally,
}

#[derive(Clone)]
struct Partition {
    name: TopicPartition,
    config: LogConfig,
    model: Model,
    /// While the folder is open.
    log: Option<Arc<PartitionLog>>,
    epoch: i32,
    /// Ids of the idempotent and of the transactional producer.
    producers: [i64; 2],
}

const ROOT: &str = "/data";

impl Life {
    pub(crate) fn new(seed: u64) -> Self {
        Self::drawn(Dice::with_seed(seed))
    }

    pub(crate) fn drawn(mut rng: Dice) -> Self {
        let partition = |number, rng: &mut Dice| Partition {
            name: TopicPartition::new(TopicName::new("t").unwrap(), number),
            config: config(rng),
            model: Model::default(),
            log: None,
            epoch: 0,
            producers: [1, 1000],
        };
        let count = rng.u32(1..=3);
        Self {
            disk: ForgetfulDisk::new(),
            faulty: None,
            changing: false,
            clock: Arc::new(ManualClock::new(1_700_000_000_000)),
            strategy: Strategy::SyncEach,
            encoder: Encoder::new(),
            partitions: (0..count).map(|number| partition(number, &mut rng)).collect(),
            dir: None,
            lies: false,
            tears: false,
            killed: false,
            opened_clean: false,
            outlives_fault: false,
            tally: Tally { lives: 1, ..Tally::default() },
            rng,
        }
    }

    /// The disk says that it syncs, and does not, once the folder has been made.
    pub(crate) fn without_syncs(mut self) -> Self {
        self.lies = true;
        self
    }

    /// The device keeps or loses each sector, not each page.
    pub(crate) fn with_torn_pages(mut self) -> Self {
        self.tears = true;
        self
    }

    /// Between the power cuts the process is killed: what it wrote is there, and is lost later if nobody syncs it.
    pub(crate) fn with_kills(mut self) -> Self {
        self.killed = true;
        self
    }

    /// Its durable logs write zeros ahead of their batches, and share flushes over them.
    pub(crate) fn with_prepared_space(mut self) -> Self {
        self.strategy = Strategy::FlushOnce;
        for partition in &mut self.partitions {
            partition.config.prepare_bytes = 6000;
        }
        self
    }

    /// Its sealed segments are mapped.
    pub(crate) fn with_maps(self) -> Self {
        self.disk.map_files();
        self
    }

    /// Lives on until the power went `cuts` times.
    pub(crate) fn run(self, cuts: u64) -> Result<Tally, String> {
        let mut this = self.crashed(cuts)?;
        // What the last cut left must be all right as well.
        this.open().map_err(|stop| match stop {
            Stop::Wrong(what) => what,
            Stop::PowerOff | Stop::Fault => "an error without a cause".into(),
        })?;
        Ok(this.tally)
    }

    /// Lives on until the power went `cuts` times, and stays as it is then.
    pub(crate) fn crashed(mut self, cuts: u64) -> Result<Self, String> {
        while self.tally.cuts < cuts {
            match self.live() {
                Stop::Wrong(what) => return Err(format!("after {} cuts: {what}", self.tally.cuts)),
                Stop::PowerOff | Stop::Fault => self.cut(),
            }
        }
        Ok(self)
    }

    /// As [`Life::crashed`], and lives on until its process is killed: all that it wrote is there, durable or
    /// not.
    pub(crate) fn killed(self, cuts: u64) -> Result<Self, String> {
        let mut this = self.crashed(cuts)?;
        if let Stop::Wrong(what) = this.live() {
            return Err(format!("behind {cuts} cuts: {what}"));
        }
        this.close_handles();
        this.disk = this.disk.kill();
        Ok(this)
    }

    /// Opens what a crash left while call number `call` of the disk goes wrong; then the process dies. What it
    /// leaves must be all right, and hold what was there before. Gives the calls that were made, and whether
    /// the fault fitted its call.
    pub(crate) fn recover_with_fault(
        &self,
        call: u64,
        fault: Fault,
    ) -> Result<(FaultyDisk, bool), String> {
        let mut heir = self.heir(self.disk.fork());
        heir.outlives_fault = false;
        let faulty = FaultyDisk::new(heir.disk.clone());
        faulty.keep_verbs();
        faulty.drive(&heir.clock);
        faulty.plan(call, fault);
        heir.faulty = Some(faulty.clone());
        if let Err(Stop::Wrong(what)) = heir.open() {
            return Err(what);
        }
        let has_struck = heir.has_struck();
        heir.close_handles();
        if has_struck {
            heir.check_after(fault, call)?;
        }
        Ok((faulty, has_struck))
    }

    /// Holds what the disk has now, and what a power cut leaves of it, against the model.
    fn check_after(&self, fault: Fault, seed: u64) -> Result<(), String> {
        for loss in [None, Some(Loss::Everything), Some(Loss::Random(seed))] {
            let disk = self.disk.fork();
            let disk = loss.map_or_else(|| disk.clone(), |loss| disk.power_cut(loss));
            let checked = self.heir(disk).check_what_is_left(fault);
            checked.map_err(|what| format!("{loss:?}: {what}"))?;
        }
        Ok(())
    }

    /// Lives for `steps` steps while call number `call` of the disk goes wrong, and with `then` the call behind
    /// it as well; then the process dies. What it leaves must be all right as the page cache has it, and
    /// after a power cut. Gives the calls that were made, and whether each fault fitted its call.
    pub(crate) fn run_with_fault(
        mut self,
        steps: usize,
        call: u64,
        fault: Fault,
        then: Option<Fault>,
    ) -> Result<(FaultyDisk, bool), String> {
        let faulty = FaultyDisk::new(self.disk.clone());
        faulty.keep_verbs();
        faulty.drive(&self.clock);
        faulty.plan(call, fault);
        if let Some(then) = then {
            faulty.plan(call + 1, then);
        }
        self.faulty = Some(faulty.clone());
        self.live_with_fault(steps)?;
        if faulty.struck().len() < 1 + usize::from(then.is_some()) {
            self.close_handles();
            return Ok((faulty, false));
        }
        if then.is_none() {
            self.go_on_after_what_passes()?;
        }
        self.close_handles();
        self.check_after(fault, call)?;
        Ok((faulty, true))
    }

    fn live_with_fault(&mut self, steps: usize) -> Result<(), String> {
        self.changing = true;
        let mut next = self.open();
        for _ in 0..steps {
            match next {
                Ok(()) => self.changing = false,
                Err(Stop::Wrong(what)) => return Err(what),
                Err(_) if self.changing => return Ok(()),
                // The log refuses, or a read failed: whatever else is asked of it must go well or be refused.
                Err(_) => {}
            }
            next = self.step();
        }
        match next {
            Err(Stop::Wrong(what)) => Err(what),
            _ => Ok(()),
        }
    }

    /// A log that is open, and was not in the middle of a change, takes appends again once a fault that
    /// passes has passed.
    fn go_on_after_what_passes(&mut self) -> Result<(), String> {
        let struck = self.faulty.as_ref().map_or_else(Vec::new, FaultyDisk::struck);
        let passes = struck.iter().all(|(verb, fault)| fault.is_transient(*verb));
        if self.changing || self.dir.is_none() || !passes {
            return Ok(());
        }
        for place in 0..self.partitions.len() {
            match self.append(place) {
                Ok(()) => {}
                Err(Stop::Wrong(what)) => return Err(what),
                Err(_) => return Err(format!("refused for good after {struck:?}")),
            }
        }
        Ok(())
    }

    /// One that knows the same, on a disk without faults.
    fn heir(&self, disk: ForgetfulDisk) -> Self {
        Self {
            rng: self.rng.clone(),
            disk,
            faulty: None,
            changing: false,
            clock: self.clock.clone(),
            strategy: self.strategy,
            encoder: Encoder::new(),
            partitions: self.partitions.clone(),
            dir: None,
            lies: false,
            tears: false,
            killed: false,
            opened_clean: false,
            outlives_fault: true,
            tally: Tally::default(),
        }
    }

    fn check_what_is_left(mut self, fault: Fault) -> Result<(), String> {
        if fault.is_silent() {
            return self.check_honest();
        }
        // The second time finds what the first one left, and some more: after a power cut, since what a
        // recovery has kept is durable.
        for _ in 0..2 {
            match self.open() {
                Ok(()) => {}
                Err(Stop::Wrong(what)) => return Err(what),
                Err(_) => return Err("an error without a cause".into()),
            }
            for place in 0..self.partitions.len() {
                for step in [self.append(place), self.look(place)] {
                    if let Err(Stop::Wrong(what)) = step {
                        return Err(what);
                    }
                }
            }
            self.close_handles();
            self.disk = self.disk.power_cut(Loss::Everything);
        }
        Ok(())
    }

    /// The disk lied: what can be read at all is right.
    fn check_honest(&self) -> Result<(), String> {
        let storage = self.disk.storage();
        let Ok(dir) = LogDir::open(&storage, Path::new(ROOT), self.strategy) else {
            return Ok(());
        };
        let dir = Arc::new(dir);
        for Partition { name, config, model, .. } in &self.partitions {
            let log = UnrecoveredLog::open(&dir, name, config.clone(), self.clock.clone());
            let Ok((log, report)) = log.and_then(UnrecoveredLog::recover) else { continue };
            let checked = model.check_honest(&log);
            checked.map_err(|what| format!("{name}: {what}\n    {report:?}\n    {config:?}"))?;
        }
        Ok(())
    }

    fn has_struck(&self) -> bool {
        self.faulty.as_ref().is_some_and(|disk| !disk.struck().is_empty())
    }

    fn was_lied_to(&self) -> bool {
        let lies = |(_, fault): &(_, Fault)| fault.is_silent();
        self.faulty.as_ref().is_some_and(|disk| disk.struck().iter().any(lies))
    }

    /// Whether damage is no surprise: the disk lies, or has lied.
    fn may_find_damage(&self) -> bool {
        self.lies || self.was_lied_to()
    }

    fn storage(&self) -> Storage {
        self.faulty.as_ref().map_or_else(|| self.disk.storage(), FaultyDisk::storage)
    }

    fn cut(&mut self) {
        self.close_handles();
        if self.killed && self.rng.bool() {
            self.tally.kills += 1;
            self.disk = self.disk.kill();
            return;
        }
        self.tally.cuts += 1;
        let loss = match self.rng.u8(..4) {
            0 => Loss::Everything,
            _ if self.tears => Loss::Sectors(self.rng.u64(..)),
            _ => Loss::Random(self.rng.u64(..)),
        };
        self.disk = self.disk.power_cut(loss);
    }

    fn close_handles(&mut self) {
        self.dir = None;
        self.partitions.iter_mut().for_each(|partition| partition.log = None);
    }

    /// Opens the folder and works until the power goes.
    fn live(&mut self) -> Stop {
        if self.tally.cuts > 0 && self.rng.u8(..4) == 0 {
            self.disk.power_off_after(self.rng.u64(..60));
        }
        if let Err(stop) = self.open() {
            self.tally.cuts_in_recovery += u64::from(matches!(stop, Stop::PowerOff));
            return stop;
        }
        self.disk.lie_about_sync(self.lies);
        let most = [10, 50, 250, 1000][self.rng.usize(..4)];
        self.disk.power_off_after(self.rng.u64(..most));
        for _ in 0..300 {
            if self.rng.is_spent() {
                break;
            }
            if let Err(stop) = self.step() {
                return stop;
            }
        }
        Stop::PowerOff
    }

    fn open(&mut self) -> Result<(), Stop> {
        let storage = self.storage();
        let dir = LogDir::open(&storage, Path::new(ROOT), self.strategy);
        let dir = Arc::new(self.settle(dir)?);
        self.opened_clean = true;
        if let Some(damaged) = dir.damaged().first().filter(|_| !self.may_find_damage()) {
            return Err(Stop::Wrong(format!("a checkpoint was damaged: {damaged}")));
        }
        for place in 0..self.partitions.len() {
            let Partition { name, config, .. } = &self.partitions[place];
            let log = UnrecoveredLog::open(&dir, name, config.clone(), self.clock.clone());
            let (log, report) = self.settle(log)?.recover().or_else(|error| self.refuse(&error))?;
            self.opened_clean &= report.clean;
            let is_rebuilt =
                !report.rebuilt.is_empty() && !self.outlives_fault && !self.has_struck();
            if (is_rebuilt || !report.damage.is_empty()) && !self.may_find_damage() {
                return Err(Stop::Wrong(format!(
                    "{name}: power cuts do not rot: {report:?}",
                    name = report.partition
                )));
            }
            if let Some(cut) = &report.cut {
                self.tally.tails_cut += 1;
                self.tally.tail_bytes += cut.bytes;
                self.tally.kept_aside += u64::from(!cut.kept_aside.is_empty());
            }
            if self.was_lied_to() {
                // From here on nothing is known but that what is read is right.
                let honest = self.partitions[place].model.check_honest(&log);
                honest.map_err(|what| Stop::Wrong(format!("reopened: {what}")))?;
                return Err(Stop::Fault);
            }
            let adopted = self.partitions[place].model.adopt(&log, &mut self.rng);
            // Asked now: the fault may have struck in what the model has just read.
            let has_struck = self.has_struck();
            let partition = &mut self.partitions[place];
            let describe = |what| match what {
                Fail::Error(_) if has_struck => Stop::Fault,
                what => {
                    let (name, config) = (&partition.name, &partition.config);
                    Stop::Wrong(format!("{name} reopened: {what}\n    {report:?}\n    {config:?}"))
                }
            };
            adopted.map_err(describe)?;
            let known = partition.model.visible().map(|batch| batch.header.leader_epoch).max();
            let latest = log.leader_epochs().latest().map(|latest| latest.epoch);
            partition.epoch = known.max(latest).unwrap_or(0);
            partition.log = Some(Arc::new(log));
        }
        self.dir = Some(dir);
        for place in 0..self.partitions.len() {
            self.send_again(place)?;
        }
        Ok(())
    }

    /// An error is the power's, or it is wrong.
    fn refuse<T>(&self, error: &impl fmt::Display) -> Result<T, Stop> {
        Err(match (self.is_off(), self.has_struck()) {
            (true, _) => Stop::PowerOff,
            (false, true) => Stop::Fault,
            (false, false) => Stop::Wrong(error.to_string()),
        })
    }

    fn is_off(&self) -> bool {
        self.disk.storage().list(Path::new("/")).is_err()
    }

    fn settle<T, E: fmt::Display>(&self, result: Result<T, E>) -> Result<T, Stop> {
        result.or_else(|error| self.refuse(&error))
    }

    fn log(&self, place: usize) -> Arc<PartitionLog> {
        self.partitions[place].log.clone().expect("the folder is open")
    }

    fn step(&mut self) -> Result<(), Stop> {
        let place = self.rng.usize(..self.partitions.len());
        self.clock.advance(Duration::from_millis(self.rng.u64(..50)));
        match self.rng.u8(..100) {
            0..45 => self.append(place),
            45..55 => self.append_as_follower(place),
            55..72 => self.commit(),
            72..80 => self.checkpoint(),
            80..84 => self.delete_records(place),
            84..89 => self.truncate(place),
            89 => self.restart(place),
            90..95 => self.keep_house(place),
            95..97 => self.reopen(),
            _ => self.look(place),
        }?;
        // What was shown counts as what was said: a roll makes records durable too, and consumers read up to there.
        for place in 0..self.partitions.len() {
            if let Some(log) = &self.partitions[place].log {
                let durable = log.watermarks().durable_end;
                self.acknowledge(place, durable);
            }
        }
        Ok(())
    }

    fn append(&mut self, place: usize) -> Result<(), Stop> {
        let (mut batches, mut stored) = (Vec::new(), Vec::new());
        let log = self.log(place);
        if self.rng.u8(..10) == 0 {
            self.partitions[place].epoch += self.rng.i32(1..3);
        }
        let epoch = self.partitions[place].epoch;
        for _ in 0..[1, 1, 1, 2, 4][self.rng.usize(..5)] {
            let mut batch = self.batch(place, &stored);
            batches.push(SealedBatch::check(batch.bytes().to_vec()).unwrap());
            let end = stored.last().map_or(self.partitions[place].model.end(), Stored::next);
            batch.stamp(end, epoch);
            stored.push(Stored::new(&batch));
        }
        let expected: Vec<_> = stored.iter().map(Stored::base).collect();
        match log.append(batches, epoch) {
            Ok(appended) if appended.base_offsets == expected => {
                self.stored(place, stored);
                Ok(())
            }
            Ok(appended) => Err(Stop::Wrong(format!("expected {expected:?}, {appended:?}"))),
            Err(AppendError::GroupTooLarge { .. }) => Ok(()),
            Err(error) => self.not_appended(place, stored, &error),
        }
    }

    /// Some of it may have reached the disk.
    fn not_appended(
        &mut self,
        place: usize,
        stored: Vec<Stored>,
        error: &AppendError,
    ) -> Result<(), Stop> {
        if self.is_off() {
            self.stored(place, stored);
            return Err(Stop::PowerOff);
        }
        let (log, model) = (self.log(place), &mut self.partitions[place].model);
        let (end, expected) = (log.watermarks().log_end, model.end());
        model.refused(stored);
        if end != expected {
            return Err(Stop::Wrong(format!("{error}: ends at {end}, expected {expected}")));
        }
        self.refuse(error)
    }

    fn stored(&mut self, place: usize, stored: Vec<Stored>) {
        self.tally.batches += stored.len() as u64;
        self.partitions[place].model.appended(stored);
    }

    /// What a follower fetched: some batches that it has already, then new ones.
    fn append_as_follower(&mut self, place: usize) -> Result<(), Stop> {
        let (log, mut stored) = (self.log(place), Vec::new());
        let overlap = self.rng.usize(..3);
        let model = &self.partitions[place].model;
        let from = model.batches.len().saturating_sub(overlap);
        let mut bytes: Vec<u8> =
            model.batches[from..].iter().flat_map(|it| it.bytes.clone()).collect();
        for _ in 0..self.rng.usize(1..4) {
            let partition = &mut self.partitions[place];
            partition.epoch += i32::from(self.rng.u8(..8) == 0);
            let epoch = partition.epoch;
            let mut batch = self.batch(place, &stored);
            let end = stored.last().map_or(self.partitions[place].model.end(), Stored::next);
            batch.stamp(end, epoch);
            bytes.extend(batch.bytes());
            stored.push(Stored::new(&batch));
        }
        match log.append_as_follower(&bytes) {
            Ok(_) => {
                self.stored(place, stored);
                Ok(())
            }
            Err(AppendError::GroupTooLarge { .. }) => Ok(()),
            Err(error) => self.not_appended(place, stored, &error),
        }
    }

    /// A batch to follow those in the log and `pending`: without a producer, of an idempotent one, of
    /// a transaction, or the end of one.
    fn batch(&mut self, place: usize, pending: &[Stored]) -> SealedBatch {
        let kind = self.rng.u8(..8);
        let which = usize::from(kind >= 6);
        let mut settings = BatchSettings::default();
        if kind >= 4 {
            let last = |partition: &Partition| {
                let id = partition.producers[which];
                let of_producer = |batch: &&Stored| batch.header.producer_id == id;
                let known = partition.model.visible();
                let last = pending.iter().rev().chain(known.rev()).find(of_producer).cloned();
                (id, last)
            };
            let (mut id, mut before) = last(&self.partitions[place]);
            let sequence = self.sequence_behind(place, id, pending);
            if sequence.is_none() {
                // What was known of its earlier batches may be deleted with them.
                self.partitions[place].producers[which] += 1;
                (id, before) = last(&self.partitions[place]);
            }
            let in_transaction = before.as_ref().is_some_and(|it| it.marker.is_none());
            if which == 1 && in_transaction && self.rng.u8(..3) == 0 {
                let marker = if self.rng.bool() { Marker::Abort } else { Marker::Commit };
                return control_batch(marker, id, 0, 0, self.clock.wall_ms());
            }
            settings.producer_id = id;
            settings.producer_epoch = 0;
            settings.base_sequence = sequence.unwrap_or(0);
            settings.transactional = which == 1;
        }
        if self.rng.u8(..16) == 0 {
            settings.compression = Compression::new(Codec::ALL[self.rng.usize(..5)]);
        }
        self.fill(place, settings)
    }

    /// The sequence that comes next of a producer; `None` where the log does not say.
    fn sequence_behind(&self, place: usize, id: i64, pending: &[Stored]) -> Option<i32> {
        let model = &self.partitions[place].model;
        let of_producer = |it: &&Stored| it.header.producer_id == id && it.marker.is_none();
        let last = pending.iter().rev().chain(model.visible().rev()).find(of_producer)?;
        Some(last.header.last_sequence() + 1)
    }

    fn fill(&mut self, place: usize, settings: BatchSettings) -> SealedBatch {
        let largest = (self.partitions[place].config.segment_bytes as usize - 200).min(7000);
        let size = [20, 200, 1000, largest][self.rng.usize(..4)].min(largest);
        let mut builder = BatchBuilder::new(Vec::new(), settings);
        let records = self.rng.usize(1..4);
        for _ in 0..records {
            let mut value = vec![0; self.rng.usize(..=size) / records];
            self.rng.fill(&mut value);
            let timestamp = self.clock.wall_ms() + self.rng.i64(-200..200);
            let record = NewRecord { timestamp, key: None, value: Some(&value), headers: &[] };
            builder.push(&record).unwrap();
        }
        builder.seal(&mut self.encoder).unwrap()
    }

    /// After a restart the last batch of an idempotent producer is sent once more: it must be known.
    fn send_again(&mut self, place: usize) -> Result<(), Stop> {
        let partition = &self.partitions[place];
        let id = partition.producers[0];
        let of_producer = |batch: &&Stored| batch.header.producer_id == id;
        let Some(last) = partition.model.visible().rev().find(of_producer) else { return Ok(()) };
        if last.base() < partition.model.start() {
            return Ok(());
        }
        let (base, end) = (last.base(), partition.model.end());
        let batch = SealedBatch::check(last.bytes.clone()).unwrap();
        let appended = self.log(place).append(vec![batch], partition.epoch);
        let appended = self.settle(appended)?;
        if (appended.base_offsets.as_slice(), appended.end.offset()) != (&[base], end) {
            let what = format!("{}: a repeated send of {base}: {appended:?}", partition.name);
            return Err(Stop::Wrong(what));
        }
        self.tally.repeated_sends += 1;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Stop> {
        let mut wanted = Vec::new();
        let mut places = Vec::new();
        for place in 0..self.partitions.len() {
            if self.rng.u8(..4) > 0 {
                let model = &self.partitions[place].model;
                let end = model.end();
                let upto =
                    if self.rng.bool() { end } else { self.rng.i64(model.start().min(end)..=end) };
                wanted.push((self.log(place), upto));
                places.push(place);
            }
        }
        for ((result, place), (log, upto)) in
            commit_all(&wanted).into_iter().zip(places).zip(wanted)
        {
            self.settle(result)?;
            let durable = log.watermarks().durable_end;
            if durable < upto {
                return Err(Stop::Wrong(format!("committed {upto}, durable up to {durable}")));
            }
            self.acknowledge(place, durable);
        }
        Ok(())
    }

    /// The watermarks say that everything below `upto` is durable.
    fn acknowledge(&mut self, place: usize, upto: Offset) {
        let model = &mut self.partitions[place].model;
        self.tally.acknowledged += (upto - model.durable).max(0) as u64;
        model.acknowledged(upto);
    }

    fn checkpoint(&mut self) -> Result<(), Stop> {
        for place in 0..self.partitions.len() {
            if self.rng.u8(..3) > 0 {
                let log = self.log(place);
                self.settle(log.checkpoint())?;
                self.acknowledge(place, log.watermarks().durable_end);
            }
        }
        if self.rng.u8(..4) > 0 { self.settle(self.dir().persist()) } else { Ok(()) }
    }

    fn dir(&self) -> &Arc<LogDir> {
        self.dir.as_ref().expect("the folder is open")
    }

    fn delete_records(&mut self, place: usize) -> Result<(), Stop> {
        self.changing = true;
        let log = self.log(place);
        let marks = log.watermarks();
        let target = self.rng.i64(marks.log_start..=marks.high_watermark);
        let asked = if target == marks.high_watermark { -1 } else { target };
        self.partitions[place].model.raising_start(target);
        let start = self.settle(log.delete_records_before(asked))?;
        if start != target {
            return Err(Stop::Wrong(format!("deleted before {target}, starts at {start}")));
        }
        self.partitions[place].model.started_at(start);
        Ok(())
    }

    fn truncate(&mut self, place: usize) -> Result<(), Stop> {
        self.changing = true;
        let (log, model) = (self.log(place), &mut self.partitions[place].model);
        let end = model.end();
        // Mostly near the end; now and then anywhere.
        let lowest = if self.rng.u8(..4) == 0 { 0 } else { (end - 10).max(0) };
        let target = self.rng.i64(lowest..=end);
        let expected = model.ends_of_truncation(target);
        model.truncating(target);
        let end = self.settle(log.truncate_to(target))?;
        self.truncated(place, end, expected)
    }

    fn restart(&mut self, place: usize) -> Result<(), Stop> {
        self.changing = true;
        let (log, model) = (self.log(place), &mut self.partitions[place].model);
        let target = self.rng.i64(0..model.end() + 100);
        model.restarting(target);
        self.settle(log.restart_at(target))?;
        self.truncated(place, target, (target, target))
    }

    /// `expected`: log start and log end.
    fn truncated(
        &mut self,
        place: usize,
        end: Offset,
        expected: (Offset, Offset),
    ) -> Result<(), Stop> {
        let marks = self.log(place).watermarks();
        if (marks.log_start, marks.log_end) != expected || end != marks.log_end {
            return Err(Stop::Wrong(format!("truncated, expected {expected:?}: {end}, {marks:?}")));
        }
        self.partitions[place].model.truncated(marks.log_start, end);
        self.look(place)
    }

    fn keep_house(&mut self, place: usize) -> Result<(), Stop> {
        self.changing = true;
        let log = self.log(place);
        self.clock.advance(Duration::from_millis(self.rng.u64(..3000)));
        let Partition { model, config, .. } = &mut self.partitions[place];
        let before = model.start();
        let most = model.most_deleted(config, self.clock.wall_ms());
        let most = most.min(log.watermarks().high_watermark).max(before);
        model.raising_start(most);
        self.settle(log.step(self.clock.monotonic()))?;
        let start = log.watermarks().log_start;
        if !(before..=most).contains(&start) {
            let what =
                format!("from {before} on, retention has a reason up to {most}, took {start}");
            return Err(Stop::Wrong(what));
        }
        self.partitions[place].model.started_at(start);
        self.look(place)
    }

    /// A clean stop, and a start: everything is there and nothing was checked.
    fn reopen(&mut self) -> Result<(), Stop> {
        self.changing = true;
        for place in 0..self.partitions.len() {
            let log = self.log(place);
            if self.settle(log.close())? != ClosedLog::Clean {
                if self.has_struck() {
                    return Err(Stop::Fault);
                }
                return Err(Stop::Wrong("a sound log was not closed cleanly".into()));
            }
            let end = self.partitions[place].model.end();
            self.acknowledge(place, end);
        }
        self.settle(self.dir().close())?;
        self.close_handles();
        self.open()?;
        if !self.dir().was_closed_cleanly() {
            return Err(Stop::Wrong("a clean close left no marker".into()));
        }
        if !self.opened_clean && !self.has_struck() {
            return Err(Stop::Wrong("what was closed cleanly was not found so".into()));
        }
        self.tally.clean_reopens += 1;
        Ok(())
    }

    fn look(&mut self, place: usize) -> Result<(), Stop> {
        let log = self.log(place);
        let partition = &self.partitions[place];
        let checked = if self.was_lied_to() {
            partition.model.check_honest(&log)
        } else {
            partition.model.check(&log, &mut self.rng)
        };
        checked.or_else(|fail| {
            let what = format!("{} while open: {fail}\n    {:?}", partition.name, partition.config);
            match fail {
                // The power may have gone in the middle of it.
                Fail::Wrong(_) if !self.is_off() => Err(Stop::Wrong(what)),
                Fail::Wrong(_) | Fail::Error(_) => self.refuse(&what),
            }
        })
    }
}

/// Tiny segments and sparse or dense indexes, so that a short life has much of everything.
fn config(rng: &mut Dice) -> LogConfig {
    LogConfig::default()
        .segment_bytes([1200, 5000, 20_000, 60_000][rng.usize(..4)])
        .index_interval_bytes([1, 300, 4096][rng.usize(..3)])
        .segment_index_bytes(if rng.u8(..4) == 0 { 48 } else { 1 << 20 })
        .retention_ms(if rng.bool() { -1 } else { 4000 })
        .retention_bytes(if rng.bool() { -1 } else { 8000 })
        .retention_check_interval(Duration::from_millis(100))
        .file_delete_delay(Duration::from_millis(500))
        .preallocate(rng.u8(..4) == 0)
        .prepare_bytes(0)
        .durability(if rng.u8(..4) == 0 { Durability::Written } else { Durability::Durable })
}
