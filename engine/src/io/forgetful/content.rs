//! The bytes of one simulated file: as they are, as they are on the device, and what lies between.

use std::{collections::BTreeMap, sync::Arc};

use fastrand::Rng;

/// What the page cache holds as one, in bytes.
const PAGE: u64 = Unit::Page as u64;

/// What the device keeps or loses as one, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Sector = 512,
    Page = 4096,
}

/// A file's bytes with the changes that no sync has made durable.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    now: Image,
    durable: Image,
    unsynced: Vec<Change>,
    /// Pages that the device was given, as it has them in its cache, with the number of changes that are in
    /// them.
    cached: BTreeMap<u64, (Arc<[u8; PAGE as usize]>, usize)>,
    /// Pages that a flush made durable before their file was synced: so many changes no longer count there.
    flushed: BTreeMap<u64, usize>,
}

#[derive(Debug, Clone)]
struct Change {
    what: What,
    /// Length of the file after it, in bytes.
    len: u64,
}

#[derive(Debug, Clone)]
enum What {
    Write { position: u64, data: Arc<[u8]> },
    Cut,
    Extend,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.now.len
    }

    /// Appends to `into` what its spare capacity takes; gives the number of bytes.
    pub(super) fn read(&self, position: u64, into: &mut Vec<u8>) -> usize {
        self.now.read(position, into)
    }

    /// As `read`, past the page cache.
    pub(super) fn read_direct(&self, position: u64, into: &mut Vec<u8>) -> usize {
        self.on_device().read(position, into)
    }

    /// The page cache forgets what it takes for clean.
    pub(super) fn drop_clean(&mut self) {
        self.now = self.on_device();
    }

    /// The bytes once the pages are written back that wait for it: what the device has, and what the
    /// length says, which is metadata.
    fn on_device(&self) -> Image {
        let mut image = self.durable.clone();
        write_back(&self.unsynced, &self.now, &mut image);
        image
    }

    pub(super) fn write(&mut self, position: u64, data: Vec<u8>) {
        if data.is_empty() {
            return;
        }
        for (page, within, bytes) in pieces(position, &data, Unit::Page) {
            self.now.put(page * PAGE + within as u64, bytes);
        }
        self.now.len = self.now.len.max(position + data.len() as u64);
        self.note(What::Write { position, data: data.into() });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let what = if len < self.now.len { What::Cut } else { What::Extend };
        self.now.set_len(len);
        self.note(what);
    }

    /// Everything is on the device. Costs what was unsynced, not what the file holds.
    pub(super) fn sync(&mut self) {
        write_back(&std::mem::take(&mut self.unsynced), &self.now, &mut self.durable);
        self.cached.clear();
        self.flushed.clear();
    }

    /// The pages of some bytes go to the device's cache. Those of a block that the file does not durably have
    /// (it was never written, or cut off) stay behind: where they lie is metadata, which a sync brings.
    pub(super) fn write_back(&mut self, position: u64, len: u64) {
        let end = position.saturating_add(len).min(self.durable.len);
        for page in position / PAGE..end.div_ceil(PAGE) {
            let is_there = self.durable.pages.contains_key(&page);
            let is_cut = |change: &Change| {
                matches!(change.what, What::Cut) && change.len < (page + 1) * PAGE
            };
            let changes = self.unsynced.len();
            if let Some(bytes) = self.now.pages.get(&page)
                && is_there
                && !self.unsynced.iter().any(is_cut)
            {
                self.cached.insert(page, (bytes.clone(), changes));
            }
        }
    }

    /// The device's cache is emptied onto it.
    pub(super) fn flush(&mut self) {
        for (page, (bytes, changes)) in std::mem::take(&mut self.cached) {
            self.durable.pages.insert(page, bytes);
            self.flushed.insert(page, changes);
        }
        self.durable.set_len(self.durable.len);
    }

    /// The device's cache is lost.
    pub(super) fn lose_cached(&mut self) {
        self.cached.clear();
    }

    /// Whether the device has pages of the file in its cache.
    pub(super) fn is_cached(&self) -> bool {
        !self.cached.is_empty()
    }

    /// A sync failed. As Linux does: the pages are taken for clean although they never reached the
    /// device, reads still show them, and the next sync succeeds without them. With `rng` some sectors did
    /// reach it.
    pub(super) fn fail_sync(&mut self, rng: Option<Rng>) {
        if let Some(mut rng) = rng {
            self.durable = self.mixture(Unit::Sector, &mut rng);
        }
        self.unsynced.clear();
        self.cached.clear();
        self.flushed.clear();
    }

    /// What a power cut leaves when all is lost that was not synced.
    pub(super) fn durable(&self) -> Self {
        Self::settled(self.durable.clone())
    }

    /// What a power cut leaves when the device had taken some of it, `unit` by unit in any order; now
    /// and then nothing or all of it.
    pub(super) fn survivor(&self, unit: Unit, rng: &mut Rng) -> Self {
        Self::settled(match rng.u8(..4) {
            0 => self.durable.clone(),
            1 => self.clone().into_synced(),
            _ => self.mixture(unit, rng),
        })
    }

    fn into_synced(mut self) -> Image {
        self.sync();
        self.durable
    }

    /// Length and allocation are metadata, which a file system keeps in order: they survive up to one
    /// point in time. Each unit survives as it was at a time of its own. Where the two disagree there
    /// are zeros: a length that covers a page which never came.
    fn mixture(&self, unit: Unit, rng: &mut Rng) -> Image {
        let metadata = rng.usize(..=self.unsynced.len());
        let mut left = self.writes_by(unit);
        for writes in left.values_mut() {
            *writes = rng.usize(..=*writes);
        }
        let mut image = self.durable.clone();
        // A page that was freed by a lost truncation keeps its old bytes: newer ones went elsewhere.
        let mut freed_from = u64::MAX;
        for (change_number, change) in self.unsynced.iter().enumerate() {
            match &change.what {
                What::Write { position, data } => {
                    for (number, within, bytes) in pieces(*position, data, unit) {
                        if self.is_flushed(change_number, number, unit) {
                            continue;
                        }
                        let left = left.entry(number).or_default();
                        let at = number * unit as u64 + within as u64;
                        if *left > 0 && at / PAGE < freed_from {
                            *left -= 1;
                            image.put(at, bytes);
                        }
                    }
                }
                What::Cut if change_number < metadata => image.set_len(change.len),
                What::Cut => freed_from = freed_from.min(change.len.div_ceil(PAGE)),
                What::Extend => {}
            }
        }
        let last = metadata.checked_sub(1).map(|last| self.unsynced[last].len);
        let len = last.unwrap_or(self.durable.len);
        // A long write makes its file longer block by block.
        let next =
            self.unsynced.get(metadata).filter(|next| matches!(next.what, What::Write { .. }));
        let blocks = next.map_or(0, |next| next.len / PAGE - (len / PAGE).min(next.len / PAGE));
        let within = rng.clone().u64(..=blocks);
        image.set_len(if within > 0 { (len / PAGE + within) * PAGE } else { len });
        image
    }

    /// How often each unit was written.
    fn writes_by(&self, unit: Unit) -> BTreeMap<u64, usize> {
        let mut writes = BTreeMap::new();
        for (change_number, change) in self.unsynced.iter().enumerate() {
            if let What::Write { position, data } = &change.what {
                for (number, ..) in pieces(*position, data, unit) {
                    if !self.is_flushed(change_number, number, unit) {
                        *writes.entry(number).or_default() += 1;
                    }
                }
            }
        }
        writes
    }

    /// Whether what a change did to a unit is durable already.
    fn is_flushed(&self, change: usize, number: u64, unit: Unit) -> bool {
        let page = number * unit as u64 / PAGE;
        self.flushed.get(&page).is_some_and(|changes| change < *changes)
    }

    fn settled(image: Image) -> Self {
        Self { now: image.clone(), durable: image, ..Self::default() }
    }

    fn note(&mut self, what: What) {
        self.unsynced.push(Change { what, len: self.now.len });
    }
}

/// Brings onto `device` the pages that `unsynced` changed, as they are `now`, and the length.
fn write_back(unsynced: &[Change], now: &Image, device: &mut Image) {
    let mut dirty = Vec::new();
    for change in unsynced {
        match &change.what {
            What::Write { position, data } => {
                dirty.extend(pieces(*position, data, Unit::Page).map(|(page, ..)| page));
            }
            What::Cut => device.set_len(change.len),
            What::Extend => {}
        }
    }
    for page in dirty {
        match now.pages.get(&page) {
            Some(bytes) => device.pages.insert(page, bytes.clone()),
            None => device.pages.remove(&page),
        };
    }
    device.set_len(now.len);
}

/// Pages that are shared between copies; one that is absent holds zeros.
#[derive(Debug, Clone, Default)]
struct Image {
    len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE as usize]>>,
}

impl Image {
    fn read(&self, position: u64, into: &mut Vec<u8>) -> usize {
        let wanted = (into.capacity() - into.len()) as u64;
        let end = self.len.min(position.saturating_add(wanted));
        let before = into.len();
        let mut at = position;
        while at < end {
            let (page, within) = (at / PAGE, at % PAGE);
            let count = (PAGE - within).min(end - at);
            let range = within as usize..(within + count) as usize;
            match self.pages.get(&page) {
                Some(bytes) => into.extend_from_slice(&bytes[range]),
                None => into.resize(into.len() + count as usize, 0),
            }
            at += count;
        }
        into.len() - before
    }

    /// Changes bytes that lie in one page; the length is the caller's business.
    fn put(&mut self, at: u64, bytes: &[u8]) {
        let (page, within) = (at / PAGE, (at % PAGE) as usize);
        let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE as usize]));
        Arc::make_mut(page)[within..within + bytes.len()].copy_from_slice(bytes);
    }

    /// Bytes past the end are zero when the file grows again.
    fn set_len(&mut self, len: u64) {
        self.len = len;
        self.pages.split_off(&len.div_ceil(PAGE));
        if let Some(last) = self.pages.get_mut(&(len / PAGE)) {
            let tail = (len % PAGE) as usize;
            // All of them, without a way out in between: compiled to a few wide instructions.
            if last[tail..].iter().fold(0, |any, byte| any | byte) != 0 {
                Arc::make_mut(last)[tail..].fill(0);
            }
        }
    }
}

/// The parts of a write that fall into one unit each: its number, position in it, bytes.
fn pieces(position: u64, data: &[u8], unit: Unit) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let unit = unit as u64;
    let mut at = position;
    let mut rest = data;
    std::iter::from_fn(move || {
        let (number, within) = (at / unit, at % unit);
        let (piece, behind) = rest.split_at(rest.len().min((unit - within) as usize));
        (at, rest) = (at + piece.len() as u64, behind);
        (!piece.is_empty()).then_some((number, within as usize, piece))
    })
}
