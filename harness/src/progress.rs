//! What is going on, on standard error: a moving line on a terminal, a plain line now and then
//! elsewhere.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Steps of the bar.
const STEPS: u64 = 1_000;

/// A line of progress.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    told: Instant,
    furthest: u64,
}

impl Default for Progress {
    /// A line that begins now.
    fn default() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24.cyan/238} {percent:>3} %  {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(STEPS).with_style(style.progress_chars("━━─"))
        });
        Self { bar, told: Instant::now(), furthest: 0 }
    }
}

impl Progress {
    /// Shows how far it is, 0 to 1, and what is going on.
    pub fn show(&mut self, done: f64, text: impl FnOnce() -> String) {
        let step = self.step(done);
        match &self.bar {
            Some(bar) => {
                bar.set_position(step);
                bar.set_message(text());
            }
            None if self.told.elapsed() >= PLAIN_EVERY => {
                self.told = Instant::now();
                crate::say!("{:>3} %  {}", step * 100 / STEPS, text());
            }
            None => (),
        }
    }

    /// How far it is in steps. Never back, although a sweep learns that it takes longer than planned.
    fn step(&mut self, done: f64) -> u64 {
        self.furthest = self.furthest.max((done.clamp(0.0, 1.0) * STEPS as f64) as u64);
        self.furthest
    }

    /// A line that stays, above the moving one.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| crate::say!("{text}")),
            None => crate::say!("{text}"),
        }
    }

    /// Takes the moving line away.
    pub fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Time left in minutes and seconds: `1:05`.
pub fn clock(left: Duration) -> String {
    let seconds = left.as_secs_f64().round() as u64;
    match seconds / 3_600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_goes_back() {
        let mut progress = Progress::default();
        assert_eq!([0.2, 0.1, 0.3, 2.0].map(|done| progress.step(done)), [200, 200, 300, 1_000]);
    }

    #[test]
    fn time_left_is_short() {
        let shown = [0, 5, 65, 3_725].map(|seconds| clock(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0:00", "0:05", "1:05", "1:02:05"]);
    }
}
