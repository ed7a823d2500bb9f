//! Facts on disk: a state file and a log of the changes since.
//!
//! `state.jsonl` begins with a header that names the log; each further line is one fact. `changes-N.jsonl` has one line
//! a change, `HASH JSON`, written before the change is answered. A line that was cut off by a crash is set aside; a
//! line damaged anywhere else is refused. When the log has outgrown the state, a new state file replaces both.
//! Tolerated: a killed process at any moment. Not promised: a change just answered survives the machine's power cut.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Change, Fact, Indexer, Key, Memory};
use crate::lock::Locked;
use crate::state;

/// Format of the files that this version writes and reads.
const FORMAT: u32 = 1;
/// The log is never folded into the state before it has this many bytes.
const SMALLEST_LOG: u64 = 1 << 20;

/// Why the facts could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by another process", .0.display())]
    Busy(PathBuf),
    /// A line is not what was written.
    #[error("{} line {line} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Written by another version.
    #[error("{} has format {found}, this version reads {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// Which log continues this state.
    log: u64,
    /// What the platform was made from.
    origin: String,
}

/// Facts in memory and on disk.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    memory: Memory,
    header: Header,
    log: File,
    log_bytes: u64,
    state_bytes: u64,
    _lock: Locked,
}

impl Store {
    /// Opens what is there; `None` when there is nothing yet.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(directory: &Path, indexer: Indexer) -> Result<Option<Self>, StoreError> {
        state::make_directory(directory).map_err(at(directory))?;
        let lock = lock(directory)?;
        let state = directory.join("state.jsonl");
        if !state.exists() {
            return Ok(None);
        }
        let (header, mut memory, state_bytes) = read_state(&state, indexer)?;
        let (log, log_bytes) = read_log(directory, header.log, &mut memory)?;
        Ok(Some(Self { directory: directory.to_owned(), memory, header, log, log_bytes, state_bytes, _lock: lock }))
    }

    /// Writes first facts. `origin` says what they were made from.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn create(directory: &Path, origin: &str, change: Change, indexer: Indexer) -> Result<Self, StoreError> {
        state::make_directory(directory).map_err(at(directory))?;
        let lock = lock(directory)?;
        let mut memory = Memory::new(indexer);
        memory.apply(change);
        let header = Header { format: FORMAT, log: 1, origin: origin.to_owned() };
        let (log, state_bytes) = write_generation(directory, &header, &memory)?;
        Ok(Self { directory: directory.to_owned(), memory, header, log, log_bytes: 0, state_bytes, _lock: lock })
    }

    /// The facts.
    #[must_use]
    pub fn facts(&self) -> &Memory {
        &self.memory
    }

    /// What the platform was made from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.header.origin
    }

    /// Makes a change last, then true. An empty change costs nothing.
    ///
    /// # Errors
    /// When it could not be written; then nothing changed.
    pub fn commit(&mut self, change: Change) -> Result<(), StoreError> {
        if change.is_empty() {
            return Ok(());
        }
        let path = self.log_path();
        let line = log_line(&change).map_err(at(&path))?;
        if let Err(source) = self.log.write_all(&line) {
            // Half a line must not stand before the next one.
            let _ = self.log.set_len(self.log_bytes);
            let _ = self.log.seek(SeekFrom::Start(self.log_bytes));
            return Err(StoreError::Io { path, source });
        }
        self.log_bytes += line.len() as u64;
        self.memory.apply(change);
        if self.log_bytes > SMALLEST_LOG
            && self.log_bytes > 2 * self.state_bytes
            && let Err(error) = self.compact()
        {
            // The change is safe in the log, which only stays longer than it should.
            tracing::warn!(%error, "the simulated platform's log could not be folded into its state");
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        let old = self.log_path();
        let header = Header { log: self.header.log + 1, ..self.header.clone() };
        let (log, state_bytes) = write_generation(&self.directory, &header, &self.memory)?;
        self.header = header;
        self.log = log;
        self.log_bytes = 0;
        self.state_bytes = state_bytes;
        // Nothing names it any more; a later compaction or reset finds it if it stays.
        let _ = fs::remove_file(old);
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        log_path(&self.directory, self.header.log)
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> StoreError + '_ {
    |source| StoreError::Io { path: path.to_owned(), source }
}

fn log_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("changes-{number}.jsonl"))
}

fn lock(directory: &Path) -> Result<Locked, StoreError> {
    let path = directory.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
    state::share(&file, directory).map_err(at(&path))?;
    Locked::new(file).map_err(|(_, error)| match error {
        TryLockError::WouldBlock => StoreError::Busy(directory.to_owned()),
        TryLockError::Error(error) => at(&path)(error),
    })
}

fn checksum(text: &[u8]) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// `HASH {"key":fact,…}`; null removes: no fact is null itself.
fn log_line(change: &Change) -> io::Result<Vec<u8>> {
    let mut text = String::from("{");
    for (key, fact) in change {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(key.as_ref())?);
        text.push(':');
        text.push_str(fact.as_deref().unwrap_or("null"));
    }
    text.push('}');
    Ok(format!("{} {text}\n", checksum(text.as_bytes())).into_bytes())
}

/// A new state file and its empty log; the state's rename is what makes both count.
fn write_generation(directory: &Path, header: &Header, memory: &Memory) -> Result<(File, u64), StoreError> {
    let log_path = log_path(directory, header.log);
    let log = File::create(&log_path).map_err(at(&log_path))?;
    state::share(&log, directory).map_err(at(&log_path))?;
    let path = directory.join("state.jsonl.new");
    let write = || -> io::Result<u64> {
        let mut file = BufWriter::new(File::create(&path)?);
        state::share(file.get_ref(), directory)?;
        serde_json::to_writer(&mut file, header)?;
        file.write_all(b"\n")?;
        for (key, fact) in memory.iter() {
            serde_json::to_writer(&mut file, key.as_ref())?;
            file.write_all(b" ")?;
            file.write_all(fact.as_bytes())?;
            file.write_all(b"\n")?;
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&path, directory.join("state.jsonl"))?;
        // From here on the new state counts; that it is synced late matters in a power cut alone.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(bytes)
    };
    let bytes = write().map_err(at(&path))?;
    Ok((log, bytes))
}

fn read_state(path: &Path, indexer: Indexer) -> Result<(Header, Memory, u64), StoreError> {
    let damaged = |line: usize, reason: String| StoreError::Damaged { path: path.to_owned(), line, reason };
    let file = File::open(path).map_err(at(path))?;
    let bytes = file.metadata().map_err(at(path))?.len();
    let mut lines = BufReader::new(file).lines();
    let first = lines.next().transpose().map_err(at(path))?;
    let header: Header =
        serde_json::from_str(first.as_deref().unwrap_or_default()).map_err(|error| damaged(1, error.to_string()))?;
    if header.format != FORMAT {
        return Err(StoreError::Format { path: path.to_owned(), found: header.format });
    }
    let mut memory = Memory::new(indexer);
    for (number, line) in lines.enumerate() {
        let line = line.map_err(at(path))?;
        let wrong = |error: serde_json::Error| damaged(number + 2, error.to_string());
        let mut parts = serde_json::Deserializer::from_str(&line).into_iter::<String>();
        let key = match parts.next() {
            Some(key) => key.map_err(wrong)?,
            None => return Err(damaged(number + 2, "not a key and a value".to_owned())),
        };
        let fact = line.get(parts.byte_offset()..).unwrap_or_default().trim();
        serde_json::from_str::<serde::de::IgnoredAny>(fact).map_err(wrong)?;
        memory.set(key.into(), Some(fact.into()));
    }
    Ok((header, memory, bytes))
}

/// Applies the log's whole lines and opens it for what follows.
fn read_log(directory: &Path, number: u64, memory: &mut Memory) -> Result<(File, u64), StoreError> {
    let path = log_path(directory, number);
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(at(&path))?;
    let mut reader = BufReader::new(&file);
    let mut good = 0u64;
    let mut count = 0;
    let mut line = Vec::new();
    let torn = loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(at(&path))?;
        if read == 0 {
            break false;
        }
        count += 1;
        match parse_line(&line) {
            Ok(change) => memory.apply(change),
            Err(reason) => {
                let mut rest = [0u8; 1];
                if io::Read::read(&mut reader, &mut rest).map_err(at(&path))? == 0 {
                    break true;
                }
                return Err(StoreError::Damaged { path: path.clone(), line: count, reason });
            }
        }
        good += read as u64;
    };
    if torn {
        tracing::warn!(file = %path.display(), line = count, "the last change was cut off before it was answered; set aside");
        let aside = directory.join(format!("changes-{number}.torn"));
        fs::write(&aside, &line).map_err(at(&aside))?;
        file.set_len(good).map_err(at(&path))?;
    }
    file.seek(SeekFrom::Start(good)).map_err(at(&path))?;
    Ok((file, good))
}

fn parse_line(line: &[u8]) -> Result<Change, String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let text = text.strip_suffix('\n').ok_or("the line has no end")?;
    let (sum, text) = text.split_once(' ').ok_or("the line has no checksum")?;
    if sum != checksum(text.as_bytes()) {
        return Err("its checksum does not fit".to_owned());
    }
    let parsed: std::collections::BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(parsed
        .into_iter()
        .map(|(key, fact)| -> (Key, Option<Fact>) {
            let fact = (!fact.is_null()).then(|| fact.to_string().into());
            (key.into(), fact)
        })
        .collect())
}

#[cfg(test)]
mod tests;
