//! What a stored tree holds, looked through before any of it is sent to a host.

use std::collections::BTreeMap;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::artifacts::{Store, Stream};
use crate::backend::{failure, pipe, stored};
use crate::contract::Failure;

/// What is sent and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Survey {
    /// Bytes.
    pub(super) size: u64,
    /// Of a tree, the hash over its paths, links and contents, as the script for `restore` makes it of a directory.
    pub(super) listing: Option<String>,
}

/// A member that matters to a comparison.
enum Member {
    Directory,
    Link(Vec<u8>),
    File(String),
    /// Pipe or device, by the letter that find(1) gives it.
    Special(char),
}

/// Looks at data of the store; a tree is read whole.
///
/// # Errors
/// When it is not there or damaged, or it is a tree with a path that leads out of it.
pub(super) async fn survey(store: &dyn Store, digest: &str) -> Result<Survey, Failure> {
    use tokio::io::AsyncReadExt as _;

    let size = store.size(digest).await.map_err(|error| stored::failure(&error))?;
    let mut head = Vec::new();
    let open = || async { store.open(digest).await.map_err(|error| stored::failure(&error)) };
    let unreadable = |error: io::Error| failure::other("store", "store", error.to_string());
    open().await?.take(stored::HEAD as u64).read_to_end(&mut head).await.map_err(unreadable)?;
    if !stored::is_tree(&head) {
        return Ok(Survey { size, listing: None });
    }
    let stream: Stream = open().await?;
    let source = pipe::into_blocking(stream);
    let found = tokio::task::spawn_blocking(move || look_through(source)).await;
    let (found, listing) = found.map_err(|error| failure::other("store", "store", error.to_string()))??;
    match found == digest {
        true => Ok(Survey { size, listing: Some(listing?) }),
        false => Err(stored::damaged(digest, &found)),
    }
}

/// Hashes what is read.
struct Hashing<R> {
    source: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// What the data hashes to, and the listing of the tree in it.
fn look_through(source: impl Read) -> Result<(String, Result<String, Failure>), Failure> {
    let mut source = Hashing { source, hash: Sha256::new() };
    let listing = members(&mut source).map(|members| listing(&members));
    let unreadable = |error: io::Error| failure::other("store", "store", error.to_string());
    io::copy(&mut source, &mut io::sink()).map_err(unreadable)?;
    Ok((hex::encode(source.hash.finalize()), listing))
}

fn members(source: &mut impl Read) -> Result<BTreeMap<Vec<u8>, Member>, Failure> {
    let wrong = |error: io::Error| {
        failure::failed("artifact", format!("the stored tree cannot be unpacked: {error}"), None, "")
    };
    let leads_out = |name: &[u8]| {
        let name = String::from_utf8_lossy(name);
        failure::invalid("artifact", format!("the stored tree holds the path {name:?}"))
    };
    let mut archive = tar::Archive::new(source);
    let mut found: BTreeMap<Vec<u8>, Member> = BTreeMap::new();
    for member in archive.entries().map_err(wrong)? {
        let mut member = member.map_err(wrong)?;
        let kind = member.header().entry_type();
        if kind == tar::EntryType::XGlobalHeader {
            continue;
        }
        let name = member.path_bytes();
        let name = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
        if !stored::is_plain(&name) {
            return Err(leads_out(&name));
        }
        for (at, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            match found.get(&name[..at]) {
                Some(Member::Directory) => {}
                None => drop(found.insert(name[..at].to_vec(), Member::Directory)),
                // What is below a link is where the link leads.
                Some(_) => return Err(leads_out(&name)),
            }
        }
        let target = member.link_name_bytes().map(|target| target.to_vec()).unwrap_or_default();
        let entry = match kind {
            tar::EntryType::Directory => Member::Directory,
            tar::EntryType::Symlink => Member::Link(target),
            tar::EntryType::Fifo => Member::Special('p'),
            tar::EntryType::Char => Member::Special('c'),
            tar::EntryType::Block => Member::Special('b'),
            tar::EntryType::Link => match found.get(&target) {
                Some(Member::File(hash)) => Member::File(hash.clone()),
                Some(Member::Link(link)) => Member::Link(link.clone()),
                Some(Member::Special(letter)) => Member::Special(*letter),
                Some(Member::Directory) | None => return Err(leads_out(&target)),
            },
            _ => {
                let mut hash = Hashing { source: &mut member, hash: Sha256::new() };
                io::copy(&mut hash, &mut io::sink()).map_err(wrong)?;
                Member::File(hex::encode(hash.hash.finalize()))
            }
        };
        found.insert(name, entry);
    }
    Ok(found)
}

/// The same bytes that the script hashes: each kind by itself, in the order of the names.
fn listing(members: &BTreeMap<Vec<u8>, Member>) -> String {
    let mut directories = Vec::new();
    let mut links = Vec::new();
    let mut specials = Vec::new();
    let mut files = Sha256::new();
    for (name, member) in members {
        match member {
            Member::Directory => directories.push([b"d ", name.as_slice()].concat()),
            Member::Link(target) => links.push([b"l ", name.as_slice(), b"//", target].concat()),
            Member::Special(letter) => specials.push([letter.to_string().as_bytes(), b" ", name].concat()),
            Member::File(_) => {}
        }
    }
    for mut lines in [directories, links, specials] {
        lines.sort();
        for line in lines {
            files.update(line);
            files.update([0]);
        }
    }
    for (name, member) in members {
        if let Member::File(hash) = member {
            files.update(hash);
            files.update(b"  ./");
            files.update(name);
            files.update([0]);
        }
    }
    hex::encode(files.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Result<BTreeMap<Vec<u8>, Member>, Failure> {
        let mut archive = tar::Builder::new(Vec::new());
        stored::begin_tree(&mut archive).unwrap();
        fill(&mut archive);
        members(&mut archive.into_inner().unwrap().as_slice())
    }

    fn add(archive: &mut tar::Builder<Vec<u8>>, name: &[u8], kind: tar::EntryType, target: &str) {
        let mut header = tar::Header::new_gnu();
        // The safe ways to give a name refuse just those that matter here.
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, io::empty()).unwrap();
    }

    #[test]
    fn paths_that_lead_out_of_a_tree_are_refused() {
        use tar::EntryType::{Link, Regular, Symlink};
        for name in [&b"../x"[..], b"/etc/x", b"a/../../x", b"./x", b"a//b", b".."] {
            let refused = archive(|archive| add(archive, name, Regular, ""));
            assert!(refused.is_err(), "{}", String::from_utf8_lossy(name));
        }
        let through = archive(|archive| {
            add(archive, b"a", Symlink, "/etc");
            add(archive, b"a/x", Regular, "");
        });
        assert!(through.is_err());
        assert!(archive(|archive| add(archive, b"a", Link, "/etc/passwd")).is_err());
        assert!(archive(|archive| add(archive, b"a", Symlink, "/etc/passwd")).is_ok(), "a link is only a text");
    }
}
