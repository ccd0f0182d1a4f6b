//! The end of an engine: cleanly, or as a crash would end it.

use std::sync::{Arc, atomic::Ordering};

use super::{CloseError, Shared, parallel::in_parallel};
use crate::log::{ClosedLog, LogDir};

impl Shared {
    pub(super) fn close(&self) -> Result<(), CloseError> {
        // Whoever makes or deletes a topic right now ends that first.
        let mut registry = self.registry.lock();
        if let Some(outcome) = &registry.closed {
            return outcome.clone();
        }
        self.closed.store(true, Ordering::Release);
        let outcome = self.close_all();
        registry.closed = Some(outcome.clone());
        outcome
    }

    fn close_all(&self) -> Result<(), CloseError> {
        let mut failed = CloseError::default();
        // Nobody knows what state a partition is in that was not opened.
        let mut unclean: Vec<Arc<LogDir>> = self.offline_dirs();
        let logs: Vec<_> = self.logs().into_iter().map(|(_, log)| log).collect();
        let outcomes = in_parallel(self.threads(), logs.clone(), |log| {
            let outcome = log.close();
            log.readable().close();
            outcome
        });
        for (log, outcome) in logs.iter().zip(outcomes) {
            match outcome {
                Ok(ClosedLog::Clean) => continue,
                Ok(ClosedLog::Damaged) => {}
                Err(error) => {
                    failed.partitions.push((log.partition().clone(), Arc::new(error)));
                }
            }
            unclean.push(log.dir().clone());
        }
        for dir in &self.dirs {
            let is_clean = !unclean.iter().any(|other| Arc::ptr_eq(other, dir));
            let outcome = if is_clean { dir.close() } else { dir.persist() };
            if let Err(error) = outcome {
                failed.log_dirs.push(Arc::new(error.into()));
            }
            dir.release();
        }
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    fn offline_dirs(&self) -> Vec<Arc<LogDir>> {
        let topics = self.topics.read();
        let offline = topics.values().flat_map(|topic| topic.offline());
        offline.map(|offline| offline.log_dir.clone()).collect()
    }

    /// Nothing more is written; the folders are given back as they are.
    pub(super) fn abandon(&self) {
        let _registry = self.registry.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.logs().iter().for_each(|(_, log)| log.abandon());
        self.dirs.iter().for_each(|dir| dir.release());
    }
}
