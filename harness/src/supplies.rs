//! Payload pools and keys, made once and used by every run that needs the same.

use crate::{
    keys::{KeyKind, Keys},
    payload::{PayloadError, PayloadKind, Pool},
    progress::Progress,
    size::ByteSize,
    workload::Workload,
};

/// Pools that are kept; each takes 32 MiB.
const MOST_POOLS: usize = 8;

/// What was made so far.
#[derive(Debug, Default)]
pub struct Supplies {
    pools: Vec<((PayloadKind, ByteSize, u64), Pool)>,
    keys: Vec<((KeyKind, u64), Keys)>,
}

impl Supplies {
    /// The pool and keys of a workload.
    pub fn of(&mut self, workload: &Workload) -> Result<(&Pool, &Keys), PayloadError> {
        let key = (workload.payload.clone(), workload.record_size, workload.seed);
        let known = self.pools.iter().position(|(known, _)| *known == key);
        let pool = if let Some(place) = known {
            place
        } else {
            if self.pools.len() == MOST_POOLS {
                self.pools.remove(0);
            }
            self.pools.push((key, fill(workload)?));
            self.pools.len() - 1
        };
        let key = (workload.keys, workload.seed);
        let known = self.keys.iter().position(|(known, _)| *known == key);
        let keys = known.unwrap_or_else(|| {
            self.keys.push((key, Keys::new(workload.keys, workload.seed)));
            self.keys.len() - 1
        });
        Ok((&self.pools[pool].1, &self.keys[keys].1))
    }
}

fn fill(workload: &Workload) -> Result<Pool, PayloadError> {
    let mut progress = Progress::default();
    let (kind, size) = (&workload.payload, workload.record_size);
    let pool = Pool::fill(kind, size, workload.seed, &mut |part| {
        progress.show(part, || format!("making {kind} records of {size}"));
    });
    progress.clear();
    pool
}
