//! What every backend does alike with the store: small data, failures, and the form of a tree.

use std::io::{self, Write};

use crate::artifacts::{Store, StoreError, Stored};
use crate::backend::failure as kind;
use crate::backend::simulated::pattern::glob;
use crate::contract::artifacts::{DataOrder, DataRef, PutOrder, StoredData};
use crate::contract::types::Artifact;
use crate::contract::{Caller, Failure, Place};

/// Data that `get-data` gives back at most.
const MOST_DATA: u64 = 4 << 20;
/// A comment in the first header tells a stored tree from a file that happens to be an archive.
const TREE: &[u8] = b"25 comment=runner-tree-1\n";
/// Bytes that tell a tree.
pub(crate) const HEAD: usize = 1024;

/// `artifacts.put-data` at a place.
pub(crate) async fn put_data(
    store: &dyn Store,
    place: &Place,
    items: Vec<DataOrder>,
) -> Vec<Result<Artifact, Failure>> {
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let size = item.data.len() as u64;
        let stored = store.put_bytes(item.data).await;
        answers.push(stored.map_err(|error| failure(&error)).map(|digest| Artifact {
            digest,
            size,
            name: item.name,
            origin: place.clone(),
            labels: item.labels,
        }));
    }
    answers
}

/// `artifacts.get-data`.
pub(crate) async fn get_data(
    store: &dyn Store,
    caller: &Caller,
    items: Vec<DataRef>,
) -> Vec<Result<StoredData, Failure>> {
    let mut answers = Vec::with_capacity(items.len());
    for DataRef { digest } in items {
        let answer = match caller.budget().admit(&digest) {
            Ok(()) => store.read_bytes(&digest, MOST_DATA).await.map_err(|error| failure(&error)),
            Err(spent) => Err(spent),
        };
        answers.push(answer.and_then(|data| {
            caller.budget().keep(data.len(), &digest)?;
            Ok(StoredData { data })
        }));
    }
    answers
}

/// What `artifacts.put` answers to an order.
pub(crate) fn artifact(stored: Stored, order: PutOrder) -> Artifact {
    let Stored { digest, size } = stored;
    Artifact { digest, size, name: order.name, origin: Place::Host(order.host), labels: order.labels }
}

/// What an error of the store is to who asked.
pub(crate) fn failure(error: &StoreError) -> Failure {
    let message = error.to_string();
    match error {
        StoreError::Missing { digest, .. } => kind::not_found(digest, message),
        StoreError::TooLarge { digest, .. } => kind::too_large(digest, message),
        StoreError::NoDigest(text) => kind::invalid(text, message),
        StoreError::Damaged { digest, .. } => kind::failed(digest, message, None, ""),
        StoreError::Io { .. } => kind::other("store", "store", message),
    }
}

/// Data of the store that is not what its name says.
pub(crate) fn damaged(digest: &str, found: &str) -> Failure {
    kind::failed(digest, format!("data {digest} of the store is damaged: it hashes to {found}"), None, "")
}

/// Writes what a stored tree begins with: a global header of 1024 bytes, in all.
///
/// # Errors
/// Those of the writer.
pub(crate) fn begin_tree<W: Write>(archive: &mut tar::Builder<W>) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XGlobalHeader);
    header.set_size(TREE.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_path("pax_global_header")?;
    header.set_cksum();
    archive.append(&header, TREE)
}

/// Whether data that begins so is a tree.
pub(crate) fn is_tree(head: &[u8]) -> bool {
    head.get(156) == Some(&b'g') && head.get(512..512 + TREE.len()) == Some(TREE)
}

/// Whether a path of a tree stays within it, and is written in one way only.
pub(crate) fn is_plain(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').all(|part| !matches!(part, b".." | b"." | b""))
}

/// Whether a pattern of `exclude` stands for a path or a directory it is in. `*` stands for anything, `/` included.
pub(crate) fn excluded(pattern: &str, path: &str) -> bool {
    let pattern = trimmed(pattern);
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.into_iter().any(|end| glob(pattern, &path[..end]))
}

/// A pattern of `exclude` without what says that all below a directory is meant: it always is.
pub(crate) fn trimmed(pattern: &str) -> &str {
    pattern.trim_end_matches("/**").trim_end_matches('/')
}
