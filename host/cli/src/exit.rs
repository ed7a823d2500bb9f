//! Exit codes: the one table that `--help`, the README and every end of a command use.

use std::fmt::Write as _;

use runner_types::RunOutcome;

/// How a command ended, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Exit {
    Succeeded,
    Internal,
    Usage,
    Failed,
    Unreachable,
    Denied,
    Refused,
    Declined,
    Unanswerable,
    Cancelled,
    InDoubt,
    Stuck,
    Locked,
    Aborted,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub(crate) const ALL: [Self; 14] = [
        Self::Succeeded,
        Self::Internal,
        Self::Usage,
        Self::Failed,
        Self::Unreachable,
        Self::Denied,
        Self::Refused,
        Self::Declined,
        Self::Unanswerable,
        Self::Cancelled,
        Self::InDoubt,
        Self::Stuck,
        Self::Locked,
        Self::Aborted,
    ];

    /// The code that the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Failed => 3,
            Self::Unreachable => 4,
            Self::Denied => 5,
            Self::Refused => 6,
            Self::Declined => 7,
            Self::Unanswerable => 8,
            Self::Cancelled => 9,
            Self::InDoubt => 10,
            Self::Stuck => 11,
            Self::Locked => 12,
            Self::Aborted => 130,
        }
    }

    /// One word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Declined => "declined",
            Self::Unanswerable => "unanswerable",
            Self::Cancelled => "cancelled",
            Self::InDoubt => "in-doubt",
            Self::Stuck => "stuck",
            Self::Locked => "locked",
            Self::Aborted => "aborted",
        }
    }

    /// What it means, in one line.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Succeeded => "everything ended well",
            Self::Internal => "runner itself failed, or a file that it keeps is damaged",
            Self::Usage => "wrong usage, or an input file that is wrong; nothing was begun",
            Self::Failed => "a step or a check failed; with `on-failure: back-out`, it was backed out",
            Self::Unreachable => "a host or an API did not answer",
            Self::Denied => "a plugin wanted what it is not granted",
            Self::Refused => "a precondition, a gate or a plugin's check said no",
            Self::Declined => "the operator did not answer `y`",
            Self::Unanswerable => "nobody can answer a question; nothing was changed by it",
            Self::Cancelled => "stopped by Ctrl-C or SIGTERM at a safe place",
            Self::InDoubt => "an effect was begun and nobody knows how it ended",
            Self::Stuck => "backing out what failed has failed too",
            Self::Locked => "another operation runs on the platform",
            Self::Aborted => "ended at once by a second Ctrl-C",
        }
    }

    /// The exit of a run that ended so.
    pub(crate) const fn of(outcome: RunOutcome) -> Self {
        match outcome {
            RunOutcome::Succeeded => Self::Succeeded,
            RunOutcome::Refused => Self::Refused,
            RunOutcome::Denied => Self::Denied,
            RunOutcome::Unreachable => Self::Unreachable,
            RunOutcome::Failed | RunOutcome::BackedOut => Self::Failed,
            RunOutcome::Declined => Self::Declined,
            RunOutcome::Unanswerable => Self::Unanswerable,
            RunOutcome::Cancelled => Self::Cancelled,
            RunOutcome::InDoubt => Self::InDoubt,
            RunOutcome::Stuck => Self::Stuck,
        }
    }

    /// The table as `--help` shows it.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            let _ = writeln!(text, "  {:>3}  {:<12}  {}", exit.code(), exit.name(), exit.meaning());
        }
        text
    }

    /// The table as the README holds it.
    #[cfg(test)]
    pub(crate) fn markdown() -> String {
        let mut text = String::from("| code | name | meaning |\n|---|---|---|\n");
        for exit in Self::ALL {
            let _ = writeln!(text, "| {} | {} | {} |", exit.code(), exit.name(), exit.meaning());
        }
        text
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    }

    #[test]
    fn the_readme_holds_this_very_table() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        if let Ok(text) = std::fs::read_to_string(readme) {
            let table = Exit::markdown();
            assert!(text.contains(&table), "README.md must hold:\n{table}");
        }
    }
}
