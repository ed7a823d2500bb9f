//! The store: content-addressed data of all runs of a platform, outside the runs.
//!
//! What has a name in the store is whole: data is hashed while it streams into a temporary file, synced, and only then
//! renamed to its digest. So a digest that a journal or a backup set names can be read, or the disk was damaged, which
//! reading detects.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::state;

/// Bytes that are in memory at a time.
const CHUNK: usize = 256 << 10;
/// What is asked for first: most artifacts are small, and many come at the same time.
const FIRST: usize = 4 << 10;

/// Data on its way into or out of the store.
pub type Stream = Pin<Box<dyn AsyncRead + Send>>;

/// Data that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub digest: String,
    /// Size in bytes.
    pub size: u64,
}

/// Why data cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Text that is no digest.
    #[error("{0:?} is not a SHA-256 of 64 lower-case hexadecimal digits")]
    NoDigest(String),
    /// Nothing has that digest.
    #[error("the store {store} has no data {digest}")]
    Missing {
        /// The store's directory.
        store: String,
        /// What was asked for.
        digest: String,
    },
    /// The data is not what its name says.
    #[error("data {digest} in the store {store} is damaged: it hashes to {found}")]
    Damaged {
        /// The store's directory.
        store: String,
        /// Its name.
        digest: String,
        /// What it hashes to.
        found: String,
    },
    /// More than the caller takes into memory.
    #[error("data {digest} has more than {limit} bytes")]
    TooLarge {
        /// Its name.
        digest: String,
        /// What the caller takes.
        limit: u64,
    },
    /// The file system failed.
    #[error("the store {store} cannot be used: {source}")]
    Io {
        /// The store's directory.
        store: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Content-addressed data.
#[async_trait::async_trait]
pub trait Store: Send + Sync {
    /// Stores what the stream holds, in bounded memory.
    async fn put(&self, data: Stream) -> Result<Stored, StoreError>;

    /// Opens data for reading. What is read is not checked on the way; see [`Store::verify`].
    async fn open(&self, digest: &str) -> Result<Stream, StoreError>;

    /// Size of data that is there; its content is not looked at.
    async fn size(&self, digest: &str) -> Result<u64, StoreError>;

    /// Stores bytes; answers their digest.
    async fn put_bytes(&self, bytes: Vec<u8>) -> Result<String, StoreError> {
        self.put(Box::pin(io::Cursor::new(bytes))).await.map(|stored| stored.digest)
    }

    /// Reads data that fits into memory, and checks it.
    async fn read_bytes(&self, digest: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        let size = self.size(digest).await?;
        if size > limit {
            return Err(StoreError::TooLarge { digest: digest.to_owned(), limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        let mut data = self.open(digest).await?.take(limit);
        data.read_to_end(&mut bytes).await.map_err(|source| StoreError::Io { store: String::new(), source })?;
        let found = hex::encode(Sha256::digest(&bytes));
        if found != digest {
            return Err(StoreError::Damaged { store: String::new(), digest: digest.to_owned(), found });
        }
        Ok(bytes)
    }

    /// Reads all of the data and checks it, in bounded memory; answers its size.
    async fn verify(&self, digest: &str) -> Result<u64, StoreError> {
        let mut data = self.open(digest).await?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut size = 0;
        loop {
            let read =
                data.read(&mut buffer).await.map_err(|source| StoreError::Io { store: String::new(), source })?;
            if read == 0 {
                break;
            }
            hash.update(buffer.get(..read).unwrap_or_default());
            size += read as u64;
        }
        let found = hex::encode(hash.finalize());
        if found != digest {
            return Err(StoreError::Damaged { store: String::new(), digest: digest.to_owned(), found });
        }
        Ok(size)
    }
}

/// A store in a directory: `ab/abcd…` for each digest.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    root: PathBuf,
}

impl DirectoryStore {
    /// Opens a store, made (mode 0700) if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.to_owned() };
        state::make_directory(root).map_err(|source| store.failed(source))?;
        Ok(store)
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Io { store: self.root.display().to_string(), source }
    }

    fn path(&self, digest: &str) -> Result<PathBuf, StoreError> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match digest.get(..2).filter(|_| is_digest) {
            Some(first) => Ok(self.root.join(first).join(digest)),
            None => Err(StoreError::NoDigest(digest.chars().take(80).collect())),
        }
    }

    async fn write(&self, mut data: Stream) -> io::Result<Stored> {
        let temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.root)?;
        let mut file = tokio::fs::File::from_std(temporary.reopen()?);
        let mut hash = Sha256::new();
        let mut buffer = vec![0; FIRST];
        let mut size = 0;
        loop {
            let read = data.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            let chunk = buffer.get(..read).unwrap_or_default();
            hash.update(chunk);
            file.write_all(chunk).await?;
            size += read as u64;
            if read == buffer.len() && read < CHUNK {
                buffer.resize((read * 4).min(CHUNK), 0);
            }
        }
        file.flush().await?;
        file.sync_all().await?;
        let digest = hex::encode(hash.finalize());
        let folder = self.root.join(digest.get(..2).unwrap_or_default());
        let target = folder.join(&digest);
        if tokio::fs::metadata(&target).await.is_ok_and(|found| found.len() == size) {
            return Ok(Stored { digest, size });
        }
        state::make_directory(&folder)?;
        state::share(temporary.as_file(), &folder)?;
        temporary.persist(&target).map_err(|error| error.error)?;
        std::fs::File::open(&folder)?.sync_all()?;
        Ok(Stored { digest, size })
    }
}

#[async_trait::async_trait]
impl Store for DirectoryStore {
    async fn put(&self, data: Stream) -> Result<Stored, StoreError> {
        self.write(data).await.map_err(|source| self.failed(source))
    }

    async fn open(&self, digest: &str) -> Result<Stream, StoreError> {
        let path = self.path(digest)?;
        let mut options = std::fs::OpenOptions::new();
        options.read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        match tokio::fs::OpenOptions::from(options).open(path).await {
            Ok(file) => Ok(Box::pin(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing(digest)),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn size(&self, digest: &str) -> Result<u64, StoreError> {
        match tokio::fs::symlink_metadata(self.path(digest)?).await {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing(digest)),
            Err(error) => Err(self.failed(error)),
        }
    }
}

impl DirectoryStore {
    fn missing(&self, digest: &str) -> StoreError {
        StoreError::Missing { store: self.root.display().to_string(), digest: digest.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_stored_is_read_back_and_verified() {
        let home = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(&home.path().join("store")).unwrap();
        let data = vec![7_u8; 3 * CHUNK + 11];
        let digest = store.put_bytes(data.clone()).await.unwrap();
        assert_eq!(digest, hex::encode(Sha256::digest(&data)));
        assert_eq!(store.put_bytes(data.clone()).await.unwrap(), digest, "the same data has the same name");
        assert_eq!(store.read_bytes(&digest, 1 << 20).await.unwrap(), data);
        assert_eq!(store.verify(&digest).await.unwrap(), data.len() as u64);
        assert!(matches!(store.read_bytes(&digest, 10).await, Err(StoreError::TooLarge { .. })));
    }

    /// So many zeros, that note the most that was ever asked of them at once.
    struct Zeros {
        left: u64,
        most: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    }

    impl AsyncRead for Zeros {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            self.most.fetch_max(buffer.remaining(), std::sync::atomic::Ordering::Relaxed);
            let count = buffer.remaining().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            buffer.initialize_unfilled_to(count).fill(0);
            buffer.advance(count);
            self.left -= count as u64;
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn data_of_any_size_is_taken_in_pieces() {
        let home = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(home.path()).unwrap();
        let most = std::sync::Arc::default();
        let size = 40 * CHUNK as u64 + 7;
        let stored = store.put(Box::pin(Zeros { left: size, most: std::sync::Arc::clone(&most) })).await.unwrap();
        assert_eq!(stored.size, size);
        let most = most.load(std::sync::atomic::Ordering::Relaxed);
        assert!(most <= CHUNK, "{most} bytes were asked for at once");
    }

    #[tokio::test]
    async fn small_data_takes_little_memory() {
        let home = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(home.path()).unwrap();
        let most = std::sync::Arc::default();
        let stored = store.put(Box::pin(Zeros { left: 100, most: std::sync::Arc::clone(&most) })).await.unwrap();
        assert_eq!((stored.size, most.load(std::sync::atomic::Ordering::Relaxed)), (100, FIRST));
    }

    #[tokio::test]
    async fn damage_is_detected() {
        let home = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(home.path()).unwrap();
        let digest = store.put_bytes(b"data".to_vec()).await.unwrap();
        std::fs::write(store.path(&digest).unwrap(), b"dat0").unwrap();
        assert!(matches!(store.verify(&digest).await, Err(StoreError::Damaged { .. })));
        assert!(matches!(store.read_bytes(&digest, 100).await, Err(StoreError::Damaged { .. })));
    }

    #[tokio::test]
    async fn names_that_are_no_digest_reach_no_file() {
        let home = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(home.path()).unwrap();
        for name in ["", "../../etc/passwd", &"A".repeat(64), &"é".repeat(32)] {
            assert!(matches!(store.open(name).await, Err(StoreError::NoDigest(_))), "{name}");
        }
        let absent = "0".repeat(64);
        assert!(matches!(store.open(&absent).await, Err(StoreError::Missing { .. })));
    }
}
