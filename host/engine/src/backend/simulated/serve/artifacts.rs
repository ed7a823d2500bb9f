//! `artifacts`: between simulated files and the store, always as a stream.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::backend::failure;
use crate::backend::pipe::{self, Sink};
use crate::backend::simulated::Simulated;
use crate::backend::simulated::model::Model;
use crate::backend::simulated::model::content::Content;
use crate::backend::simulated::model::files::{Entry, inside};
use crate::backend::simulated::platform::{Shared, blocking};
use crate::backend::stored;
use crate::contract::artifacts::{
    Capability, DataOrder, DataRef, Put, PutOrder, Restore, RestoreOrder, Source, StoredData, Tree,
};
use crate::contract::files::{FileChange, FileKind, Precondition};
use crate::contract::types::Artifact;
use crate::contract::{Caller, Cut, Failure, Performed, Place};

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn put(&self, place: &Place, _caller: &Caller, items: Vec<PutOrder>) -> Performed<Artifact> {
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            let ready = self.call::<Put>(place, vec![item.clone()], |shared, _| vec![shared.reachable()]).await?;
            answers.push(match ready.into_iter().next() {
                Some(Err(failure)) => Err(failure),
                _ => self.store_one(item).await,
            });
        }
        Ok(answers)
    }

    async fn put_data(&self, place: &Place, _caller: &Caller, items: Vec<DataOrder>) -> Performed<Artifact> {
        Ok(stored::put_data(self.shared.store.as_ref(), place, items).await)
    }

    async fn get_data(&self, _place: &Place, caller: &Caller, items: Vec<DataRef>) -> Performed<StoredData> {
        Ok(stored::get_data(self.shared.store.as_ref(), caller, items).await)
    }

    async fn restore(&self, place: &Place, _caller: &Caller, items: Vec<RestoreOrder>) -> Performed<FileChange> {
        let mut answers: Vec<Result<FileChange, Failure>> = Vec::with_capacity(items.len());
        for item in items {
            if answers.iter().any(Result::is_err) {
                answers.push(Err(failure::not_attempted(item.path.clone())));
                continue;
            }
            let spooled = self.spool(&item.digest).await;
            let answer = match spooled {
                Err(failure) => Err(failure),
                Ok(content) => {
                    let done = self.call::<Restore>(place, vec![item], move |shared, items| {
                        items.iter().map(|item| shared.transact(|model| restore(model, item, &content))).collect()
                    });
                    let done = done.await.map_err(|cut| Cut::after(&mut answers, cut.stop))?.into_iter().next();
                    done.unwrap_or_else(|| Err(failure::not_attempted("")))
                }
            };
            answers.push(answer);
        }
        Ok(answers)
    }
}

impl Shared {
    /// The answer of a call that is only asked for what stands in its way.
    fn reachable(&self) -> Result<Artifact, Failure> {
        Ok(Artifact { digest: String::new(), size: 0, name: String::new(), origin: Place::Runner, labels: Vec::new() })
    }
}

impl Simulated {
    async fn store_one(&self, item: PutOrder) -> Result<Artifact, Failure> {
        // Never closed.
        let _room = self.shared.puts.acquire().await;
        let (sink, stream) = pipe::into_async();
        let shared = std::sync::Arc::clone(&self.shared);
        let order = item.clone();
        let writer = tokio::spawn(blocking(move || send(&shared, &order, sink)));
        let stored = self.shared.store.put(Box::pin(stream)).await;
        let sent = writer.await.map_err(|error| failure::other("simulator", &item.name, error.to_string()))??;
        sent?;
        let stored = stored.map_err(|error| stored::failure(&error))?;
        Ok(stored::artifact(stored, item))
    }

    /// Brings data of the store among the platform's contents, verified.
    async fn spool(&self, digest: &str) -> Result<Content, Failure> {
        let stream = self.shared.store.open(digest).await.map_err(|error| stored::failure(&error))?;
        let mut source = pipe::into_blocking(stream);
        let shared = std::sync::Arc::clone(&self.shared);
        let wanted = digest.to_owned();
        blocking(move || {
            let content = shared.blobs.keep_stream(&mut source)?;
            let found = shared.blobs.sha256(&content)?;
            match found == wanted {
                true => Ok(content),
                false => Err(stored::damaged(&wanted, &found)),
            }
        })
        .await?
    }
}

/// Sends what an order names into the sink.
fn send(shared: &Shared, order: &PutOrder, mut sink: Sink) -> Result<(), Failure> {
    let host = order.host.as_str();
    let sent = match &order.source {
        Source::File(path) => {
            let content = shared.transact(|model| model.regular(host, path))?.content.unwrap_or_default();
            let mut reader = shared.blobs.reader(&content, 0)?;
            io::copy(&mut reader, &mut sink).map(|_| ())
        }
        Source::Tree(tree) => send_tree(shared, host, tree, &mut sink)?,
    };
    let subject = &order.name;
    sent.and_then(|()| sink.finish()).map_err(|error| failure::other("store", subject, error.to_string()))
}

fn send_tree(shared: &Shared, host: &str, tree: &Tree, sink: &mut Sink) -> Result<io::Result<()>, Failure> {
    let (root, entries) = shared.transact(|model| {
        let root = model.resolve(host, &tree.path, true)?;
        model.need_directory(host, &root)?;
        let entries = model.below(host, &root)?;
        Ok((root, entries))
    })?;
    let base = inside(&root);
    let mut archive = tar::Builder::new(sink);
    if let Err(error) = stored::begin_tree(&mut archive) {
        return Ok(Err(error));
    }
    for (path, entry) in entries {
        let name = path.strip_prefix(&base).unwrap_or(&path);
        if tree.exclude.iter().any(|pattern| stored::excluded(pattern, name)) {
            continue;
        }
        let reader: Box<dyn Read> = match &entry.content {
            Some(content) => shared.blobs.reader(content, 0)?,
            None => Box::new(io::empty()),
        };
        if let Err(error) = append(&mut archive, name, &entry, reader) {
            return Ok(Err(error));
        }
    }
    Ok(archive.into_inner().map(|_| ()))
}

fn append<W: Write>(archive: &mut tar::Builder<W>, name: &str, entry: &Entry, reader: Box<dyn Read>) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_username(&entry.owner)?;
    header.set_groupname(&entry.group)?;
    let seconds = u64::try_from(entry.modified.unix_millis() / 1000).unwrap_or(0);
    header.set_mtime(seconds);
    match (&entry.link, entry.kind) {
        (Some(link), _) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, name, link)
        }
        (None, FileKind::Directory) => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, format!("{name}/"), io::empty())
        }
        (None, _) => {
            header.set_size(entry.content.as_ref().map_or(0, Content::size));
            archive.append_data(&mut header, name, reader)
        }
    }
}

fn restore(model: &mut Model<'_>, item: &RestoreOrder, content: &Content) -> Result<FileChange, Failure> {
    let host = item.host.as_str();
    let head = model.blobs.read(content, 0, 1024)?;
    if !stored::is_tree(&head) {
        return model.write(host, &item.path, content.clone(), &item.precondition, item.attributes.as_ref());
    }
    let path = model.resolve(host, &item.path, true)?;
    if model.entry(host, &path)?.is_some() {
        model.need_directory(host, &path)?;
        let there = model.below(host, &path)?;
        if !there.is_empty() {
            return already_there(model, &path, content, &there);
        }
    }
    if item.precondition != Precondition::Absent || model.entry(host, &path)?.is_none() {
        let directory = Entry::directory(model.now);
        model.put(host, &path, &directory)?;
    }
    for (name, entry) in unpacked(model, content)? {
        model.put(host, &format!("{}{name}", inside(&path)), &entry)?;
    }
    if let Some(attributes) = &item.attributes {
        model.set_attributes(host, &path, attributes, false)?;
    }
    Ok(FileChange { changed: true, before: None, after: None })
}

/// A directory that holds just the tree is as wanted; any other that holds something is in the way.
fn already_there(
    model: &Model<'_>,
    path: &str,
    content: &Content,
    there: &[(String, Entry)],
) -> Result<FileChange, Failure> {
    let base = inside(path);
    let wanted = unpacked(model, content)?;
    let there_by_name: BTreeMap<&str, &Entry> =
        there.iter().filter_map(|(path, entry)| Some((path.strip_prefix(&base)?, entry))).collect();
    let mut same = wanted.len() == there.len();
    for (name, entry) in &wanted {
        same = same
            && match there_by_name.get(name.as_str()) {
                Some(found) => {
                    found.kind == entry.kind && found.link == entry.link && found.holds_the_same(entry, model.blobs)?
                }
                None => false,
            };
    }
    match same {
        true => Ok(FileChange { changed: false, before: None, after: None }),
        false => Err(failure::conflict(
            path,
            format!("{path} is not empty"),
            there.iter().take(10).map(|(path, _)| path.clone()).collect(),
            None,
        )),
    }
}

fn unpacked(model: &Model<'_>, content: &Content) -> Result<Vec<(String, Entry)>, Failure> {
    let wrong = |error: io::Error| {
        failure::failed("artifact", format!("the stored tree cannot be unpacked: {error}"), None, "")
    };
    let mut archive = tar::Archive::new(model.blobs.reader(content, 0)?);
    let mut found = Vec::new();
    for member in archive.entries().map_err(wrong)? {
        let mut member = member.map_err(wrong)?;
        let name = member.path().map_err(wrong)?.to_string_lossy().trim_end_matches('/').to_owned();
        if !stored::is_plain(name.as_bytes()) {
            return Err(failure::invalid("artifact", format!("the stored tree holds the path {name:?}")));
        }
        let link = member.link_name().map_err(wrong)?.map(|link| link.to_string_lossy().into_owned());
        let mut entry = match member.header().entry_type() {
            tar::EntryType::Directory => Entry::directory(model.now),
            tar::EntryType::Symlink => Entry { kind: FileKind::SymbolicLink, link, ..Entry::directory(model.now) },
            tar::EntryType::XGlobalHeader => continue,
            _ => Entry::file(model.blobs.keep_stream(&mut member)?, model.now),
        };
        let header = member.header();
        entry.mode = header.mode().map_err(wrong)?;
        if let Ok(Some(owner)) = header.username() {
            entry.owner = owner.to_owned();
        }
        if let Ok(Some(group)) = header.groupname() {
            entry.group = group.to_owned();
        }
        found.push((name, entry));
    }
    Ok(found)
}
