//! What went wrong, for people: the chain of causes told once, what to do next, and the exit code.

use std::fmt;

use runner_engine::backups::BackupError;
use runner_engine::journal::Damage;
use runner_engine::lock::LockError;
use runner_engine::plugin::{CatalogError, PackageError};
use runner_engine::project::ProjectError;
use runner_types::{Diagnostics, PatternError};

use crate::args::Common;
use crate::exit::Exit;
use crate::out;

/// A problem that the command line itself found.
#[derive(Debug)]
pub(crate) struct Problem {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// Wrong usage, or a wrong input file.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// With what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// What helps where a plugin is not found.
const NAME_PLUGINS: &str = "name the directory of the plugins with --plugins";

/// The exit code of an error, and what to do about it.
fn judge(error: &(dyn std::error::Error + 'static), common: &Common) -> Option<(Exit, Option<String>)> {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return Some((problem.exit, problem.hint.clone()));
    }
    if error.is::<Diagnostics>() || error.is::<PatternError>() {
        return Some((Exit::Usage, None));
    }
    if let Some(error) = error.downcast_ref::<ProjectError>() {
        return match error {
            ProjectError::Files(_)
            | ProjectError::Unreadable { .. }
            | ProjectError::Connection { .. }
            | ProjectError::Unavailable(_)
            | ProjectError::Simulated(_) => Some((Exit::Usage, None)),
            ProjectError::NoPlugin { .. } => Some((Exit::Usage, Some(NAME_PLUGINS.to_owned()))),
            ProjectError::Untrusted { .. } => Some((Exit::Refused, None)),
            ProjectError::Unanswerable(_) => {
                Some((Exit::Unanswerable, Some("begin it at a terminal, or answer in advance".to_owned())))
            }
            ProjectError::Store(_) | ProjectError::Journal(_) => Some((Exit::Internal, None)),
            // They stand for what they hold, which the chain of causes does not show.
            ProjectError::Catalog(inner) => judge(inner, common),
            ProjectError::Backups(inner) => judge(inner, common),
            ProjectError::Lock(inner) => judge(inner, common),
        };
    }
    if let Some(error) = error.downcast_ref::<LockError>() {
        return Some(match error {
            LockError::Held(_) => {
                (Exit::Locked, Some("wait until it has ended, or stop it with Ctrl-C in its terminal".to_owned()))
            }
            LockError::Io { .. } => (Exit::Internal, None),
        });
    }
    if let Some(error) = error.downcast_ref::<BackupError>() {
        return Some(match error {
            BackupError::NoneForUpdate { .. } | BackupError::NoneForBackout { .. } | BackupError::NotWhole { .. } => {
                (Exit::Refused, Some(format!("runner backups list{} shows what there is", common.state_option())))
            }
            BackupError::Io { .. } | BackupError::Damaged { .. } => (Exit::Internal, None),
        });
    }
    if let Some(error) = error.downcast_ref::<CatalogError>() {
        return Some(match error {
            CatalogError::Engine(_) => (Exit::Internal, None),
            CatalogError::Missing { .. } => (Exit::Usage, Some(NAME_PLUGINS.to_owned())),
            CatalogError::OtherContract { path, .. } => {
                let help = format!(
                    "build it anew against the wit/ of this runner, and pack it; `runner plugin inspect {path}` shows what \
                     it says of itself"
                );
                (Exit::Usage, Some(help))
            }
            CatalogError::Unreadable { .. }
            | CatalogError::Huge { .. }
            | CatalogError::Package { .. }
            | CatalogError::Manifest { .. }
            | CatalogError::Twice { .. }
            | CatalogError::Contract { .. }
            | CatalogError::Load { .. } => (Exit::Usage, None),
        });
    }
    if error.is::<PackageError>() {
        return Some((Exit::Usage, None));
    }
    if error.is::<Damage>() {
        let hint = "what stands before that place is whole; keep the directory as it is and look at it by eye";
        return Some((Exit::Internal, Some(hint.to_owned())));
    }
    None
}

/// The error as text and its exit code.
pub(crate) fn tell(error: &anyhow::Error, common: &Common) -> (String, Exit) {
    let mut text = String::new();
    let mut judged = None;
    for cause in error.chain() {
        judged = judged.or_else(|| judge(cause, common));
        let message = cause.to_string();
        // Some errors name their cause themselves.
        if !text.contains(message.trim()) {
            text.push_str(if text.is_empty() { "error: " } else { "\n  caused by: " });
            text.push_str(&message.trim_end().replace('\n', "\n  "));
        }
    }
    let (exit, hint) = judged.unwrap_or((Exit::Internal, None));
    if let Some(hint) = hint {
        text.push_str("\n  hint: ");
        text.push_str(&hint);
    }
    text.push('\n');
    (text, exit)
}

/// Shows an error and gives its exit code.
pub(crate) fn show(error: &anyhow::Error, common: &Common) -> Exit {
    let (text, exit) = tell(error, common);
    tracing::error!(error = %format!("{error:#}"), code = exit.code(), "command failed");
    out::stderr(&text);
    exit
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_chain_is_told_once_with_its_hint() {
        let inner = Problem::usage("no such file").hint("give it with -i");
        let error = Err::<(), _>(inner).context("cannot read inventory.json").unwrap_err();
        let (text, exit) = tell(&error, &Common::default());
        assert_eq!(text, "error: cannot read inventory.json\n  caused by: no such file\n  hint: give it with -i\n");
        assert_eq!(exit, Exit::Usage);
    }

    #[test]
    fn a_cause_that_its_error_names_is_not_told_twice() {
        let source = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(LockError::Io { path: "/l".to_owned(), source });
        let (text, exit) = tell(&error, &Common::default());
        assert_eq!(text.matches("disk on fire").count(), 1, "{text}");
        assert_eq!(exit, Exit::Internal);
        let held = anyhow::Error::new(LockError::Held(None));
        assert_eq!(tell(&held, &Common::default()).1, Exit::Locked);
    }

    #[test]
    fn a_command_that_is_named_looks_where_this_one_did() {
        let error = anyhow::Error::new(BackupError::NoneForBackout { component: "etcd".to_owned() });
        let common = Common { state_dir: Some("/no such".into()), ..Common::default() };
        let (text, _) = tell(&error, &common);
        assert!(text.contains("runner backups list --state-dir '/no such' shows"), "{text}");
    }

    #[test]
    fn what_nobody_judged_is_internal() {
        assert_eq!(tell(&anyhow::anyhow!("odd"), &Common::default()), ("error: odd\n".to_owned(), Exit::Internal));
    }
}
