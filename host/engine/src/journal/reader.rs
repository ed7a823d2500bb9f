//! Reading back: every line is checked against the one before it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use runner_types::{Digest, Line, RunHeader};
use sha2::{Digest as _, Sha256};

use super::{ENTRIES, HEADER, NOT_HASHED};

/// Longest line; larger answers are in the store.
const MAX_LINE: u64 = 64 << 20;
/// Largest header.
const MAX_HEADER: u64 = 64 << 20;

/// Why a journal cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The header is no header.
    #[error("{path} is damaged: {reason}")]
    Header {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A line was changed, removed, swapped or inserted.
    #[error("{path}:{line} is damaged: {reason}")]
    Line {
        /// The file.
        path: String,
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

/// A journal as it was read.
#[derive(Debug)]
pub struct Journal {
    /// The header.
    pub header: RunHeader,
    /// The entries, all bound to each other and to the header.
    pub lines: Vec<Line>,
    /// Bytes at the end that a cut-off write left; they prove nothing.
    pub torn: u64,
}

/// Reads the header of a run.
///
/// # Errors
/// When it cannot be read, or is not one that this runner reads.
pub fn header(directory: &Path) -> Result<(RunHeader, Digest), Damage> {
    let path = directory.join(HEADER);
    let unreadable = |source| Damage::Unreadable { path: path.display().to_string(), source };
    let damaged = |reason: String| Damage::Header { path: path.display().to_string(), reason };
    let mut text = Vec::new();
    File::open(&path).map_err(unreadable)?.take(MAX_HEADER).read_to_end(&mut text).map_err(unreadable)?;
    #[derive(serde::Deserialize)]
    struct Versioned {
        format: runner_types::FormatVersion,
    }
    // The version first: a newer format may have fields that this runner does not know.
    let versioned: Versioned = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    versioned.format.check().map_err(|e| damaged(e.to_string()))?;
    let header = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    Ok((header, Digest::from_bytes(&Sha256::digest(&text).into())))
}

/// Reads a whole journal.
///
/// # Errors
/// With the place, when anything but its end is damaged.
pub fn read(directory: &Path) -> Result<Journal, Damage> {
    let (header, mut prev) = header(directory)?;
    let path: PathBuf = directory.join(ENTRIES);
    let unreadable = |source| Damage::Unreadable { path: path.display().to_string(), source };
    let mut reader = BufReader::new(File::open(&path).map_err(unreadable)?);
    let mut lines: Vec<Line> = Vec::new();
    let mut suspect: Option<(u64, String)> = None;
    let mut torn = 0;
    let mut number = 0;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        number += 1;
        match parse(&bytes, lines.len() as u64, &prev) {
            Ok(line) if suspect.is_none() => {
                prev = line.hash.clone();
                lines.push(line);
            }
            Ok(_) => {}
            Err(reason) => {
                suspect.get_or_insert((number, reason));
            }
        }
        if suspect.is_some() {
            torn += read as u64;
            // A power cut leaves rubbish or nothing behind the last flushed line; a whole entry there was put there.
            if serde_json::from_slice::<Line>(&bytes).is_ok() {
                let (line, reason) = suspect.unwrap_or((number, "out of place".to_owned()));
                return Err(Damage::Line { path: path.display().to_string(), line, reason });
            }
        }
    }
    Ok(Journal { header, lines, torn })
}

fn parse(bytes: &[u8], seq: u64, prev: &Digest) -> Result<Line, String> {
    let text = bytes.strip_suffix(b"\n").ok_or("the line has no end")?;
    let line: Line = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if line.seq != seq {
        return Err(format!("it is entry {}, where entry {seq} belongs", line.seq));
    }
    if line.prev != *prev {
        return Err("it does not follow the line before it: one of the two was changed".to_owned());
    }
    let hashed = text.len().checked_sub(NOT_HASHED).and_then(|length| text.get(..length));
    if hashed.is_none_or(|hashed| Digest::from_bytes(&Sha256::digest(hashed).into()) != line.hash) {
        return Err("its text does not have the hash that it names: it was changed".to_owned());
    }
    Ok(line)
}
