//! JSON records: events of a service, each one whole valid object of exactly the record's size.
//!
//! A record is an envelope, as many detail fields as fit, then steps until the record is full, and
//! a note that fills the rest. Names and shapes repeat from record to record, as in real events;
//! identifiers, times and words don't. How many of which was calibrated: see `calibration.rs`.

use std::io::Write;

use super::words::Words;

/// Below this size there is no room for the envelope: a JSON string, or a digit.
const LEAST_OBJECT: usize = 88;
/// `,"note":"` and `"}`.
const CLOSING: usize = 11;

const TYPES: [&str; 12] = [
    "order.created",
    "order.paid",
    "order.shipped",
    "order.delivered",
    "order.returned",
    "cart.updated",
    "user.signed_in",
    "user.updated",
    "payment.captured",
    "payment.refused",
    "stock.reserved",
    "stock.released",
];
const SERVICES: [&str; 8] =
    ["checkout", "payments", "inventory", "accounts", "shipping", "search", "pricing", "mailer"];
const REGIONS: [&str; 4] = ["eu-central-1", "eu-west-1", "us-east-1", "ap-south-1"];
const PLANS: [&str; 3] = ["free", "team", "business"];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "PATCH"];
const STATUSES: [u16; 8] = [200, 200, 200, 200, 201, 204, 404, 409];
const STEPS: [&str; 10] = [
    "validate",
    "authorize",
    "reserve_stock",
    "calculate_price",
    "apply_discount",
    "charge_card",
    "write_invoice",
    "publish_event",
    "notify_customer",
    "schedule_delivery",
];
const STATES: [&str; 6] = ["done", "done", "done", "done", "skipped", "retried"];

/// Writes records one after the other; time goes on between them.
#[derive(Debug)]
pub(super) struct Author<'w> {
    words: &'w Words,
    time_ms: u64,
    field: Vec<u8>,
}

impl<'w> Author<'w> {
    pub(super) fn new(words: &'w Words) -> Self {
        // 2026-01-01 00:00 UTC.
        Self { words, time_ms: 1_767_225_600_000, field: Vec::new() }
    }

    /// Appends one record of exactly `size` bytes.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, size: usize, random: &mut fastrand::Rng) {
        let end = out.len() + size;
        match size {
            0 => (),
            1 => out.push(b'0' + random.u8(..10)),
            _ if size < LEAST_OBJECT => {
                out.push(b'"');
                self.prose(out, end - 1, random);
                out.push(b'"');
            }
            _ => self.object(out, end, random),
        }
        assert_eq!(out.len(), end, "a record has the size that was asked for");
    }

    fn object(&mut self, out: &mut Vec<u8>, end: usize, random: &mut fastrand::Rng) {
        self.time_ms += random.u64(..40);
        let kind = TYPES[skewed(TYPES.len(), random)];
        let id = random.u64(..1 << 40);
        put(out, format_args!(r#"{{"id":"{id:010x}","time":{},"type":"{kind}""#, self.time_ms));
        let full = end - CLOSING;
        for detail in [Self::source, Self::user, Self::request] {
            detail(self, random);
            self.append_if_it_fits(out, full);
        }
        self.steps(out, full, random);
        out.extend_from_slice(br#","note":""#);
        self.prose(out, end - 2, random);
        out.extend_from_slice(br#""}"#);
    }

    fn source(&mut self, random: &mut fastrand::Rng) {
        let service = SERVICES[skewed(SERVICES.len(), random)];
        let region = REGIONS[skewed(REGIONS.len(), random)];
        let host = random.u8(..24);
        put(
            &mut self.field,
            format_args!(
                r#","source":{{"service":"{service}","region":"{region}","host":"{service}-{host:02}.{region}.internal"}}"#
            ),
        );
    }

    fn user(&mut self, random: &mut fastrand::Rng) {
        let id = random.u32(..1_000_000);
        let plan = PLANS[skewed(PLANS.len(), random)];
        put(
            &mut self.field,
            format_args!(
                r#","user":{{"id":{id},"plan":"{plan}","url":"https://api.example.com/v2/users/{id}"}}"#
            ),
        );
    }

    fn request(&mut self, random: &mut fastrand::Rng) {
        let method = METHODS[skewed(METHODS.len(), random)];
        let status = STATUSES[random.usize(..STATUSES.len())];
        let noun = self.words.nth(300 + skewed(200, random));
        let noun = String::from_utf8_lossy(noun);
        put(
            &mut self.field,
            format_args!(
                r#","request":{{"method":"{method}","path":"/v2/{noun}/{}","status":{status},"duration_us":{}}}"#,
                random.u32(..100_000),
                random.u32(200..90_000)
            ),
        );
    }

    fn steps(&mut self, out: &mut Vec<u8>, full: usize, random: &mut fastrand::Rng) {
        const OPENING: &[u8] = br#","steps":["#;
        let mut count = 0;
        let first = random.usize(..STEPS.len());
        loop {
            let step = STEPS[(first + count) % STEPS.len()];
            let state = STATES[random.usize(..STATES.len())];
            self.field.extend_from_slice(if count == 0 { OPENING } else { b"," });
            put(
                &mut self.field,
                format_args!(
                    r#"{{"step":"{step}","state":"{state}","attempt":1,"worker":"{}","took_us":{}}}"#,
                    WORKERS[random.usize(..WORKERS.len())],
                    random.u16(..1_000)
                ),
            );
            if !self.append_if_it_fits(out, full - 1) {
                break;
            }
            count += 1;
        }
        if count > 0 {
            out.push(b']');
        }
    }

    /// Appends the field that was prepared, unless `out` would grow past `full`.
    fn append_if_it_fits(&mut self, out: &mut Vec<u8>, full: usize) -> bool {
        let fits = out.len() + self.field.len() <= full;
        if fits {
            out.extend_from_slice(&self.field);
        }
        self.field.clear();
        fits
    }

    /// Words up to exactly `end`; the last one may be cut.
    fn prose(&self, out: &mut Vec<u8>, end: usize, random: &mut fastrand::Rng) {
        while out.len() < end {
            out.extend_from_slice(self.words.draw(random));
            out.push(b' ');
        }
        out.truncate(end);
    }
}

const WORKERS: [&str; 8] = [
    "pool-1-thread-1",
    "pool-1-thread-2",
    "pool-1-thread-3",
    "pool-1-thread-4",
    "pool-2-thread-1",
    "pool-2-thread-2",
    "scheduler-1",
    "scheduler-2",
];

/// An index below `n`; the first ones are the most frequent.
fn skewed(n: usize, random: &mut fastrand::Rng) -> usize {
    random.usize(..n).min(random.usize(..n))
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_valid_json_of_exactly_its_size() {
        let words = Words::new();
        let mut author = Author::new(&words);
        let mut random = fastrand::Rng::with_seed(3);
        for size in (1..600).chain([1_000, 4_096, 100_000]) {
            for _ in 0..3 {
                let mut record = Vec::new();
                author.write(&mut record, size, &mut random);
                assert_eq!(record.len(), size);
                let value: Result<serde_json::Value, _> = serde_json::from_slice(&record);
                assert!(value.is_ok(), "{size}: {}", String::from_utf8_lossy(&record));
            }
        }
    }
}
