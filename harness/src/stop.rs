//! The wish to stop: set by Ctrl-C or SIGTERM, seen by whoever loops.

use std::{
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::removal::Made;

/// A flag that is set once. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<State>);

#[derive(Debug, Default)]
struct State {
    wished: AtomicBool,
    /// Folders that must not outlive the process.
    doomed: Mutex<Vec<Made>>,
    /// The folder that is meant to stay.
    kept: Mutex<Option<PathBuf>>,
}

/// Exit code after Ctrl-C, as shells expect it.
pub const INTERRUPTED: i32 = 130;

impl Stop {
    /// A flag that Ctrl-C and SIGTERM set. The first asks politely; the second removes the data
    /// folders and ends the process.
    pub fn on_signals() -> Result<Self, ctrlc::Error> {
        let stop = Self::default();
        let of_handler = stop.clone();
        ctrlc::set_handler(move || {
            if of_handler.0.wished.swap(true, Ordering::SeqCst) {
                for made in of_handler.doomed().drain(..) {
                    if let Err(error) = made.remove() {
                        crate::say!("could not remove {}: {error}", made.path().display());
                    }
                }
                let kept = of_handler.0.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(path) = kept {
                    crate::say!("the log as far as it came is in {}", path.display());
                }
                process::exit(INTERRUPTED);
            }
            crate::say!("\nstopping (once more to stop at once) …");
        })?;
        Ok(stop)
    }

    /// Whether to stop.
    pub fn wished(&self) -> bool {
        self.0.wished.load(Ordering::Relaxed)
    }

    /// Sets the flag.
    #[cfg(test)]
    pub fn wish(&self) {
        self.0.wished.store(true, Ordering::SeqCst);
    }

    /// A folder to remove should the process end at once.
    pub fn doom(&self, made: Made) {
        self.doomed().push(made);
    }

    /// A folder to tell of should the process end at once.
    pub fn keep(&self, path: &Path) {
        *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.into());
    }

    /// The folder is gone, or meant to stay.
    pub fn spare(&self, made: &Made) {
        self.doomed().retain(|doomed| doomed != made);
    }

    fn doomed(&self) -> std::sync::MutexGuard<'_, Vec<Made>> {
        self.0.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
