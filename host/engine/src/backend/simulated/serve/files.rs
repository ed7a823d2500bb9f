//! `files`.

use crate::backend::budget::ENTRY;
use crate::backend::failure;
use crate::backend::simulated::Simulated;
use crate::backend::simulated::model::Model;
use crate::backend::simulated::model::commands::joined;
use crate::backend::simulated::model::files::{Entry, inside, parent};
use crate::contract::files::{
    AttributeOrder, Capability, Copy, CopyOrder, DirectoryOrder, Entries, FileChange, FileData, FileKind, FileRef,
    FileStatus, Hash, ListingOrder, MakeDirectory, Precondition, Read, ReadOrder, RemovalOrder, Remove, Rename,
    RenameOrder, Room, SetAttributes, Space, Stat, Write, WriteOrder,
};
use crate::contract::{Caller, Failure, Performed, Place};

/// Bytes that one read carries at most.
const MOST_BYTES: u64 = 4 << 20;

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn stat(&self, place: &Place, _caller: &Caller, items: Vec<FileRef>) -> Performed<FileStatus> {
        self.each::<Stat>(place, items, stat).await
    }

    async fn read(&self, place: &Place, caller: &Caller, items: Vec<ReadOrder>) -> Performed<FileData> {
        let budget = caller.budget().clone();
        self.each::<Read>(place, items, move |model, item| {
            budget.admit(&item.path)?;
            let found = read(model, item)?;
            budget.keep(found.data.len(), &item.path).map(|()| found)
        })
        .await
    }

    async fn entries(&self, place: &Place, caller: &Caller, items: Vec<ListingOrder>) -> Performed<Vec<FileStatus>> {
        let budget = caller.budget().clone();
        self.each::<Entries>(place, items, move |model, item| {
            budget.admit(&item.path)?;
            let found = entries(model, item)?;
            let bytes = found.iter().map(|entry| ENTRY + entry.path.len()).sum();
            budget.keep(bytes, &item.path).map(|()| found)
        })
        .await
    }

    async fn hash(&self, place: &Place, _caller: &Caller, items: Vec<FileRef>) -> Performed<String> {
        self.each::<Hash>(place, items, |model, item| {
            let content = model.regular(&item.host, &item.path)?.content.unwrap_or_default();
            model.blobs.sha256(&content)
        })
        .await
    }

    async fn space(&self, place: &Place, _caller: &Caller, items: Vec<FileRef>) -> Performed<Room> {
        self.each::<Space>(place, items, |model, item| model.room(&item.host, &item.path)).await
    }

    async fn write(&self, place: &Place, _caller: &Caller, items: Vec<WriteOrder>) -> Performed<FileChange> {
        self.each::<Write>(place, items, |model, item| {
            let content = model.blobs.keep(joined(&item.content))?;
            model.write(&item.host, &item.path, content, &item.precondition, item.attributes.as_ref())
        })
        .await
    }

    async fn copy(&self, place: &Place, _caller: &Caller, items: Vec<CopyOrder>) -> Performed<FileChange> {
        self.each::<Copy>(place, items, copy).await
    }

    async fn rename(&self, place: &Place, _caller: &Caller, items: Vec<RenameOrder>) -> Performed<FileChange> {
        self.each::<Rename>(place, items, rename).await
    }

    async fn remove(&self, place: &Place, _caller: &Caller, items: Vec<RemovalOrder>) -> Performed<FileChange> {
        self.each::<Remove>(place, items, remove).await
    }

    async fn make_directory(&self, place: &Place, _caller: &Caller, items: Vec<DirectoryOrder>) -> Performed<bool> {
        self.each::<MakeDirectory>(place, items, make_directory).await
    }

    async fn set_attributes(&self, place: &Place, _caller: &Caller, items: Vec<AttributeOrder>) -> Performed<bool> {
        self.each::<SetAttributes>(place, items, |model, item| {
            model.set_attributes(&item.host, &item.path, &item.attributes, item.recursive)
        })
        .await
    }
}

fn absent(path: &str, host: &str) -> Failure {
    failure::not_found(path, format!("{path}: no such file or directory on {host}"))
}

fn stat(model: &mut Model<'_>, item: &FileRef) -> Result<FileStatus, Failure> {
    let path = model.resolve(&item.host, &item.path, false)?;
    let entry = model.entry(&item.host, &path)?.ok_or_else(|| absent(&item.path, &item.host))?;
    Ok(Model::status(&item.path, &entry))
}

fn read(model: &mut Model<'_>, item: &ReadOrder) -> Result<FileData, Failure> {
    let content = model.regular(&item.host, &item.path)?.content.unwrap_or_default();
    let size = content.size();
    let data = model.blobs.read(&content, item.offset, u64::from(item.limit).min(MOST_BYTES))?;
    let whole = item.offset == 0 && data.len() as u64 == size;
    let hash = if whole { Some(model.blobs.sha256(&content)?) } else { None };
    Ok(FileData { data, size, hash })
}

/// Directories that are only implied by what is below them are entries, too.
fn entries(model: &mut Model<'_>, item: &ListingOrder) -> Result<Vec<FileStatus>, Failure> {
    let directory = model.resolve(&item.host, &item.path, true)?;
    let Some(entry) = model.entry(&item.host, &directory)? else {
        return Err(absent(&item.path, &item.host));
    };
    if entry.kind != FileKind::Directory {
        return Err(failure::invalid(&item.path, format!("{} on {} is no directory", item.path, item.host)));
    }
    let base = inside(&directory);
    let shown = inside(&item.path);
    let mut found = std::collections::BTreeMap::new();
    for (path, entry) in model.below(&item.host, &directory)? {
        let rest = path.strip_prefix(&base).unwrap_or(&path).to_owned();
        for (at, _) in rest.match_indices('/') {
            found.entry(rest[..at].to_owned()).or_insert_with(|| Entry::directory(model.now));
        }
        found.insert(rest, entry);
    }
    let depth = item.depth.max(1) as usize;
    found.retain(|path, _| path.split('/').count() <= depth);
    if found.len() > item.limit as usize {
        return Err(failure::too_large(&item.path, format!("{} has more than {} entries", item.path, item.limit)));
    }
    Ok(found.iter().map(|(path, entry)| Model::status(&format!("{shown}{path}"), entry)).collect())
}

fn hash_at(model: &Model<'_>, host: &str, path: &str) -> Result<Option<String>, Failure> {
    model.check(host, path, &Precondition::Anything)
}

fn copy(model: &mut Model<'_>, item: &CopyOrder) -> Result<FileChange, Failure> {
    let host = item.host.as_str();
    let destination = model.resolve(host, &item.destination, true)?;
    let before = model.check(host, &destination, &item.precondition)?;
    model.need_directory(host, parent(&destination))?;
    let source = model.resolve(host, &item.source, true)?;
    let changed = model.copy(host, &source, &destination)?;
    Ok(FileChange { changed, before, after: hash_at(model, host, &destination)? })
}

fn rename(model: &mut Model<'_>, item: &RenameOrder) -> Result<FileChange, Failure> {
    let host = item.host.as_str();
    // A link goes itself, not what it leads to.
    let source = model.resolve(host, &item.source, false)?;
    let destination = model.resolve(host, &item.destination, false)?;
    model.check(host, &destination, &Precondition::Absent)?;
    model.need_directory(host, parent(&destination))?;
    model.copy(host, &source, &destination)?;
    model.delete(host, &source)?;
    Ok(FileChange { changed: true, before: None, after: hash_at(model, host, &destination)? })
}

fn remove(model: &mut Model<'_>, item: &RemovalOrder) -> Result<FileChange, Failure> {
    let host = item.host.as_str();
    let path = model.resolve(host, &item.path, false)?;
    let Some(entry) = model.entry(host, &path)? else {
        return Ok(FileChange { changed: false, before: None, after: None });
    };
    let before = model.check(host, &path, &item.precondition)?;
    if item.contents_only && entry.kind != FileKind::Directory {
        return Err(failure::invalid(&item.path, format!("{} on {host} is no directory", item.path)));
    }
    let below = model.below(host, &path)?;
    if entry.kind == FileKind::Directory && !below.is_empty() && !item.recursive && !item.contents_only {
        return Err(failure::conflict(
            &item.path,
            format!("{} on {host} is a directory that is not empty", item.path),
            below.iter().take(10).map(|(path, _)| path.clone()).collect(),
            None,
        ));
    }
    if item.contents_only {
        model.delete(host, &path)?;
        model.put(host, &path, &entry)?;
        return Ok(FileChange { changed: !below.is_empty(), before: None, after: None });
    }
    model.delete(host, &path)?;
    Ok(FileChange { changed: true, before, after: None })
}

fn make_directory(model: &mut Model<'_>, item: &DirectoryOrder) -> Result<bool, Failure> {
    let host = item.host.as_str();
    let path = model.resolve(host, &item.path, true)?;
    let changed = match model.entry(host, &path)? {
        Some(entry) if entry.kind == FileKind::Directory => false,
        Some(_) => {
            return Err(failure::invalid(&path, format!("{path} on {host} is there and no directory")));
        }
        None => {
            let entry = Entry::directory(model.now);
            model.put(host, &path, &entry)?;
            true
        }
    };
    let set = match &item.attributes {
        Some(attributes) => model.set_attributes(host, &path, attributes, false)?,
        None => false,
    };
    Ok(changed || set)
}
