//! One producer's thread: sends by the schedule until the plan is fulfilled.

use std::{sync::Arc, thread, time::Instant};

use super::{
    Failures, Shared,
    plan::{Begun, Plan},
};
use crate::{
    keys::KEY_BYTES,
    latency::Recorder,
    pacing::{GeneratorLag, Pacer, Schedule},
    target::{Outgoing, Producer, TargetError},
    usage,
};

/// Records between two harvests of acknowledgements.
const HARVEST_EVERY: u64 = 32;

/// One producer's thread.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    plan: &'a Plan,
    begun: &'a Begun,
    shared: Shared<'a>,
    recorder: Arc<Recorder>,
    schedule: Schedule,
    pacer: Pacer,
    quota: Option<u64>,
    /// Number of the next record in pool and keys.
    nth: u64,
    /// The thread's CPU time and the clock when the first measured record was due.
    account_from: (u64, Instant),
}

/// What a producer's thread ends with.
#[derive(Debug, Default)]
pub(super) struct LaneEnd {
    pub(super) lag: GeneratorLag,
    /// CPU time that pacing spun away, nanoseconds.
    pub(super) spun_cpu_ns: u64,
    /// Records that were due in the measured time and not sent in it.
    pub(super) unsent: u64,
}

impl<'a> Lane<'a> {
    /// After the start.
    pub(super) fn new(
        plan: &'a Plan,
        begun: &'a Begun,
        producer: u64,
        recorder: Arc<Recorder>,
        shared: Shared<'a>,
    ) -> Self {
        let schedule = plan.schedule(producer);
        Self {
            plan,
            begun,
            shared,
            recorder,
            schedule,
            pacer: Pacer::new(begun.start, schedule, plan.may_spin),
            quota: plan.quota_of(producer),
            // Producers begin evenly spread over the pool.
            nth: shared.pool.records() * producer / plan.producers,
            account_from: (0, begun.start),
        }
    }

    pub(super) fn run(
        mut self,
        mut producer: Producer,
        failures: &Failures,
    ) -> Result<LaneEnd, TargetError> {
        thread::sleep(self.begun.start.saturating_duration_since(Instant::now()));
        let outcome = self.send_all(&mut producer, failures);
        if outcome.is_err() {
            failures.note(1);
        }
        let (cpu_from, from) = self.account_from;
        let (cpu_ns, wall) = (usage::thread_cpu_ns() - cpu_from, from.elapsed());
        let finished = producer.finish();
        let unsent = outcome?;
        finished?;
        let lag = self.pacer.into_lag();
        let spun_cpu_ns = spun_cpu_ns(&lag, cpu_ns, wall.as_nanos() as u64);
        Ok(LaneEnd { lag, spun_cpu_ns, unsent })
    }

    /// Sends what the plan wants; the number of records that were due in the measured time and not
    /// sent in it.
    fn send_all(
        &mut self,
        producer: &mut Producer,
        failures: &Failures,
    ) -> Result<u64, TargetError> {
        let stop = self.shared.stop;
        let stop = || stop.wished() || failures.any();
        let mut key = [0; KEY_BYTES];
        let (mut measured, mut unsent) = (0, 0);
        for index in 0_u64.. {
            let Some(stamps) = self.pacer.next(&stop) else { break };
            if stamps.intended_ns >= self.plan.measured_from_ns {
                if measured == 0 {
                    self.pacer.restart_account();
                    self.account_from = (usage::thread_cpu_ns(), Instant::now());
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
                if stamps.actual_ns >= until && unsent == 0 {
                    let from = self.schedule.due_before(self.plan.measured_from_ns).max(index);
                    unsent = self.schedule.due_before(until).saturating_sub(from);
                }
                if stamps.actual_ns >= self.plan.give_up_ns {
                    let due = index..self.schedule.due_before(until);
                    let due_ns = due.map(|index| self.schedule.due_ns(index));
                    self.recorder.given_up(due_ns, stamps.actual_ns);
                    break;
                }
            }
            let sent = producer.send(Outgoing {
                key: self.shared.keys.write(self.nth, &mut key),
                value: self.shared.pool.record(self.nth),
                timestamp_ms: self.begun.start_ms + (stamps.actual_ns / 1_000_000) as i64,
                tag: stamps.pack(),
            });
            match sent {
                Ok(()) => {}
                // The producers were closed under us.
                Err(_) if stop() => break,
                Err(error) => return Err(error),
            }
            self.nth += 1;
            if self.pacer.has_waited() || index.is_multiple_of(HARVEST_EVERY) {
                producer.harvest();
            }
        }
        Ok(unsent)
    }
}

/// CPU time of the spinning: where other processes want the cores too, a thread that spins for a
/// second does not get a second of CPU. It is taken to have had the same part of it as of all the
/// time that it was not asleep.
fn spun_cpu_ns(lag: &GeneratorLag, cpu_ns: u64, wall_ns: u64) -> u64 {
    let awake_ns = wall_ns.saturating_sub(lag.slept_ns).max(1);
    let part = (cpu_ns as f64 / awake_ns as f64).min(1.0);
    (lag.spun_ns as f64 * part) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_without_a_core_costs_no_cpu() {
        let lag = GeneratorLag { spun_ns: 600, slept_ns: 200, ..GeneratorLag::default() };
        assert_eq!(spun_cpu_ns(&lag, 800, 1_000), 600, "a core of its own");
        assert_eq!(spun_cpu_ns(&lag, 400, 1_000), 300, "half a core");
        assert_eq!(spun_cpu_ns(&lag, 0, 1_000), 0);
    }
}
