//! Failures that backends answer with, one constructor a kind.

use crate::contract::types::{Conflict, Exit};
use crate::contract::{Failure, FailureKind, RetryAdvice};

/// At most this much of what a process said goes into a failure.
const TAIL: usize = 8 * 1024;

fn failure(kind: FailureKind, retry: RetryAdvice, subject: impl Into<String>, message: impl Into<String>) -> Failure {
    Failure { kind, retry, subject: subject.into(), message: message.into() }
}

/// The thing named does not exist.
#[must_use]
pub fn not_found(subject: impl Into<String>, message: impl Into<String>) -> Failure {
    failure(FailureKind::NotFound, RetryAdvice::AfterChange, subject, message)
}

/// The request makes no sense.
#[must_use]
pub fn invalid(subject: impl Into<String>, message: impl Into<String>) -> Failure {
    failure(FailureKind::Invalid, RetryAdvice::No, subject, message)
}

/// The host or API does not answer.
#[must_use]
pub fn unreachable(subject: impl Into<String>, message: impl Into<String>) -> Failure {
    failure(FailureKind::Unreachable, RetryAdvice::Later, subject, message)
}

/// Kind of [`no_rights`].
pub const NO_RIGHTS: &str = "no-rights";

/// The host answers, and does not give the rights that effects need there: nothing was begun.
#[must_use]
pub fn no_rights(subject: impl Into<String>, message: impl Into<String>) -> Failure {
    other(NO_RIGHTS, subject, message)
}

/// The time given is over.
#[must_use]
pub fn timed_out(subject: impl Into<String>, message: impl Into<String>) -> Failure {
    failure(FailureKind::TimedOut, RetryAdvice::Later, subject, message)
}

/// The answer would not fit.
#[must_use]
pub fn too_large(subject: impl Into<String>, message: impl Into<String>) -> Failure {
    failure(FailureKind::TooLarge, RetryAdvice::No, subject, message)
}

/// This platform cannot do it.
#[must_use]
pub fn unsupported(subject: impl Into<String>, message: impl Into<String>) -> Failure {
    failure(FailureKind::Unsupported, RetryAdvice::No, subject, message)
}

/// Left out because an earlier item of the call failed.
#[must_use]
pub fn not_attempted(subject: impl Into<String>) -> Failure {
    failure(
        FailureKind::NotAttempted,
        RetryAdvice::Later,
        subject,
        "left out because an earlier item of the call failed",
    )
}

/// Something stands in the way.
#[must_use]
pub fn conflict(
    subject: impl Into<String>,
    message: impl Into<String>,
    blockers: Vec<String>,
    found: Option<String>,
) -> Failure {
    failure(FailureKind::Conflict(Conflict { blockers, found }), RetryAdvice::AfterChange, subject, message)
}

/// It ran to its end and did not succeed; of `tail` the end is kept.
#[must_use]
pub fn failed(subject: impl Into<String>, message: impl Into<String>, code: Option<i32>, tail: &str) -> Failure {
    let mut start = tail.len().saturating_sub(TAIL);
    while !tail.is_char_boundary(start) {
        start += 1;
    }
    let exit = Exit { code, signal: None, tail: tail.get(start..).unwrap_or_default().to_owned() };
    failure(FailureKind::Failed(exit), RetryAdvice::AfterChange, subject, message)
}

/// A kind of failure that the contract does not name.
#[must_use]
pub fn other(kind: impl Into<String>, subject: impl Into<String>, message: impl Into<String>) -> Failure {
    failure(FailureKind::Other(kind.into()), RetryAdvice::AfterChange, subject, message)
}
