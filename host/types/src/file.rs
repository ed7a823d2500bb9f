//! Reading a file of which nothing is known but its path.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// Reads a regular file, or a pipe that a shell hands over as `/dev/fd/N` or `/dev/stdin`. Of a file of more than `limit`
/// bytes, `limit + 1` bytes are read: the caller says that it is too large.
///
/// # Errors
/// When it cannot be read, or is something else: a named pipe may never have a writer, and a device may never end.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // To open a named pipe would wait for its writer, and to open a terminal could make it ours.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    if kind.is_fifo() && is_handed_over(path) {
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    } else if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a path names what this process was started with, and no place in a file system.
fn is_handed_over(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn no_more_is_read_than_the_limit_and_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert_eq!(read_limited(&path, 3).unwrap(), b"1234");
    }

    #[test]
    fn what_may_never_end_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            let error = read_limited(path, 5).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
        }
        assert_eq!(read_limited(folder.path(), 5).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read_limited(&folder.path().join("no"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_pipe_that_is_handed_over_is_read_to_its_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let slow = std::thread::spawn(move || {
            for part in ["{\"a\"", ": 1}"] {
                std::thread::sleep(std::time::Duration::from_millis(50));
                writer.write_all(part.as_bytes()).unwrap();
            }
        });
        assert_eq!(read_limited(Path::new(&path), 100).unwrap(), b"{\"a\": 1}");
        slow.join().unwrap();
    }
}
