//! What `lab` says while it works.

use std::time::Instant;

use anyhow::Result;

/// Says what happens, each line with the seconds since the beginning.
pub(crate) struct Progress {
    since: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now() }
    }

    /// Says one line.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("[{:6.1} s] {text}", self.since.elapsed().as_secs_f64());
    }

    /// Says what begins, does it, and says how long it took.
    pub(crate) fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.say(what);
        let begun = Instant::now();
        let made = work()?;
        self.say(&format!("{what}: done in {:.1} s", begun.elapsed().as_secs_f64()));
        Ok(made)
    }
}
