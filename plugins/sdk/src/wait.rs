//! Waiting for what only asking again can tell. Prefer `kubernetes.wait-for` where the API server can be watched.

use crate::api::clock;
use crate::{Failure, FailureKind, RetryAdvice, problems::failure};

/// How long to go on, and how often to ask, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Over after this long.
    pub time_out: u32,
    /// Between two questions.
    pub interval: u32,
}

impl Patience {
    /// Whole seconds.
    pub fn seconds(time_out: u32, interval: u32) -> Self {
        Self { time_out: time_out.saturating_mul(1000), interval: interval.saturating_mul(1000) }
    }
}

/// Asks until there is an answer. `ask` answers `Ok(Ok(value))` when it has one and `Ok(Err(state))` with what it saw
/// when it has not; the last of these is in the failure when the time is over.
pub fn until<T>(
    what: &str,
    patience: Patience,
    mut ask: impl FnMut() -> Result<Result<T, String>, Failure>,
) -> Result<T, Failure> {
    let begun = clock::elapsed();
    loop {
        let seen = match ask()? {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        let passed = clock::elapsed().saturating_sub(begun);
        if passed >= patience.time_out {
            let seconds = patience.time_out / 1000;
            return Err(failure(FailureKind::TimedOut, what, format!("not so within {seconds} s; last seen: {seen}")));
        }
        clock::sleep(patience.interval.clamp(1, (patience.time_out - passed).max(1)));
    }
}

/// Repeats an effect whose failures say that they may pass by themselves.
pub fn retried<T>(patience: Patience, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let begun = clock::elapsed();
    loop {
        let failure = match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let passed = clock::elapsed().saturating_sub(begun);
        if failure.retry != RetryAdvice::Later || passed >= patience.time_out {
            return Err(failure);
        }
        clock::sleep(patience.interval.clamp(1, (patience.time_out - passed).max(1)));
    }
}
