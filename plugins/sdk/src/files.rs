//! Files on hosts.

use crate::api::files::{self, Attributes, FileData, FileRef, Precondition, ReadOrder, WriteOrder};
use crate::api::types::Part;
use crate::{Answers, Failure, FailureKind, Presence, json::sha256, problems::failure};

/// Most that one read carries.
const READ_LIMIT: u32 = 4 * 1024 * 1024;

/// A path on a host.
pub fn at(host: &str, path: &str) -> FileRef {
    FileRef { host: host.to_owned(), path: path.to_owned() }
}

/// Whole files, in one call; none where there is none.
pub fn read(files: &[FileRef]) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    read_each(files).all()
}

/// Whole files as text.
pub fn read_text(files: &[FileRef]) -> Result<Vec<Option<String>>, Failure> {
    read_text_each(files).all()
}

/// Whole files, each with its own failure: for checks that go on without a host that does not answer.
pub fn read_each(files: &[FileRef]) -> Vec<Result<Option<Vec<u8>>, Failure>> {
    let orders: Vec<ReadOrder> = files
        .iter()
        .map(|file| ReadOrder {
            host: file.host.clone(),
            path: file.path.clone(),
            offset: 0,
            limit: READ_LIMIT,
            sensitive: false,
        })
        .collect();
    let answers = files::read(&orders).into_iter().zip(files);
    answers.map(|(answer, file)| whole(answer.present()?, file)).collect()
}

/// Whole files as text, each with its own failure.
pub fn read_text_each(files: &[FileRef]) -> Vec<Result<Option<String>, Failure>> {
    let text = |data: Vec<u8>| String::from_utf8_lossy(&data).into_owned();
    read_each(files).into_iter().map(|answer| Ok(answer?.map(text))).collect()
}

/// Part of a file must not be taken for all of it.
fn whole(data: Option<FileData>, file: &FileRef) -> Result<Option<Vec<u8>>, Failure> {
    match data {
        Some(data) if (data.data.len() as u64) < data.size => {
            Err(failure(FailureKind::TooLarge, file.path.as_str(), format!("{} bytes", data.size)))
        }
        Some(data) => Ok(Some(data.data)),
        None => Ok(None),
    }
}

/// Hashes of files; none where there is none.
pub fn hashes(files: &[FileRef]) -> Result<Vec<Option<String>>, Failure> {
    files::hash(files).into_iter().map(Presence::present).collect::<Vec<_>>().all()
}

/// Which of the files are there.
pub fn present(files: &[FileRef]) -> Result<Vec<bool>, Failure> {
    let found = files::stat(files).into_iter().map(Presence::present).collect::<Vec<_>>().all()?;
    Ok(found.iter().map(Option::is_some).collect())
}

/// A file as it should be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where.
    pub at: FileRef,
    /// What it holds.
    pub content: Vec<u8>,
    /// Permission bits; none: as they are, or the default.
    pub mode: Option<u32>,
}

/// Makes files hold what they should: looks first and writes only what differs, on condition that it is still what was
/// seen. Answers which were written.
pub fn ensure(wanted: &[Wanted]) -> Result<Vec<bool>, Failure> {
    let refs: Vec<FileRef> = wanted.iter().map(|file| file.at.clone()).collect();
    let seen = hashes(&refs)?;
    let written: Vec<bool> =
        wanted.iter().zip(&seen).map(|(file, hash)| hash.as_ref() != Some(&sha256(&file.content))).collect();
    let orders: Vec<WriteOrder> = wanted
        .iter()
        .zip(seen)
        .zip(&written)
        .filter(|(_, differs)| **differs)
        .map(|((file, hash), _)| WriteOrder {
            host: file.at.host.clone(),
            path: file.at.path.clone(),
            content: vec![content(&file.content)],
            precondition: hash.map_or(Precondition::Absent, Precondition::Hash),
            attributes: file.mode.map(|mode| Attributes { mode: Some(mode), owner: None, group: None, context: None }),
            sensitive: false,
        })
        .collect();
    if !orders.is_empty() {
        files::write(&orders).all()?;
    }
    Ok(written)
}

fn content(data: &[u8]) -> Part {
    match std::str::from_utf8(data) {
        Ok(text) => Part::Text(text.to_owned()),
        Err(_) => Part::Bytes(data.to_vec()),
    }
}
