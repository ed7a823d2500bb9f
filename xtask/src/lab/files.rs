//! Files on their way onto a host.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tar::{Builder, Header};

/// Files that root will own, packed for `tar -x` at the root of a host.
pub(crate) struct Files {
    archive: Builder<Vec<u8>>,
    /// When they were written, in seconds since 1970: daemons are restarted when their files are newer than they.
    now: u64,
}

impl Files {
    pub(crate) fn new() -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?.as_secs();
        Ok(Self { archive: Builder::new(Vec::new()), now })
    }

    /// Adds a file; `path` is absolute.
    pub(crate) fn add(&mut self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Result<()> {
        let content = content.as_ref();
        let mut header = Header::new_gnu();
        header.set_size(u64::try_from(content.len())?);
        header.set_mode(mode);
        header.set_mtime(self.now);
        header.set_uid(0);
        header.set_gid(0);
        let name = path.trim_start_matches('/');
        self.archive.append_data(&mut header, name, content).with_context(|| format!("cannot pack {path}"))
    }

    /// The archive.
    pub(crate) fn into_archive(self) -> Result<Vec<u8>> {
        self.archive.into_inner().context("cannot pack files")
    }
}
