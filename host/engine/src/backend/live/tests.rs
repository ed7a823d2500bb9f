//! What the tests of capabilities share.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use super::process::ProcessShell;
use super::secrets::Secrets;
use super::{LiveHost, Shell};
use crate::artifacts::DirectoryStore;

/// This machine as a host, with its store in a folder.
pub(super) fn here(store: &Path) -> LiveHost {
    with_secrets(store, Secrets::new(&IndexMap::new(), Path::new(".")))
}

/// This machine as a host of an inventory with these secrets.
pub(super) fn with_secrets(store: &Path, secrets: Secrets) -> LiveHost {
    host(store, Arc::new(ProcessShell { effects: None }), secrets)
}

/// A host reached by a shell.
pub(super) fn host(store: &Path, shell: Arc<dyn Shell>, secrets: Secrets) -> LiveHost {
    let store = Arc::new(DirectoryStore::open(store).unwrap());
    LiveHost { name: "here".to_owned(), shell, secrets: Arc::new(secrets), store }
}
