//! What `files` reads on this machine.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use cap_std::fs::{Dir, Metadata, MetadataExt as _};
use sha2::{Digest as _, Sha256};

use super::attributes::{Dress, name};
use super::handles::{Root, Spot, below};
use crate::backend::budget::{Budget, ENTRY};
use crate::backend::live::files::{MOST_BYTES, kind};
use crate::contract::Failure;
use crate::contract::files::{FileData, FileKind, FileStatus, ListingOrder, ReadOrder, Room};
use runner_types::Timestamp;

/// Why something was not done: the system's reason, or one of this module.
#[derive(Debug)]
pub(super) enum Refusal {
    Io(io::Error),
    Irregular,
    NoDirectory,
    Inside,
    Root,
    Elsewhere,
    /// Entries in the way.
    Full(Vec<String>),
    /// What was found in place of what was expected.
    Conflict(String),
    /// More entries than asked for.
    TooMany(u32),
    /// The call's answers hold all that they may.
    Spent(Failure),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

fn missing() -> Refusal {
    Refusal::Io(rustix::io::Errno::NOENT.into())
}

fn status(directory: &Dir, file: &std::ffi::OsStr, path: String, found: &Metadata) -> io::Result<FileStatus> {
    let dress = Dress::of(directory, file, found);
    let kind = kind(found.mode());
    let link = match kind {
        FileKind::SymbolicLink => Some(directory.read_link_contents(file)?.to_string_lossy().into_owned()),
        FileKind::Regular | FileKind::Directory | FileKind::Special => None,
    };
    let millis = found.mtime().saturating_mul(1000).saturating_add(found.mtime_nsec() / 1_000_000);
    Ok(FileStatus {
        path,
        kind,
        size: found.size(),
        mode: dress.mode,
        owner: name("passwd", dress.uid),
        group: name("group", dress.gid),
        modified: Timestamp::from_unix_millis(millis).to_string(),
        context: dress.context,
        link,
    })
}

pub(super) fn stat(root: &Root, path: &str) -> Result<FileStatus, Refusal> {
    let spot = root.itself(path)?;
    let found = spot.look()?.ok_or_else(missing)?;
    Ok(status(&spot.directory, &spot.name, path.to_owned(), &found)?)
}

/// The regular file of an entry.
pub(super) fn regular(spot: &Spot) -> Result<cap_std::fs::File, Refusal> {
    let found = spot.look()?.ok_or_else(missing)?;
    if found.is_symlink() {
        return Err(rustix::io::Errno::LOOP.into());
    }
    if !found.is_file() {
        return Err(Refusal::Irregular);
    }
    let file = spot.open()?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Refusal::Irregular),
    }
}

pub(super) fn read(root: &Root, order: &ReadOrder) -> Result<FileData, Refusal> {
    let mut file = regular(&root.followed(&order.path)?)?;
    file.seek(SeekFrom::Start(order.offset))?;
    let mut data = Vec::new();
    (&mut file).take(order.limit.min(MOST_BYTES).into()).read_to_end(&mut data)?;
    // Files of the kernel have no size and yet something to say.
    let reached = if data.is_empty() { 0 } else { order.offset.saturating_add(data.len() as u64) };
    let size = file.metadata()?.len().max(reached);
    let whole = order.offset == 0 && data.len() as u64 == size;
    let hash = whole.then(|| hex::encode(Sha256::digest(&data)));
    Ok(FileData { data, size, hash })
}

/// SHA-256 of what is left to read.
pub(super) fn digest(mut file: cap_std::fs::File) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}

pub(super) fn hash(root: &Root, path: &str) -> Result<String, Refusal> {
    Ok(digest(regular(&root.followed(path)?)?)?)
}

pub(super) fn entries(root: &Root, order: &ListingOrder, budget: &Budget) -> Result<Vec<FileStatus>, Refusal> {
    let spot = root.followed(&order.path)?;
    if !spot.look()?.ok_or_else(missing)?.is_dir() {
        return Err(Refusal::NoDirectory);
    }
    let mut found = Vec::new();
    let shown = Path::new(&order.path);
    let bounds = (order.limit, budget);
    list(&spot.enter()?, shown, order.depth.max(1), bounds, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// `bounds`: how many entries may be found, and what they may hold.
fn list(
    directory: &Dir,
    shown: &Path,
    depth: u32,
    bounds: (u32, &Budget),
    found: &mut Vec<FileStatus>,
) -> Result<(), Refusal> {
    let (limit, budget) = bounds;
    for entry in directory.entries()? {
        let file = entry?.file_name();
        let Ok(metadata) = directory.symlink_metadata(&file) else {
            continue;
        };
        if found.len() >= limit as usize {
            return Err(Refusal::TooMany(limit));
        }
        let path = shown.join(&file);
        budget.keep(ENTRY + path.as_os_str().len(), &shown.to_string_lossy()).map_err(Refusal::Spent)?;
        found.push(status(directory, &file, path.to_string_lossy().into_owned(), &metadata)?);
        if depth > 1 && metadata.is_dir() {
            list(&below(directory, &file)?, &path, depth - 1, bounds, found)?;
        }
    }
    Ok(())
}

pub(super) fn space(root: &Root, path: &str) -> Result<Room, Refusal> {
    let (directory, _) = root.nearest(path).or_else(|error| match error.kind() {
        io::ErrorKind::NotADirectory => root.followed(path).map(|spot| (spot.directory, Vec::new())),
        _ => Err(error),
    })?;
    let found = rustix::fs::fstatvfs(&directory)?;
    Ok(Room {
        total: found.f_frsize.saturating_mul(found.f_blocks),
        available: found.f_frsize.saturating_mul(found.f_bavail),
        inodes_available: found.f_ffree,
    })
}
