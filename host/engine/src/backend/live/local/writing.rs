//! What `files` writes on this machine: beside its place, then renamed.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{RenameFlags, Timespec, Timestamps};
use sha2::{Digest as _, Sha256};

use super::attributes::{Dress, by_handle};
use super::handles::{Root, Spot, below, flush};
use super::reading::{Refusal, digest, regular};
use crate::contract::files::{
    AttributeOrder, Attributes, CopyOrder, DirectoryOrder, FileChange, Precondition, RemovalOrder, RenameOrder,
};

/// Attributes that ask for nothing.
const NONE: Attributes = Attributes { mode: None, owner: None, group: None, context: None };

/// Hash of the regular file there, when the precondition holds.
fn expect(spot: &Spot, wanted: &Precondition) -> Result<Option<String>, Refusal> {
    let found = spot.look()?;
    let hash = match &found {
        Some(found) if found.is_file() => Some(digest(regular(spot)?)?),
        _ => None,
    };
    let fits = match wanted {
        Precondition::Anything => true,
        Precondition::Absent => found.is_none(),
        Precondition::Hash(wanted) => hash.as_ref() == Some(wanted),
    };
    let instead = || found.map_or("absent", |_| "no regular file").to_owned();
    if fits { Ok(hash) } else { Err(Refusal::Conflict(hash.clone().unwrap_or_else(instead))) }
}

/// A new name beside an entry; what it stands for goes with the value, unless it was renamed.
struct Beside {
    spot: Spot,
}

impl Beside {
    fn new(spot: &Spot) -> io::Result<Self> {
        let name = OsString::from(format!(".runner-{:016x}", rand::random::<u64>()));
        Ok(Self { spot: spot.beside(&name)? })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Ok(Some(found)) = self.spot.look() {
            // What cannot be removed is found by its name.
            let _ = erase(&self.spot.directory, &self.spot.name, &found);
        }
    }
}

pub(super) fn write(
    root: &Root,
    path: &str,
    content: &[u8],
    precondition: &Precondition,
    attributes: Option<&Attributes>,
) -> Result<FileChange, Refusal> {
    let spot = root.followed(path)?;
    let existing = spot.look()?;
    if existing.as_ref().is_some_and(|found| !found.is_file()) {
        let is_link = existing.is_some_and(|found| found.is_symlink());
        return Err(if is_link { rustix::io::Errno::LOOP.into() } else { Refusal::Irregular });
    }
    let beside = Beside::new(&spot)?;
    let new = &beside.spot;
    let mut file = new.directory.open_with(&new.name, OpenOptions::new().write(true).create_new(true).mode(0o600))?;
    file.write_all(content)?;
    let now = Dress::of(&new.directory, &new.name, &file.metadata()?);
    let model = match &existing {
        Some(found) => Dress::of(&spot.directory, &spot.name, found),
        None => Dress { mode: 0o644, ..now.clone() },
    };
    let wanted = model.clone().with(attributes.unwrap_or(&NONE))?;
    wanted.put(&new.directory, &new.name, &now, false)?;
    file.sync_all()?;
    let after = hex::encode(Sha256::digest(content));
    let before = expect(&spot, precondition)?;
    let changed = before.as_ref() != Some(&after) || wanted != model;
    if changed {
        new.directory.rename(&new.name, &spot.directory, &spot.name)?;
        spot.flush()?;
    }
    Ok(FileChange { changed, before, after: Some(after) })
}

pub(super) fn copy(root: &Root, order: &CopyOrder) -> Result<FileChange, Refusal> {
    let (from, to) = (root.followed(&order.source)?, root.followed(&order.destination)?);
    let source = from.look()?.ok_or_else(|| io::Error::from(rustix::io::Errno::NOENT))?;
    if to.path.starts_with(&from.path) {
        return Err(Refusal::Inside);
    }
    let before = expect(&to, &order.precondition)?;
    if let Some(there) = to.look()?
        && same((&from.directory, &from.name, &source), (&to.directory, &to.name, &there))?
    {
        return Ok(FileChange { changed: false, before: before.clone(), after: before });
    }
    let (new, old) = (Beside::new(&to)?, Beside::new(&to)?);
    duplicate((&from.directory, &from.name, &source), (&new.spot.directory, &new.spot.name))?;
    rustix::fs::syncfs(rustix::fs::openat(
        &to.directory,
        ".",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?)?;
    expect(&to, &order.precondition)?;
    let there = to.look()?;
    if there.as_ref().is_some_and(|there| there.is_dir() || source.is_dir()) {
        to.directory.rename(&to.name, &old.spot.directory, &old.spot.name)?;
        if let Err(error) = new.spot.directory.rename(&new.spot.name, &to.directory, &to.name) {
            old.spot.directory.rename(&old.spot.name, &to.directory, &to.name)?;
            return Err(error.into());
        }
    } else {
        new.spot.directory.rename(&new.spot.name, &to.directory, &to.name)?;
    }
    to.flush()?;
    Ok(FileChange { changed: true, before, after: expect(&to, &Precondition::Anything)? })
}

type Entry<'a> = (&'a Dir, &'a OsStr, &'a Metadata);

/// Whether two files or trees differ in nothing but their times.
fn same(a: Entry<'_>, b: Entry<'_>) -> Result<bool, Refusal> {
    if a.2.mode() != b.2.mode() || Dress::of(a.0, a.1, a.2) != Dress::of(b.0, b.1, b.2) {
        return Ok(false);
    }
    if a.2.is_symlink() {
        return Ok(a.0.read_link_contents(a.1)? == b.0.read_link_contents(b.1)?);
    }
    if a.2.is_file() {
        return Ok(a.2.len() == b.2.len() && digest(a.0.open(a.1)?)? == digest(b.0.open(b.1)?)?);
    }
    if !a.2.is_dir() {
        return Ok(a.2.rdev() == b.2.rdev());
    }
    let (a, b) = (below(a.0, a.1)?, below(b.0, b.1)?);
    let (names, others) = (names(&a)?, names(&b)?);
    if names != others {
        return Ok(false);
    }
    for name in &names {
        if !same((&a, name, &a.symlink_metadata(name)?), (&b, name, &b.symlink_metadata(name)?))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn names(directory: &Dir) -> io::Result<Vec<OsString>> {
    let mut names = directory.entries()?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>()?;
    names.sort();
    Ok(names)
}

/// Copies an entry with all below, attributes and times included, to a name that is not there.
fn duplicate(from: Entry<'_>, to: (&Dir, &OsStr)) -> Result<(), Refusal> {
    let ((source, name, found), (target, new)) = (from, to);
    if found.is_symlink() {
        target.symlink_contents(source.read_link_contents(name)?, new)?;
    } else if found.is_file() {
        let mut read = source.open(name)?;
        let mut file = target.open_with(new, OpenOptions::new().write(true).create_new(true).mode(0o600))?;
        io::copy(&mut read, &mut file)?;
        file.sync_all()?;
    } else if found.is_dir() {
        target.create_dir_with(new, DirBuilder::new().mode(0o700))?;
        let (inside, made) = (below(source, name)?, below(target, new)?);
        for name in names(&inside)? {
            duplicate((&inside, &name, &inside.symlink_metadata(&name)?), (&made, &name))?;
        }
    } else {
        return Err(Refusal::Irregular);
    }
    let now = Dress::of(target, new, &target.symlink_metadata(new)?);
    Dress::of(source, name, found).put(target, new, &now, found.is_symlink())?;
    extend((source, name), (target, new))?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    Ok(rustix::fs::utimensat(target, new, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Copies extended attributes, access control lists among them, as far as the file system takes them.
fn extend(from: (&Dir, &OsStr), to: (&Dir, &OsStr)) -> io::Result<()> {
    let (from, to) = (by_handle(from.0, from.1), by_handle(to.0, to.1));
    let mut list = vec![0_u8; 64 << 10];
    let Ok(length) = rustix::fs::llistxattr(&from, list.as_mut_slice()) else {
        return Ok(());
    };
    for name in list.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 64 << 10];
        if let Ok(length) = rustix::fs::lgetxattr(&from, name, value.as_mut_slice()) {
            let value = value.get(..length).unwrap_or_default();
            let _ = rustix::fs::lsetxattr(&to, name, value, rustix::fs::XattrFlags::empty());
        }
    }
    Ok(())
}

pub(super) fn rename(root: &Root, order: &RenameOrder) -> Result<FileChange, Refusal> {
    let (from, to) = (root.itself(&order.source)?, root.itself(&order.destination)?);
    if from.look()?.is_none() {
        return Err(rustix::io::Errno::NOENT.into());
    }
    expect(&to, &Precondition::Absent)?;
    match rustix::fs::renameat_with(&from.directory, &from.name, &to.directory, &to.name, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(rustix::io::Errno::XDEV) => return Err(Refusal::Elsewhere),
        Err(rustix::io::Errno::EXIST) => return Err(Refusal::Conflict("something that came just now".to_owned())),
        Err(error) => return Err(error.into()),
    }
    to.flush()?;
    from.flush()?;
    Ok(FileChange { changed: true, before: None, after: expect(&to, &Precondition::Anything)? })
}

pub(super) fn remove(root: &Root, order: &RemovalOrder) -> Result<FileChange, Refusal> {
    let nothing = FileChange { changed: false, before: None, after: None };
    let spot = match root.itself(&order.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing),
        spot => spot?,
    };
    let Some(found) = spot.look()? else {
        return Ok(nothing);
    };
    let before = expect(&spot, &order.precondition)?;
    if spot.name == "." {
        return Err(Refusal::Root);
    }
    if order.contents_only {
        if !found.is_dir() {
            return Err(Refusal::NoDirectory);
        }
        let directory = spot.enter()?;
        let names = names(&directory)?;
        for name in &names {
            erase(&directory, name, &directory.symlink_metadata(name)?)?;
        }
        flush(&directory)?;
        return Ok(FileChange { changed: !names.is_empty(), ..nothing });
    }
    if found.is_dir() && !order.recursive {
        let there = names(&spot.enter()?)?;
        if !there.is_empty() {
            let paths = there.iter().take(10).map(|name| spot.path.join(name).to_string_lossy().into_owned());
            return Err(Refusal::Full(paths.collect()));
        }
    }
    erase(&spot.directory, &spot.name, &found)?;
    spot.flush()?;
    Ok(FileChange { changed: true, before, after: None })
}

/// Removes an entry with all below; stops at another file system.
fn erase(directory: &Dir, name: &OsStr, found: &Metadata) -> io::Result<()> {
    if !found.is_dir() {
        return directory.remove_file(name);
    }
    let inside = below(directory, name)?;
    for name in names(&inside)? {
        let entry = inside.symlink_metadata(&name)?;
        if entry.dev() != found.dev() {
            return Err(rustix::io::Errno::XDEV.into());
        }
        erase(&inside, &name, &entry)?;
    }
    directory.remove_dir(name)
}

pub(super) fn make_directory(root: &Root, order: &DirectoryOrder) -> Result<bool, Refusal> {
    let attributes = order.attributes.as_ref().unwrap_or(&NONE);
    let (mut directory, missing) = match root.nearest(&order.path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(Refusal::NoDirectory),
        found => found?,
    };
    for (index, name) in missing.iter().enumerate() {
        let last = index + 1 == missing.len();
        let mode = attributes.mode.filter(|_| last).unwrap_or(0o755);
        directory.create_dir_with(name, DirBuilder::new().mode(mode & 0o7777))?;
        flush(&directory)?;
        directory = below(&directory, name)?;
    }
    let name = OsStr::new(".");
    let now = Dress::of(&directory, name, &directory.dir_metadata()?);
    let wanted = match (missing.is_empty(), attributes.mode) {
        // What the process's mask took away.
        (false, None) => Dress { mode: 0o755, ..now.clone() },
        _ => now.clone(),
    };
    let wanted = wanted.with(attributes)?;
    wanted.put(&directory, name, &now, false)?;
    Ok(!missing.is_empty() || wanted != now)
}

pub(super) fn set_attributes(root: &Root, order: &AttributeOrder) -> Result<bool, Refusal> {
    let spot = root.followed(&order.path)?;
    let found = spot.look()?.ok_or_else(|| io::Error::from(rustix::io::Errno::NOENT))?;
    adjust(&spot.directory, &spot.name, &found, &order.attributes, order.recursive)
}

fn adjust(
    directory: &Dir,
    name: &OsStr,
    found: &Metadata,
    attributes: &Attributes,
    recursive: bool,
) -> Result<bool, Refusal> {
    let now = Dress::of(directory, name, found);
    let mut wanted = now.clone().with(attributes)?;
    if found.is_symlink() {
        wanted.mode = now.mode;
    }
    wanted.put(directory, name, &now, found.is_symlink())?;
    let mut changed = wanted != now;
    if recursive && found.is_dir() {
        let inside = below(directory, name)?;
        for name in names(&inside)? {
            changed |= adjust(&inside, &name, &inside.symlink_metadata(&name)?, attributes, true)?;
        }
    }
    Ok(changed)
}
