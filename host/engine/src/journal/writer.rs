//! Appending: one thread writes, many calls share a flush.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use runner_types::{Digest, Entry, Line, RunHeader, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{ENTRIES, HASH_FIELD, HEADER, LINE_END, NOT_HASHED};
use crate::state;

/// Entries that nobody waits for reach the file within this time.
const LAZY: Duration = Duration::from_millis(20);
/// Kept free on the journal's file system, so that a run on a full disk can still say how it ended.
const RESERVE: u64 = 1 << 20;
/// A run does not begin with less than this much room.
const WANTED: u64 = 32 << 20;
/// Name of the file that holds the reserve.
const RESERVE_FILE: &str = ".reserve";

/// When an append is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// At once; the entry reaches the file soon, and the disk with the next flush.
    Lazy,
    /// When the entry, and all before it, are on disk.
    Flushed,
}

/// The journal cannot be made or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The directory cannot be made.
    #[error("cannot make the run's directory {path}: {reason}")]
    Create {
        /// The directory.
        path: String,
        /// Why.
        reason: String,
    },
    /// Too little room to begin.
    #[error("only {free} MiB are free at {path}; a run wants {} MiB for its journal: make room, or name another place by --state-dir", WANTED >> 20)]
    Room {
        /// The directory.
        path: String,
        /// Free, in MiB.
        free: u64,
    },
    /// An append failed; the journal takes no further entry.
    #[error("cannot write the journal {path}: {reason}")]
    Append {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// What the writing thread has reached, as a number of entries.
#[derive(Debug, Clone, Default)]
struct Progress {
    synced: u64,
    failed: Option<JournalError>,
}

struct State {
    pending: Vec<u8>,
    /// Number of entries appended so far: also the number of the next one.
    seq: u64,
    prev: Digest,
    /// Entries up to this number are to be synced.
    wanted: u64,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

/// The open journal of a run. Dropping it writes what is pending.
pub struct Journal {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    thread: Option<std::thread::JoinHandle<()>>,
    directory: PathBuf,
}

impl Journal {
    /// Makes the directory of a run: all of it or nothing.
    ///
    /// # Errors
    /// When the directory exists, cannot be made or has too little room.
    pub fn create(directory: &Path, header: &RunHeader) -> Result<Self, JournalError> {
        let failed = |error: &dyn std::fmt::Display| JournalError::Create {
            path: directory.display().to_string(),
            reason: error.to_string(),
        };
        let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
            return Err(failed(&"not a path of a directory"));
        };
        state::make_directory(parent).map_err(|e| failed(&e))?;
        let room = rustix::fs::statvfs(parent).map_err(|e| failed(&e))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < WANTED {
            return Err(JournalError::Room { path: parent.display().to_string(), free: free >> 20 });
        }
        let text = serde_json::to_vec_pretty(header).map_err(|e| failed(&e))?;
        let temporary = parent.join(format!(".{}.new", name.to_string_lossy()));
        let made = (|| -> io::Result<File> {
            if temporary.exists() {
                fs::remove_dir_all(&temporary)?;
            }
            state::make_directory(&temporary)?;
            let mut file = new_file(&temporary, HEADER)?;
            file.write_all(&text)?;
            file.sync_all()?;
            reserve(&temporary)?;
            let entries = new_file(&temporary, ENTRIES)?;
            entries.try_lock().map_err(io::Error::from)?;
            entries.sync_all()?;
            File::open(&temporary)?.sync_all()?;
            if directory.exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(&temporary, directory)?;
            File::open(parent)?.sync_all()?;
            Ok(entries)
        })();
        let entries = made.map_err(|error| {
            let _ = fs::remove_dir_all(&temporary);
            failed(&error)
        })?;
        let first = Digest::from_bytes(&Sha256::digest(&text).into());
        Self::start(directory, entries, first).map_err(|e| failed(&e))
    }

    fn start(directory: &Path, entries: File, prev: Digest) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { pending: Vec::new(), seq: 0, prev, wanted: 0, closed: false }),
            wake: Condvar::new(),
        });
        let (report, progress) = watch::channel(Progress::default());
        let writer = Writer { shared: Arc::clone(&shared), entries, directory: directory.to_owned(), report };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, progress, thread: Some(thread), directory: directory.to_owned() })
    }

    /// The run's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// When this or an earlier entry could not be written: the run must stop.
    pub async fn append(&self, entry: Entry, durability: Durability) -> Result<(), JournalError> {
        let number = self.push(entry, durability)?;
        if durability == Durability::Lazy {
            return Ok(());
        }
        let mut progress = self.progress.clone();
        let reached = progress
            .wait_for(|progress| progress.failed.is_some() || progress.synced >= number)
            .await
            .map_err(|_| self.broken("its writer is gone"))?;
        match &reached.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Appends an entry that nobody waits for.
    ///
    /// # Errors
    /// When an earlier entry could not be written.
    pub fn append_lazily(&self, entry: Entry) -> Result<(), JournalError> {
        self.push(entry, Durability::Lazy).map(|_| ())
    }

    /// Puts an entry into the order of the journal; answers the number of entries with it.
    fn push(&self, entry: Entry, durability: Durability) -> Result<u64, JournalError> {
        if let Some(error) = &self.progress.borrow().failed {
            return Err(error.clone());
        }
        let mut state = self.shared.lock();
        let time = Timestamp::from(SystemTime::now());
        let line = Line { seq: state.seq, time, prev: state.prev.clone(), entry, hash: Digest::zero() };
        let start = state.pending.len();
        if let Err(error) = serde_json::to_writer(&mut state.pending, &line) {
            // Half a line would make all that follow it unreadable.
            state.pending.truncate(start);
            return Err(self.broken(&error.to_string()));
        }
        // The hash takes the place of the zeroes.
        let hashed = state.pending.len() - NOT_HASHED;
        let hash = Digest::from_bytes(&Sha256::digest(state.pending.get(start..hashed).unwrap_or_default()).into());
        state.pending.truncate(hashed);
        for part in [HASH_FIELD, hash.as_str(), LINE_END] {
            state.pending.extend_from_slice(part.as_bytes());
        }
        state.pending.push(b'\n');
        state.prev = hash;
        state.seq += 1;
        if durability == Durability::Flushed {
            state.wanted = state.seq;
            self.shared.wake.notify_one();
        }
        Ok(state.seq)
    }

    fn broken(&self, reason: &str) -> JournalError {
        JournalError::Append { path: self.directory.join(ENTRIES).display().to_string(), reason: reason.to_owned() }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Shared {
    /// A panic while the lock was held leaves at worst a line without its successor: the state stays usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    shared: Arc<Shared>,
    entries: File,
    directory: PathBuf,
    report: watch::Sender<Progress>,
}

impl Writer {
    fn run(mut self) {
        let mut synced = 0;
        let mut bytes = Vec::new();
        loop {
            let mut state = self.shared.lock();
            if state.wanted <= synced && !state.closed {
                let waited = self.shared.wake.wait_timeout(state, LAZY);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            bytes.clear();
            std::mem::swap(&mut bytes, &mut state.pending);
            let (seq, sync, closed) = (state.seq, state.wanted > synced, state.closed);
            drop(state);
            let written =
                self.write(&bytes).and_then(|()| if sync || closed { self.entries.sync_data() } else { Ok(()) });
            match written {
                Ok(()) if sync => {
                    synced = seq;
                    self.report.send_modify(|progress| progress.synced = seq);
                }
                Ok(()) => {}
                Err(error) => {
                    let path = self.directory.join(ENTRIES).display().to_string();
                    let failed = JournalError::Append { path, reason: error.to_string() };
                    self.report.send_modify(|progress| progress.failed = Some(failed));
                    return;
                }
            }
            if closed {
                let _ = fs::remove_file(self.directory.join(RESERVE_FILE));
                return;
            }
        }
    }

    /// On a full disk the reserve is given up for what is pending; the run must then stop.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let before = self.entries.metadata()?.len();
        let Err(error) = self.entries.write_all(bytes) else {
            return Ok(());
        };
        if error.kind() == io::ErrorKind::StorageFull {
            self.entries.set_len(before)?;
            fs::remove_file(self.directory.join(RESERVE_FILE))?;
            self.entries.write_all(bytes)?;
            self.entries.sync_data()?;
        }
        Err(error)
    }
}

fn new_file(directory: &Path, name: &str) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(directory.join(name))?;
    state::share(&file, directory)?;
    Ok(file)
}

fn reserve(directory: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(RESERVE_FILE))?;
    state::share(&file, directory)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE)?;
    Ok(())
}
