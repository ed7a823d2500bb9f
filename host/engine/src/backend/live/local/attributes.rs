//! Owner, mode and SELinux context of entries, and names of users and groups.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use cap_std::fs::{Dir, Metadata, MetadataExt as _};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags};

use crate::contract::files::Attributes;

const SELINUX: &str = "security.selinux";

/// Lines of `getent`, by database and key: users and groups of directories (LDAP) are known to it, too.
static KNOWN: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

fn getent(database: &str, key: &str) -> Option<String> {
    let question = format!("{database} {key}");
    if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&question) {
        return Some(known.clone());
    }
    let output = Command::new("getent").args([database, "--", key]).output().ok();
    let line = output
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    // One that is not there yet may come with a package.
    if let Some(line) = &line {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(question, line.clone());
    }
    line
}

/// Name of a user (`passwd`) or group; the number where there is none.
pub(super) fn name(database: &str, id: u32) -> String {
    let line = getent(database, &id.to_string());
    line.and_then(|line| line.split(':').next().map(str::to_owned)).unwrap_or_else(|| id.to_string())
}

/// Number of a user or group.
fn number(database: &str, name: &str) -> io::Result<u32> {
    let line = getent(database, name).and_then(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()));
    let kind = if database == "passwd" { "user" } else { "group" };
    line.or_else(|| name.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("invalid {kind}: {name}")))
}

/// What a file has besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dress {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) context: Option<String>,
}

impl Dress {
    /// That of an entry.
    pub(super) fn of(directory: &Dir, name: &OsStr, found: &Metadata) -> Self {
        let context = context(directory, name);
        Self { mode: found.mode() & 0o7777, uid: found.uid(), gid: found.gid(), context }
    }

    /// With what is asked for.
    pub(super) fn with(mut self, attributes: &Attributes) -> io::Result<Self> {
        if let Some(mode) = attributes.mode {
            self.mode = mode & 0o7777;
        }
        if let Some(owner) = &attributes.owner {
            self.uid = number("passwd", owner)?;
        }
        if let Some(group) = &attributes.group {
            self.gid = number("group", group)?;
        }
        if let Some(context) = attributes.context.as_ref().filter(|_| has_selinux()) {
            self.context = Some(context.clone());
        }
        Ok(self)
    }

    /// Puts it on an entry that has `now`.
    pub(super) fn put(&self, directory: &Dir, name: &OsStr, now: &Self, is_link: bool) -> io::Result<()> {
        let own = (self.uid, self.gid) != (now.uid, now.gid);
        if own {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        // Changing the owner may take bits away that nobody asked to lose.
        if (own || self.mode != now.mode) && !is_link {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let entry = rustix::fs::openat(directory, name, flags, Mode::empty())?;
            let path = Path::new("/proc/self/fd").join(entry.as_raw_fd().to_string());
            rustix::fs::chmod(path, Mode::from_raw_mode(self.mode))?;
        }
        if let Some(context) = self.context.as_ref().filter(|_| self.context != now.context) {
            let path = by_handle(directory, name);
            rustix::fs::lsetxattr(path, SELINUX, format!("{context}\0").as_bytes(), XattrFlags::empty())?;
        }
        Ok(())
    }
}

/// Whether this machine has SELinux.
fn has_selinux() -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| Path::new("/sys/fs/selinux/enforce").exists());
    *HAS
}

/// An entry by the handle of its directory, for what takes only paths.
pub(super) fn by_handle(directory: &Dir, name: &OsStr) -> std::path::PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

fn context(directory: &Dir, name: &OsStr) -> Option<String> {
    if !has_selinux() {
        return None;
    }
    let mut value = vec![0_u8; 4096];
    let length = rustix::fs::lgetxattr(by_handle(directory, name), SELINUX, value.as_mut_slice()).ok()?;
    let text = String::from_utf8_lossy(value.get(..length)?).trim_end_matches('\0').to_owned();
    Some(text)
}
