//! `files`: grants name paths. The backend judges symbolic links against the same grant when it opens a file.

use std::ops::Range;

use serde_json::{Value, json};

use super::{Capable, Subject, absolute, known};
use crate::contract::files::{
    AttributeOrder, CopyOrder, DirectoryOrder, FileKind, FileRef, FileStatus, ListingOrder, ReadOrder, RemovalOrder,
    RenameOrder, WriteOrder,
};
use crate::contract::{Backend, Caller, FailureKind, Place};

fn path(path: &str) -> Result<Subject<'_>, String> {
    Ok(Subject::Paths(vec![absolute(path)?]))
}

/// Kind, attributes and, of regular files, the hash of what is at each path; "absent" where nothing is.
pub(super) async fn state(backend: &dyn Backend, place: &Place, at: Vec<(&str, &str)>) -> Vec<Value> {
    let refs: Vec<FileRef> =
        at.iter().map(|(host, path)| FileRef { host: (*host).to_owned(), path: (*path).to_owned() }).collect();
    let Ok(found) = backend.files().stat(place, &Caller::runner(), refs.clone()).await else {
        return vec![Value::Null; at.len()];
    };
    let regular: Vec<FileRef> = refs
        .iter()
        .zip(&found)
        .filter(|(_, status)| matches!(status, Ok(FileStatus { kind: FileKind::Regular, .. })))
        .map(|(file, _)| file.clone())
        .collect();
    let mut hashes = match regular.is_empty() {
        true => Vec::new(),
        false => backend.files().hash(place, &Caller::runner(), regular).await.unwrap_or_default(),
    }
    .into_iter();
    found
        .into_iter()
        .map(|status| match status {
            Ok(status) => {
                let hash = match status.kind {
                    FileKind::Regular => hashes.next().map_or(Value::Null, known),
                    FileKind::Directory | FileKind::SymbolicLink | FileKind::Special => Value::Null,
                };
                json!({"kind": status.kind, "mode": status.mode, "owner": status.owner, "group": status.group, "sha256": hash})
            }
            Err(failure) if failure.kind == FailureKind::NotFound => json!("absent"),
            Err(_) => Value::Null,
        })
        .collect()
}

macro_rules! at_path {
    ($($item:ty),* $(,)?) => {$(
        #[async_trait::async_trait]
        impl Capable for $item {
            fn subject(&self) -> Result<Subject<'_>, String> {
                path(&self.path)
            }
            fn label(&self) -> String {
                self.path.clone()
            }
            async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
                state(backend, place, items.iter().map(|i| (i.host.as_str(), i.path.as_str())).collect()).await
            }
        }
    )*};
}

at_path!(FileRef, ReadOrder, WriteOrder, AttributeOrder, DirectoryOrder, ListingOrder, RemovalOrder);

macro_rules! from_to {
    ($($item:ty: $moves:expr),* $(,)?) => {$(
        #[async_trait::async_trait]
        impl Capable for $item {
            fn moves(&self) -> Range<usize> {
                $moves
            }
            fn subject(&self) -> Result<Subject<'_>, String> {
                Ok(Subject::Paths(vec![absolute(&self.source)?, absolute(&self.destination)?]))
            }
            fn label(&self) -> String {
                format!("{} to {}", self.source, self.destination)
            }
            async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
                let sources = items.iter().map(|i| (i.host.as_str(), i.source.as_str()));
                let destinations = items.iter().map(|i| (i.host.as_str(), i.destination.as_str()));
                let mut states = state(backend, place, sources.chain(destinations).collect()).await;
                let destinations = states.split_off(items.len().min(states.len()));
                states
                    .into_iter()
                    .zip(destinations)
                    .map(|(source, destination)| json!({"source": source, "destination": destination}))
                    .collect()
            }
        }
    )*};
}

from_to!(CopyOrder: 1..2, RenameOrder: 0..2);
