//! What the tests of capabilities share.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use super::process::ProcessShell;
use super::secrets::Secrets;
use super::{LiveHost, Shell};
use crate::artifacts::DirectoryStore;

/// This machine as a host. Its store is in a directory that goes with the process.
pub(super) fn here() -> LiveHost {
    with_secrets(Secrets::new(&IndexMap::new(), Path::new(".")))
}

/// This machine as a host of an inventory with these secrets.
pub(super) fn with_secrets(secrets: Secrets) -> LiveHost {
    host(Arc::new(ProcessShell { effects: None }), secrets)
}

/// A host reached by a shell.
pub(super) fn host(shell: Arc<dyn Shell>, secrets: Secrets) -> LiveHost {
    let folder = tempfile::tempdir().unwrap().keep();
    let store = Arc::new(DirectoryStore::open(&folder).unwrap());
    LiveHost { name: "here".to_owned(), shell, secrets: Arc::new(secrets), store }
}
