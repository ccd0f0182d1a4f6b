//! One producer's thread: sends by the schedule until the plan is fulfilled.

use std::{thread, time::Instant};

use super::{Failures, Shared, plan::Plan};
use crate::{
    keys::KEY_BYTES,
    pacing::{GeneratorLag, Pacer, Schedule},
    target::{Outgoing, Producer, TargetError},
};

/// Records between two harvests of acknowledgements.
const HARVEST_EVERY: u64 = 32;

/// One producer's thread.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    plan: &'a Plan,
    shared: Shared<'a>,
    schedule: Schedule,
    pacer: Pacer,
    quota: Option<u64>,
    /// Number of the next record in pool and keys.
    nth: u64,
}

/// What a producer's thread ends with.
#[derive(Debug)]
pub(super) struct LaneEnd {
    pub(super) lag: GeneratorLag,
    pub(super) unsent: u64,
}

impl<'a> Lane<'a> {
    pub(super) fn new(plan: &'a Plan, producer: u64, shared: Shared<'a>) -> Self {
        let schedule = plan.schedule(producer);
        Self {
            plan,
            shared,
            schedule,
            pacer: Pacer::new(plan.start, schedule, plan.may_spin),
            quota: plan.quota_of(producer),
            // Producers begin evenly spread over the pool.
            nth: shared.pool.records() * producer / plan.producers,
        }
    }

    pub(super) fn run(
        mut self,
        mut producer: Producer,
        failures: &Failures,
    ) -> Result<LaneEnd, TargetError> {
        thread::sleep(self.plan.start.saturating_duration_since(Instant::now()));
        let outcome = self.send_all(&mut producer, failures);
        if outcome.is_err() {
            failures.note(1);
        }
        let finished = producer.finish();
        let unsent = outcome?;
        finished?;
        Ok(LaneEnd { lag: self.pacer.into_lag(), unsent })
    }

    /// Sends what the plan wants; the number of records that were due and came too late.
    fn send_all(
        &mut self,
        producer: &mut Producer,
        failures: &Failures,
    ) -> Result<u64, TargetError> {
        let stop = self.shared.stop;
        let stop = || stop.wished() || failures.any();
        let mut key = [0; KEY_BYTES];
        let mut measured = 0;
        for index in 0_u64.. {
            let Some(stamps) = self.pacer.next(&stop) else { break };
            if stamps.intended_ns >= self.plan.measured_from_ns {
                if measured == 0 {
                    self.pacer.restart_account();
                }
                if self.quota.is_some_and(|quota| measured == quota) {
                    break;
                }
                measured += 1;
            }
            if let Some(until) = self.plan.until_ns {
                if stamps.intended_ns >= until {
                    break;
                }
                if stamps.actual_ns >= until {
                    return Ok(self.schedule.due_before(until).saturating_sub(index));
                }
            }
            producer.send(Outgoing {
                key: self.shared.keys.write(self.nth, &mut key),
                value: self.shared.pool.record(self.nth),
                timestamp_ms: self.plan.start_ms + (stamps.actual_ns / 1_000_000) as i64,
                tag: stamps.pack(),
            })?;
            self.nth += 1;
            if self.pacer.has_waited() || index.is_multiple_of(HARVEST_EVERY) {
                producer.harvest();
            }
        }
        Ok(0)
    }
}
