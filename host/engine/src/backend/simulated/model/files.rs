//! Files, directories and symbolic links of hosts.

use runner_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::content::{Blobs, Content};
use super::{Model, keys};
use crate::backend::failure;
use crate::backend::simulated::fault::{FaultKind, Occasion};
use crate::contract::Failure;
use crate::contract::files::{Attributes, FileChange, FileKind, FileStatus, Precondition, Room};
use runner_types::simulated::FileSeed;

const LINKS: usize = 40;
/// Room that an inode stands for.
const BYTES_AN_INODE: u64 = 16 * 1024;

/// A directory entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) kind: FileKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Content>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    pub(crate) mode: u32,
    pub(crate) owner: String,
    pub(crate) group: String,
    pub(crate) modified: Timestamp,
}

impl Entry {
    /// A regular file of root.
    pub(crate) fn file(content: Content, modified: Timestamp) -> Self {
        Self {
            kind: FileKind::Regular,
            content: Some(content),
            link: None,
            mode: 0o644,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            modified,
        }
    }

    /// A directory of root.
    pub(crate) fn directory(modified: Timestamp) -> Self {
        Self { kind: FileKind::Directory, content: None, mode: 0o755, ..Self::file(Content::default(), modified) }
    }

    /// As a seed has it; `name` is what made-up content is made from.
    pub(crate) fn seeded(seed: &FileSeed, name: &str, modified: Timestamp) -> Self {
        let mut entry = match (&seed.link, seed.directory, &seed.text, seed.size) {
            (Some(link), ..) => Self {
                kind: FileKind::SymbolicLink,
                content: None,
                link: Some(link.clone()),
                mode: 0o777,
                ..Self::directory(modified)
            },
            (None, true, ..) => Self::directory(modified),
            (None, false, Some(text), _) => Self::file(Content::Text(text.clone()), modified),
            (None, false, None, size) => {
                let content = Content::Made { name: name.to_owned(), size: size.map_or(0, |size| size.0) };
                Self::file(content, modified)
            }
        };
        if let Some(mode) = seed.mode.as_deref().and_then(octal) {
            entry.mode = mode;
        } else if seed.size.is_some() && (name.contains("/bin/") || name.contains("/sbin/")) {
            entry.mode = 0o755;
        }
        if let Some(owner) = &seed.owner {
            entry.owner.clone_from(owner);
        }
        if let Some(group) = &seed.group {
            entry.group.clone_from(group);
        }
        entry
    }

    fn size(&self) -> u64 {
        match &self.content {
            Some(content) => content.size(),
            None => 0,
        }
    }

    fn take(&mut self, attributes: &Attributes) {
        if let Some(mode) = attributes.mode {
            self.mode = mode;
        }
        if let Some(owner) = &attributes.owner {
            self.owner.clone_from(owner);
        }
        if let Some(group) = &attributes.group {
            self.group.clone_from(group);
        }
    }

    /// Whether both are the same but for when they were written.
    fn same(&self, other: &Self, blobs: &Blobs) -> Result<bool, Failure> {
        let alike = Self { modified: other.modified, content: other.content.clone(), ..self.clone() } == *other;
        Ok(alike && self.holds_the_same(other, blobs)?)
    }

    /// Whether both hold the same bytes, however those are kept.
    pub(crate) fn holds_the_same(&self, other: &Self, blobs: &Blobs) -> Result<bool, Failure> {
        match (&self.content, &other.content) {
            (Some(one), Some(other)) if one != other && one.size() == other.size() => {
                Ok(blobs.sha256(one)? == blobs.sha256(other)?)
            }
            (one, other) => Ok(one == other),
        }
    }
}

/// A mode in octal.
pub(crate) fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok()
}

/// A file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) size: u64,
    pub(crate) used: u64,
}

/// The directory that a path is in.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

fn clean(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

impl Model<'_> {
    /// The entry at exactly this path. A directory that is only implied by what is in it is one, too.
    pub(crate) fn entry(&self, host: &str, path: &str) -> Result<Option<Entry>, Failure> {
        let path = clean(path);
        if let Some(entry) = self.tx.get(&keys::file(host, path))? {
            return Ok(Some(entry));
        }
        let implied = path == "/" || self.has_below(host, path);
        Ok(implied.then(|| Entry::directory(self.now)))
    }

    fn has_below(&self, host: &str, path: &str) -> bool {
        !self.tx.below(&keys::file(host, &inside(path))).is_empty()
    }

    /// Paths and entries below a directory, sorted.
    pub(crate) fn below(&self, host: &str, path: &str) -> Result<Vec<(String, Entry)>, Failure> {
        let inside = inside(path);
        Ok(self
            .tx
            .list::<Entry>(&keys::file(host, &inside))?
            .into_iter()
            .map(|(rest, entry)| (format!("{inside}{rest}"), entry))
            .collect())
    }

    /// The path with every symbolic link followed; the last one only if asked.
    pub(crate) fn resolve(&self, host: &str, path: &str, last: bool) -> Result<String, Failure> {
        let mut rest: Vec<String> = clean(path).split('/').rev().map(str::to_owned).collect();
        let mut resolved = String::new();
        let mut followed = 0;
        while let Some(segment) = rest.pop() {
            match segment.as_str() {
                "" | "." => continue,
                ".." => {
                    resolved.truncate(resolved.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = format!("{resolved}/{segment}");
            if rest.is_empty() && !last {
                resolved = next;
                break;
            }
            let entry: Option<Entry> = self.tx.get(&keys::file(host, &next))?;
            match entry.and_then(|entry| entry.link) {
                Some(link) => {
                    followed += 1;
                    if followed > LINKS {
                        return Err(failure::failed(path, "too many symbolic links", None, ""));
                    }
                    if link.starts_with('/') {
                        resolved.clear();
                    }
                    rest.extend(link.split('/').rev().map(str::to_owned));
                }
                None => resolved = next,
            }
        }
        Ok(match resolved.is_empty() {
            true => "/".to_owned(),
            false => resolved,
        })
    }

    /// The regular file at a path, links followed.
    pub(crate) fn regular(&self, host: &str, path: &str) -> Result<Entry, Failure> {
        let resolved = self.resolve(host, path, true)?;
        match self.entry(host, &resolved)? {
            None => Err(failure::not_found(path, format!("{path}: no such file on {host}"))),
            Some(entry) if entry.kind == FileKind::Regular => Ok(entry),
            Some(_) => Err(failure::invalid(path, format!("{path} on {host} is no regular file"))),
        }
    }

    /// The text of a file; `None` when there is none.
    pub(crate) fn text(&self, host: &str, path: &str) -> Result<Option<String>, Failure> {
        let resolved = self.resolve(host, path, true)?;
        let Some(Entry { content: Some(content), .. }) = self.entry(host, &resolved)? else {
            return Ok(None);
        };
        let bytes = self.blobs.read(&content, 0, 4 << 20)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// What the contract says of an entry.
    pub(crate) fn status(path: &str, entry: &Entry) -> FileStatus {
        FileStatus {
            path: path.to_owned(),
            kind: entry.kind,
            size: match entry.kind {
                FileKind::Directory => 4096,
                FileKind::Regular | FileKind::SymbolicLink | FileKind::Special => entry.size(),
            },
            mode: entry.mode,
            owner: entry.owner.clone(),
            group: entry.group.clone(),
            modified: entry.modified.to_string(),
            context: None,
            link: entry.link.clone(),
        }
    }

    /// Puts an entry in place, parents implied, if there is room.
    pub(crate) fn put(&mut self, host: &str, path: &str, entry: &Entry) -> Result<(), Failure> {
        let path = clean(path).to_owned();
        let before = self.tx.get::<Entry>(&keys::file(host, &path))?;
        self.use_room(host, &path, before.map_or(0, |e| e.size()), entry.size())?;
        self.tx.set(&keys::file(host, &path), entry)?;
        self.unit_file_changed(host, &path)
    }

    /// Removes what is at a path with all below. The directory it was in stays.
    pub(crate) fn delete(&mut self, host: &str, path: &str) -> Result<(), Failure> {
        let path = clean(path).to_owned();
        let mut doomed: Vec<(String, Entry)> = self.below(host, &path)?;
        if let Some(entry) = self.tx.get::<Entry>(&keys::file(host, &path))? {
            doomed.push((path.clone(), entry));
        }
        for (path, entry) in doomed {
            self.use_room(host, &path, entry.size(), 0)?;
            self.tx.remove(&keys::file(host, &path));
            self.unit_file_changed(host, &path)?;
        }
        let directory = parent(&path).to_owned();
        if directory != "/" && !self.tx.has(&keys::file(host, &directory)) {
            let entry = Entry::directory(self.now);
            self.tx.set(&keys::file(host, &directory), &entry)?;
        }
        Ok(())
    }

    /// Checks a precondition and tells the hash of the regular file that is there.
    pub(crate) fn check(&self, host: &str, path: &str, wanted: &Precondition) -> Result<Option<String>, Failure> {
        let entry = self.entry(host, path)?;
        let found = match entry.as_ref().and_then(|entry| entry.content.as_ref()) {
            Some(content) => Some(self.blobs.sha256(content)?),
            None => None,
        };
        let fits = match wanted {
            Precondition::Anything => true,
            Precondition::Absent => entry.is_none(),
            Precondition::Hash(hash) => found.as_ref() == Some(hash),
        };
        if fits {
            return Ok(found);
        }
        let there = found.clone().or_else(|| entry.map(|_| "no regular file".to_owned()));
        Err(failure::conflict(
            path,
            format!("{path} on {host} is not as expected"),
            vec![path.to_owned()],
            there.or_else(|| Some("absent".to_owned())),
        ))
    }

    /// Writes a regular file as `files.write` does.
    pub(crate) fn write(
        &mut self,
        host: &str,
        path: &str,
        content: Content,
        precondition: &Precondition,
        attributes: Option<&Attributes>,
    ) -> Result<FileChange, Failure> {
        let path = self.resolve(host, path, true)?;
        let before = self.check(host, &path, precondition)?;
        let existing = self.entry(host, &path)?;
        if existing.as_ref().is_some_and(|entry| entry.kind != FileKind::Regular) {
            return Err(failure::invalid(&path, format!("{path} on {host} is no regular file")));
        }
        self.need_directory(host, parent(&path))?;
        let mut entry = Entry::file(content.clone(), self.now);
        if let Some(existing) = &existing {
            entry = Entry { content: Some(content.clone()), modified: self.now, ..existing.clone() };
        }
        if let Some(attributes) = attributes {
            entry.take(attributes);
        }
        let changed = match &existing {
            Some(existing) => !existing.same(&entry, self.blobs)?,
            None => true,
        };
        if changed {
            self.put(host, &path, &entry)?;
        }
        let after = Some(self.blobs.sha256(&content)?);
        Ok(FileChange { changed, before, after })
    }

    /// Refuses where a directory is missing.
    pub(crate) fn need_directory(&self, host: &str, path: &str) -> Result<(), Failure> {
        let resolved = self.resolve(host, path, true)?;
        match self.entry(host, &resolved)? {
            Some(entry) if entry.kind == FileKind::Directory => Ok(()),
            Some(_) => Err(failure::invalid(path, format!("{path} on {host} is no directory"))),
            None => Err(failure::not_found(path, format!("{path}: no such directory on {host}"))),
        }
    }

    /// Sets attributes; true: changed.
    pub(crate) fn set_attributes(
        &mut self,
        host: &str,
        path: &str,
        attributes: &Attributes,
        recursive: bool,
    ) -> Result<bool, Failure> {
        let path = self.resolve(host, path, true)?;
        let Some(entry) = self.entry(host, &path)? else {
            return Err(failure::not_found(&path, format!("{path}: no such file on {host}")));
        };
        let mut entries = vec![(path.clone(), entry)];
        if recursive {
            entries.extend(self.below(host, &path)?);
        }
        let mut changed = false;
        for (path, before) in entries {
            let mut entry = before.clone();
            entry.take(attributes);
            if entry != before {
                self.tx.set(&keys::file(host, &path), &entry)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Copies a file or tree over what is at the destination; true: something is different now.
    pub(crate) fn copy(&mut self, host: &str, from: &str, to: &str) -> Result<bool, Failure> {
        let Some(entry) = self.entry(host, from)? else {
            return Err(failure::not_found(from, format!("{from}: no such file on {host}")));
        };
        if to == from || to.starts_with(&inside(from)) {
            return Err(failure::invalid(to, format!("{to} is inside {from}")));
        }
        let mut wanted = vec![(to.to_owned(), entry)];
        for (path, entry) in self.below(host, from)? {
            wanted.push((format!("{to}{}", &path[from.len()..]), entry));
        }
        let mut there: Vec<(String, Entry)> =
            self.entry(host, to)?.map(|entry| (to.to_owned(), entry)).into_iter().collect();
        there.extend(self.below(host, to)?);
        let mut same = there.len() == wanted.len();
        for (there, wanted) in there.iter().zip(&wanted) {
            same = same && there.0 == wanted.0 && there.1.same(&wanted.1, self.blobs)?;
        }
        if same {
            return Ok(false);
        }
        if !there.is_empty() {
            self.delete(host, to)?;
        }
        for (path, entry) in wanted {
            self.put(host, &path, &entry)?;
        }
        Ok(true)
    }

    /// The mount point that a path is on, and its file system.
    fn disk_of(&self, host: &str, path: &str) -> Result<Option<(String, Disk)>, Failure> {
        let disks = self.tx.list::<Disk>(&keys::disk(host, ""))?;
        Ok(disks
            .into_iter()
            .filter(|(mount, _)| path == mount || path.starts_with(&inside(mount)))
            .max_by_key(|(mount, _)| mount.len()))
    }

    /// Room on the file system of a path.
    pub(crate) fn room(&mut self, host: &str, path: &str) -> Result<Room, Failure> {
        let full = self.is_full(host, path)?;
        let (_, disk) = self
            .disk_of(host, path)?
            .ok_or_else(|| failure::not_found(path, format!("no file system holds {path} on {host}")))?;
        let available = match full {
            true => 0,
            false => disk.size.saturating_sub(disk.used),
        };
        Ok(Room { total: disk.size, available, inodes_available: available / BYTES_AN_INODE })
    }

    fn is_full(&mut self, host: &str, path: &str) -> Result<bool, Failure> {
        let occasion = Occasion { function: "", host: Some(host), cluster: None };
        let fault = self.fault(FaultKind::DiskFull, occasion, |fault| {
            let root = fault.path.as_deref().unwrap_or("/");
            path == root || path.starts_with(&inside(root))
        })?;
        Ok(fault.is_some())
    }

    fn use_room(&mut self, host: &str, path: &str, before: u64, after: u64) -> Result<(), Failure> {
        if before == after {
            return Ok(());
        }
        let full = after > before && self.is_full(host, path)?;
        let Some((mount, mut disk)) = self.disk_of(host, path)? else {
            return Ok(());
        };
        let used = (disk.used + after).saturating_sub(before);
        if full || (after > before && used > disk.size) {
            return Err(failure::failed(
                path,
                format!("{path} on {host}: no space left on device"),
                Some(1),
                &format!("cannot write {path}: No space left on device"),
            ));
        }
        disk.used = used;
        self.tx.set(&keys::disk(host, &mount), &disk)
    }
}

/// What the paths inside a directory begin with.
pub(crate) fn inside(path: &str) -> String {
    match clean(path) {
        "/" => "/".to_owned(),
        path => format!("{path}/"),
    }
}
