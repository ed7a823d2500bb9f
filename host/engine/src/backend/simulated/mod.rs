//! The simulated platform.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::artifacts::Store;
use crate::contract::Backend;

pub mod facts;

/// A simulated platform, open.
pub struct Simulated;

/// Why a simulated platform cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SimulatedError(String);

impl Simulated {
    /// Opens a platform, seeded when its directory is new.
    ///
    /// # Errors
    /// When its seed, its behaviours, its faults or its state are wrong.
    pub fn open(
        _directory: &Path,
        seed: &Path,
        _behaviours: &[PathBuf],
        _faults: Option<&Path>,
        _store: Arc<dyn Store>,
    ) -> Result<Self, SimulatedError> {
        Err(SimulatedError(format!(
            "{} cannot be opened",
            seed.display()
        )))
    }
}

impl Backend for Simulated {}
