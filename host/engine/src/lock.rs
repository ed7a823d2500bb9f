//! One operation at a time per platform.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use runner_types::{Operator, Timestamp};
use serde::{Deserialize, Serialize};

use crate::state;

/// Who holds the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run: String,
    /// Who began it.
    pub operator: Operator,
    /// Since when.
    pub since: Timestamp,
    /// Process.
    pub process: u32,
}

/// The platform is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another operation runs.
    #[error("another operation runs on this platform{}", holder(.0))]
    Held(Option<Holder>),
    /// The file system failed.
    #[error("cannot use the lock {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn holder(holder: &Option<Holder>) -> String {
    holder.as_ref().map_or_else(String::new, |holder| {
        format!(": run {} by {} since {} (process {})", holder.run, holder.operator, holder.since, holder.process)
    })
}

/// A locked file. Dropped, it is unlocked at once: closing it would not do that while a program that another thread is
/// just starting still has a copy of the descriptor.
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Locked {
    /// Locks a file, unless somebody else has it.
    ///
    /// # Errors
    /// The file, when it is locked or the file system fails.
    pub(crate) fn new(file: File) -> Result<Self, (File, TryLockError)> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err((file, error)),
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it unlocks it too, if later.
        let _ = self.0.unlock();
    }
}

/// A held platform, until it is dropped or the process ends.
#[derive(Debug)]
pub struct PlatformLock {
    _file: Locked,
}

impl PlatformLock {
    /// Takes the platform, or says who has it.
    ///
    /// # Errors
    /// When another operation holds it or the file system fails.
    pub fn take(path: &Path, holder: &Holder) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.display().to_string(), source };
        let directory = path.parent().unwrap_or(Path::new(""));
        state::make_directory(directory).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        state::share(&file, directory).map_err(failed)?;
        let mut locked = match Locked::new(file) {
            Ok(locked) => locked,
            Err((mut file, TryLockError::WouldBlock)) => {
                let mut text = String::new();
                // The holder may be writing its name just now: without it the refusal stands all the same.
                let _ = file.read_to_string(&mut text);
                return Err(LockError::Held(serde_json::from_str(&text).ok()));
            }
            Err((_, TryLockError::Error(source))) => return Err(failed(source)),
        };
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            serde_json::to_writer(&mut *file, holder)?;
            file.flush()
        };
        write(&mut locked.0).map_err(failed)?;
        Ok(Self { _file: locked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_comer_sees_who_has_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("locks/p.lock");
        let holder = Holder {
            run: "r1".to_owned(),
            operator: Operator { user: "ann".to_owned(), host: "bastion".to_owned() },
            since: Timestamp::from_unix_millis(0),
            process: 7,
        };
        let held = PlatformLock::take(&path, &holder).unwrap();
        let refused = PlatformLock::take(&path, &holder).unwrap_err().to_string();
        assert!(refused.contains("run r1 by ann@bastion since 1970-01-01"), "{refused}");
        drop(held);
        PlatformLock::take(&path, &holder).unwrap();
    }
}
