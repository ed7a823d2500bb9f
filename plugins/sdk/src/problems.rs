//! Why an operation does not go on.

use crate::{Failure, FailureKind, Finding, Problem, RetryAdvice};

/// A finding.
pub fn finding(code: impl Into<String>, subject: impl Into<String>, message: impl Into<String>) -> Finding {
    Finding { code: code.into(), subject: subject.into(), message: message.into() }
}

/// A refusal with one finding.
pub fn refused(code: impl Into<String>, subject: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem::Refused(vec![finding(code, subject, message)])
}

/// The operator said no; `what` says to what.
pub fn declined(what: impl Into<String>) -> Problem {
    Problem::Declined(what.into())
}

/// A failure that the plugin itself found; a failure of the host is passed on as it came.
pub fn failure(kind: FailureKind, subject: impl Into<String>, message: impl Into<String>) -> Failure {
    let retry = match kind {
        FailureKind::Unreachable | FailureKind::TimedOut => RetryAdvice::Later,
        FailureKind::Denied(_)
        | FailureKind::NotFound
        | FailureKind::Conflict(_)
        | FailureKind::Failed(_)
        | FailureKind::NotAttempted
        | FailureKind::Other(_) => RetryAdvice::AfterChange,
        FailureKind::Invalid | FailureKind::TooLarge | FailureKind::Unsupported => RetryAdvice::No,
    };
    Failure { kind, retry, subject: subject.into(), message: message.into() }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Problem::Failed(failure)
    }
}

/// Findings of all checks, so that a refusal names every one of them and not only the first.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// No findings yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding.
    pub fn add(&mut self, code: impl Into<String>, subject: impl Into<String>, message: impl Into<String>) {
        self.0.push(finding(code, subject, message));
    }

    /// Adds several.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.0.extend(findings);
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A refusal when anything was found.
    pub fn refuse(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::Refused(self.0)) }
    }

    /// The findings, to be shown as warnings.
    pub fn into_warnings(self) -> Vec<Finding> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_findings_are_in_the_refusal() {
        let mut findings = Findings::new();
        assert!(findings.is_empty());
        findings.add("a", "x", "first");
        findings.add("b", "y", "second");
        let refusal = findings.refuse();
        assert!(matches!(refusal, Err(Problem::Refused(all)) if all.len() == 2));
        assert!(Findings::new().refuse().is_ok());
    }
}
