//! Paths of this machine as directory handles: nothing is followed from where a path was judged to where it is used.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File};
use rustix::fs::{Mode, OFlags};

/// Symbolic links that one path may lead through (path_resolution(7)).
const LINKS: usize = 40;

/// Where a path really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Real {
    /// With every link followed.
    pub(super) followed: PathBuf,
    /// With the links before its last part followed.
    pub(super) itself: PathBuf,
}

/// An entry of a directory that is held open.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) directory: Dir,
    pub(super) name: OsString,
    /// Where it is, for messages.
    pub(super) path: PathBuf,
}

/// The machine's root, and where judged paths were when they were judged.
#[derive(Debug)]
pub(super) struct Root {
    directory: Dir,
    judged: Mutex<HashMap<String, Real>>,
}

impl Root {
    /// # Errors
    /// When the root directory cannot be opened.
    pub(super) fn open() -> io::Result<Self> {
        let directory = Dir::open_ambient_dir("/", ambient_authority())?;
        Ok(Self { directory, judged: Mutex::default() })
    }

    /// Resolves a path, and remembers what came out for its use.
    pub(super) fn judge(&self, path: &str) -> io::Result<PathBuf> {
        let real = self.real(path)?;
        let followed = real.followed.clone();
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), real);
        Ok(followed)
    }

    /// As it was judged; what nobody judged is resolved now.
    fn known(&self, path: &str) -> io::Result<Real> {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        judged.map_or_else(|| self.real(path), Ok)
    }

    fn real(&self, path: &str) -> io::Result<Real> {
        let path = Path::new(path);
        let followed = self.follow(path)?;
        let itself = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => self.follow(parent)?.join(name),
            _ => followed.clone(),
        };
        Ok(Real { followed, itself })
    }

    /// Follows every link; what does not exist stays as it is from its first missing part on.
    fn follow(&self, path: &Path) -> io::Result<PathBuf> {
        let mut rest: Vec<OsString> = parts(path.as_os_str());
        rest.reverse();
        let mut real = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == "." {
                continue;
            }
            if part == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            let inside = next.strip_prefix("/").unwrap_or(&next);
            let is_link = self.directory.symlink_metadata(inside).is_ok_and(|found| found.is_symlink());
            if !is_link {
                real = next;
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            let target = self.directory.read_link_contents(inside)?;
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            rest.extend(parts(target.as_os_str()).into_iter().rev());
        }
        Ok(real)
    }

    /// The entry that a path leads to once links are followed.
    pub(super) fn followed(&self, path: &str) -> io::Result<Spot> {
        self.spot(self.known(path)?.followed)
    }

    /// The entry of a path itself, which may be a link.
    pub(super) fn itself(&self, path: &str) -> io::Result<Spot> {
        self.spot(self.known(path)?.itself)
    }

    /// The directories of a path that are there, and the names of those that are not.
    pub(super) fn nearest(&self, path: &str) -> io::Result<(Dir, Vec<OsString>)> {
        let real = self.known(path)?.followed;
        let mut directory = self.directory.try_clone()?;
        let mut rest = parts(real.as_os_str()).into_iter();
        while let Some(part) = rest.next() {
            match below(&directory, &part) {
                Ok(next) => directory = next,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok((directory, std::iter::once(part).chain(rest).collect()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((directory, Vec::new()))
    }

    /// Opens each directory of a path that holds no link, following none.
    fn spot(&self, path: PathBuf) -> io::Result<Spot> {
        let mut names = parts(path.as_os_str());
        let name = names.pop().unwrap_or_else(|| OsString::from("."));
        let mut directory = self.directory.try_clone()?;
        for part in names {
            directory = below(&directory, &part)?;
        }
        Ok(Spot { directory, name, path })
    }
}

fn parts(path: &OsStr) -> Vec<OsString> {
    let parts = path.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    parts.map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

/// A directory in a directory, never through a link.
pub(super) fn below(directory: &Dir, name: &OsStr) -> io::Result<Dir> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(Dir::from(rustix::fs::openat(directory, name, flags, Mode::empty())?))
}

impl Spot {
    /// Another entry of the same directory.
    pub(super) fn beside(&self, name: &OsStr) -> io::Result<Self> {
        let path = self.path.with_file_name(name);
        Ok(Self { directory: self.directory.try_clone()?, name: name.to_owned(), path })
    }

    /// What is there, not followed; none: nothing.
    pub(super) fn look(&self) -> io::Result<Option<cap_std::fs::Metadata>> {
        match self.directory.symlink_metadata(&self.name) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the regular file for reading.
    pub(super) fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty())?;
        Ok(File::from_std(std::fs::File::from(file)))
    }

    /// The directory itself.
    pub(super) fn enter(&self) -> io::Result<Dir> {
        match self.name == "." {
            true => self.directory.try_clone(),
            false => below(&self.directory, &self.name),
        }
    }

    /// Makes the names in the directory outlast a power failure.
    pub(super) fn flush(&self) -> io::Result<()> {
        flush(&self.directory)
    }
}

/// Makes the names in a directory outlast a power failure.
pub(super) fn flush(directory: &Dir) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    Ok(rustix::fs::fsync(directory)?)
}
