//! Contents of simulated files: text, bytes, made up by size, or, when large, in a file of their own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::backend::failure;
use crate::contract::Failure;
use crate::state;

/// Contents up to this size stand in the fact itself.
const INLINE: usize = 64 * 1024;
/// Made-up content repeats a line of this length.
const LINE: u64 = 65;

/// What a regular file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Content {
    /// UTF-8 text.
    Text(String),
    /// Other bytes.
    Base64(String),
    /// Made up from a name.
    Made {
        /// What it is made from: other names, other contents.
        name: String,
        /// Size in bytes.
        size: u64,
    },
    /// A file among the blobs.
    Blob {
        /// Its SHA-256.
        sha256: String,
        /// Size in bytes.
        size: u64,
    },
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Content {
    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Base64(text) => {
                let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
                (text.len() / 4 * 3 - padding) as u64
            }
            Self::Made { size, .. } | Self::Blob { size, .. } => *size,
        }
    }
}

/// Large contents, by their hash, in a directory.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    /// In this directory, which is made when it is first needed.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Content from bytes.
    pub(crate) fn keep(&self, bytes: Vec<u8>) -> Result<Content, Failure> {
        if bytes.len() > INLINE {
            return self.keep_stream(&mut bytes.as_slice());
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(error) => Content::Base64(STANDARD.encode(error.as_bytes())),
        })
    }

    /// Content from a stream, in bounded memory.
    pub(crate) fn keep_stream(&self, reader: &mut dyn Read) -> Result<Content, Failure> {
        let mut head = Vec::new();
        reader.take(INLINE as u64 + 1).read_to_end(&mut head).map_err(|error| self.wrong(&error))?;
        if head.len() <= INLINE {
            return self.keep(head);
        }
        self.spool(&mut head.chain(reader)).map_err(|error| self.wrong(&error))
    }

    fn spool(&self, reader: &mut dyn Read) -> io::Result<Content> {
        state::make_directory(&self.directory)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        state::share(file.as_file(), &self.directory)?;
        let mut hash = Sha256::new();
        let mut size = 0u64;
        let mut buffer = vec![0; INLINE];
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            file.write_all(&buffer[..count])?;
            size += count as u64;
        }
        let sha256 = hex::encode(hash.finalize());
        file.persist(self.path(&sha256))?;
        Ok(Content::Blob { sha256, size })
    }

    /// The content as a stream, from an offset.
    pub(crate) fn reader(&self, content: &Content, offset: u64) -> Result<Box<dyn Read + Send>, Failure> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(match content {
            Content::Text(text) => Box::new(Bytes::new(text.clone().into_bytes(), from)),
            Content::Base64(text) => {
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|error| failure::other("damaged-platform", "file", error.to_string()))?;
                Box::new(Bytes::new(bytes, from))
            }
            Content::Made { name, size } => {
                Box::new(Made { line: made_line(name), at: offset.min(*size), size: *size })
            }
            Content::Blob { sha256, .. } => {
                let path = self.path(sha256);
                let open = || -> io::Result<File> {
                    let mut file = File::open(&path)?;
                    file.seek(SeekFrom::Start(offset))?;
                    Ok(file)
                };
                Box::new(open().map_err(|error| self.wrong(&error))?)
            }
        })
    }

    /// At most `limit` bytes of the content from an offset.
    pub(crate) fn read(&self, content: &Content, offset: u64, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.reader(content, offset)?.take(limit).read_to_end(&mut bytes).map_err(|error| self.wrong(&error))?;
        Ok(bytes)
    }

    /// SHA-256 of the content.
    pub(crate) fn sha256(&self, content: &Content) -> Result<String, Failure> {
        if let Content::Blob { sha256, .. } = content {
            return Ok(sha256.clone());
        }
        let mut reader = self.reader(content, 0)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; INLINE];
        loop {
            let count = reader.read(&mut buffer).map_err(|error| self.wrong(&error))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
        }
        Ok(hex::encode(hash.finalize()))
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.directory.join(sha256)
    }

    fn wrong(&self, error: &io::Error) -> Failure {
        let directory: &Path = &self.directory;
        failure::other(
            "simulator",
            directory.display().to_string(),
            format!("the simulated platform's file contents: {error}"),
        )
    }
}

struct Bytes {
    bytes: Vec<u8>,
    at: usize,
}

impl Bytes {
    fn new(bytes: Vec<u8>, at: usize) -> Self {
        let at = at.min(bytes.len());
        Self { bytes, at }
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.bytes[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

fn made_line(name: &str) -> [u8; LINE as usize] {
    let mut line = [b'\n'; LINE as usize];
    let text = hex::encode(Sha256::digest(name.as_bytes()));
    for (byte, digit) in line.iter_mut().zip(text.bytes()) {
        *byte = digit;
    }
    line
}

struct Made {
    line: [u8; LINE as usize],
    at: u64,
    size: u64,
}

impl Read for Made {
    #[allow(clippy::cast_possible_truncation, reason = "at most the buffer's length")]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (self.size - self.at).min(buffer.len() as u64) as usize;
        for (byte, place) in buffer[..count].iter_mut().zip(self.at..) {
            *byte = self.line[(place % LINE) as usize];
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back_from_any_offset() -> Result<(), Failure> {
        let directory = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::new(directory.path().join("blobs"));
        let long: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let cases = [
            (blobs.keep(b"text".to_vec())?, b"text".to_vec()),
            (blobs.keep(vec![0xff, 1, 2])?, vec![0xff, 1, 2]),
            (blobs.keep(long.clone())?, long),
        ];
        for (content, bytes) in cases {
            assert_eq!(content.size(), bytes.len() as u64);
            assert_eq!(blobs.read(&content, 0, u64::MAX)?, bytes);
            assert_eq!(blobs.read(&content, 2, 2)?, bytes[2..bytes.len().min(4)]);
            assert!(blobs.read(&content, 1 << 40, 1)?.is_empty());
            assert_eq!(blobs.sha256(&content)?, hex::encode(Sha256::digest(&bytes)));
        }
        let made = Content::Made { name: "x".to_owned(), size: 1000 };
        let all = blobs.read(&made, 0, u64::MAX)?;
        assert_eq!(all.len(), 1000);
        assert_eq!(blobs.read(&made, 100, 50)?, all[100..150]);
        Ok(())
    }
}
