//! `files`: one script a call; the host's own tools do the work, and what they say of a failure becomes its kind.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::LiveHost;
use super::records::{self, Item, Record, in_order};
use super::shell::{Bounds, MOST_ARGUMENTS, Script};
use crate::backend::failure;
use crate::contract::files::{
    AttributeOrder, Attributes, Capability, CopyOrder, DirectoryOrder, FileChange, FileData, FileKind, FileRef,
    FileStatus, ListingOrder, Precondition, ReadOrder, RemovalOrder, RenameOrder, Room, WriteOrder,
};
use crate::contract::{Caller, Class, Failure, Performed, Place};
use runner_types::Timestamp;

#[cfg(test)]
mod tests;

const FILES: &str = include_str!("files.sh");
/// Where paths really are, each with a NUL at its end.
const FOLLOW: &str = r#"LC_ALL=C exec realpath -mz -- "$@""#;
/// Bytes that one read carries at most.
pub(super) const MOST_BYTES: u32 = 4 << 20;
/// How long a call may take: a hash or copy of something large.
const PATIENCE: Duration = Duration::from_secs(3600);
/// What of standard output is kept: the most that a call answers with, as base64.
const MOST_OUTPUT: usize = 12 << 20;

/// Kind bits of a mode (inode(7)).
const KIND: u32 = 0o170_000;

impl LiveHost {
    /// One answer an item from a function of the scripts.
    async fn ask<A>(
        &self,
        caller: &Caller,
        function: &str,
        class: Class,
        items: Vec<Item>,
        answer: impl Fn(usize, &Record) -> Result<A, Failure>,
    ) -> Performed<A> {
        let subjects: Vec<String> = items.iter().map(|item| item.subject.clone()).collect();
        let text = format!("{FILES}\nitem() {{ {function} \"$@\"; }}\n");
        let bounds = Bounds { stdout: MOST_OUTPUT, time: Some(PATIENCE), ..Bounds::default() };
        let answered = |index: usize, record: Result<Record, Failure>| {
            let record = record?;
            match record.kind.as_str() {
                "ok" => answer(index, &record),
                _ => Err(refusal(&record, subjects.get(index).map(String::as_str).unwrap_or_default(), &self.name)),
            }
        };
        match records::each(self.shell.as_ref(), &text, class, bounds, caller.budget(), items).await {
            Ok(answers) => Ok(answers.into_iter().enumerate().map(|(index, record)| answered(index, record)).collect()),
            Err(cut) => Err(cut.map(answered)),
        }
    }

    /// Contents with their secrets. `Err`: the answers, when one cannot be had; then nothing is begun.
    pub(super) async fn contents(
        &self,
        items: &[WriteOrder],
    ) -> Result<Vec<Vec<u8>>, Vec<Result<FileChange, Failure>>> {
        let mut contents = Vec::with_capacity(items.len());
        for order in items {
            match self.secrets.join(&order.content).await {
                Ok(content) => contents.push(content),
                Err(failure) => {
                    let mut answers: Vec<_> =
                        items.iter().map(|order| Err(failure::not_attempted(&order.path))).collect();
                    if let Some(answer) = answers.get_mut(contents.len()) {
                        *answer = Err(failure);
                    }
                    return Err(answers);
                }
            }
        }
        Ok(contents)
    }

    /// Where paths really are.
    pub(super) async fn resolved(&self, paths: &[String]) -> Vec<Result<String, Failure>> {
        let mut found = Vec::with_capacity(paths.len());
        let mut left = paths;
        while !left.is_empty() {
            let mut room = MOST_ARGUMENTS / 2;
            let fit = |path: &&String| {
                room = room.saturating_sub(path.len() + 3);
                room > 0
            };
            let (some, rest) = left.split_at(left.iter().take_while(fit).count().max(1));
            found.extend(self.resolved_at_once(some).await);
            left = rest;
        }
        found
    }

    async fn resolved_at_once(&self, paths: &[String]) -> Vec<Result<String, Failure>> {
        let script = Script::new(FOLLOW).arguments(paths.iter().cloned());
        let finished = match self.shell.run(script, Vec::new(), Bounds::default()).await {
            Ok(finished) => finished,
            Err(error) => return paths.iter().map(|_| Err(error.clone().of_read(&self.name))).collect(),
        };
        let counts = finished.ended.code == Some(0) && finished.stdout.dropped == 0;
        let told = if counts { finished.stdout.data.as_slice() } else { &[] };
        let mut told = told.split(|byte| *byte == 0);
        let reason = finished.stderr.text();
        let reason = reason.trim().rsplit(": ").next().unwrap_or_default();
        let one = |path: &String| match told.next().map(|real| String::from_utf8(real.to_vec())) {
            Some(Ok(real)) if real.starts_with('/') => Ok(real),
            Some(Err(_)) => {
                Err(failure::invalid(path, format!("{path} on {} leads to a name that is no UTF-8", self.name)))
            }
            Some(Ok(_)) | None => Err(said(path, &self.name, None, reason)),
        };
        paths.iter().map(one).collect()
    }
}

fn item(subject: &str, arguments: impl IntoIterator<Item = String>) -> Item {
    let arguments = std::iter::once(subject.to_owned()).chain(arguments).collect();
    Item { subject: subject.to_owned(), arguments, input: Vec::new() }
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn wanted(precondition: &Precondition) -> [String; 2] {
    match precondition {
        Precondition::Anything => ["anything".to_owned(), String::new()],
        Precondition::Absent => ["absent".to_owned(), String::new()],
        Precondition::Hash(hash) => ["hash".to_owned(), hash.clone()],
    }
}

/// Mode in octal, owner, group, context; empty where none is given.
fn dress(attributes: Option<&Attributes>) -> [String; 4] {
    let Some(attributes) = attributes else {
        return Default::default();
    };
    let mode = attributes.mode.map(|mode| format!("{:04o}", mode & 0o7777));
    [
        mode.unwrap_or_default(),
        attributes.owner.clone().unwrap_or_default(),
        attributes.group.clone().unwrap_or_default(),
        attributes.context.clone().unwrap_or_default(),
    ]
}

/// The failure that a record other than `ok` stands for.
fn refusal(record: &Record, path: &str, host: &str) -> Failure {
    failure_of(&record.kind, &record.texts(), path, host)
}

/// The failure that a word and its fields stand for.
pub(super) fn failure_of(kind: &str, fields: &[String], path: &str, host: &str) -> Failure {
    let text = |index: usize| fields.get(index).map(String::as_str).unwrap_or_default();
    match kind {
        "irregular" => failure::invalid(path, format!("{path} on {host} is no regular file")),
        "no-directory" => failure::invalid(path, format!("{} on {host} is no directory", text(0))),
        "absent" => failure::not_found(path, format!("{}: no such directory on {host}", text(0))),
        "inside" => failure::invalid(path, format!("the destination on {host} is {path} or inside it")),
        "root" => failure::invalid(path, format!("{path} is the root directory of {host}")),
        "elsewhere" => {
            failure::invalid(path, format!("{path} on {host} and its new place are on different file systems"))
        }
        "full" => {
            failure::conflict(path, format!("{path} on {host} is a directory that is not empty"), fields.to_vec(), None)
        }
        "conflict" => failure::conflict(
            path,
            format!("{path} on {host} is not as expected"),
            vec![path.to_owned()],
            Some(text(0).to_owned()),
        ),
        _ => said(path, host, text(0).parse().ok(), text(1)),
    }
}

/// What a tool's message means (strerror(3) in the C locale).
pub(super) fn said(path: &str, host: &str, code: Option<i32>, text: &str) -> Failure {
    let says = |words: &str| text.contains(words);
    if says("No such file or directory") {
        return failure::not_found(path, format!("{path}: no such file or directory on {host}"));
    }
    if says("Not a directory") || says("Is a directory") || says("File name too long") {
        return failure::invalid(path, format!("{path} on {host}: {}", reason(text)));
    }
    if says("invalid user") || says("invalid group") || says("invalid mode") {
        return failure::invalid(path, format!("{path} on {host}: {}", text.trim()));
    }
    failure::failed(path, format!("{path} on {host}: {}", reason(text)), code, text)
}

/// The last part of `TOOL: cannot do PATH: Reason`, as a part of a sentence.
fn reason(text: &str) -> String {
    let line = text.trim().lines().last().unwrap_or_default();
    let reason = line.rsplit(": ").next().unwrap_or(line);
    let mut letters = reason.chars();
    letters
        .next()
        .map_or_else(|| "it failed".to_owned(), |first| first.to_lowercase().collect::<String>() + letters.as_str())
}

fn bytes(record: &Record, index: usize, path: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(record.text(index)).map_err(|error| failure::other("answer", path, error.to_string()))
}

/// Statuses as `describe` of the scripts writes them: ten fields each.
fn statuses(data: &[u8]) -> Vec<FileStatus> {
    let fields: Vec<String> =
        data.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned()).collect();
    fields.chunks_exact(10).filter_map(status).collect()
}

fn status(fields: &[String]) -> Option<FileStatus> {
    let [mode, size, modified, user, uid, group, gid, name, arrow, context] = fields else {
        return None;
    };
    let mode = u32::from_str_radix(mode, 16).ok()?;
    let kind = kind(mode);
    let named = |name: &String, number: &String| if name == "UNKNOWN" { number.clone() } else { name.clone() };
    let link = arrow.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(" -> ")).map(str::to_owned);
    Some(FileStatus {
        path: name.clone(),
        kind,
        size: size.parse().ok()?,
        mode: mode & 0o7777,
        owner: named(user, uid),
        group: named(group, gid),
        modified: moment(modified)?,
        context: Some(context.clone()).filter(|context| context != "?"),
        link: link.filter(|_| kind == FileKind::SymbolicLink),
    })
}

/// Kind of what has these mode bits.
pub(super) fn kind(mode: u32) -> FileKind {
    match mode & KIND {
        0o100_000 => FileKind::Regular,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::SymbolicLink,
        _ => FileKind::Special,
    }
}

/// Seconds since 1970 with three decimals.
fn moment(seconds: &str) -> Option<String> {
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let millis =
        whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(part.get(..3).unwrap_or("0").parse().ok()?)?;
    Some(Timestamp::from_unix_millis(millis).to_string())
}

fn change(record: &Record) -> FileChange {
    FileChange { changed: record.text(0) == "yes", before: record.optional(1), after: record.optional(2) }
}

#[async_trait::async_trait]
impl Capability for LiveHost {
    async fn stat(&self, _place: &Place, caller: &Caller, items: Vec<FileRef>) -> Performed<FileStatus> {
        let asked = items.iter().map(|file| item(&file.path, [])).collect();
        self.ask(caller, "files_stat", Class::Read, asked, |index, record| {
            let path = items.get(index).map(|file| file.path.clone()).unwrap_or_default();
            let found = statuses(&bytes(record, 0, &path)?).pop();
            let found = found.ok_or_else(|| failure::not_found(&path, format!("{path} went away on {}", self.name)))?;
            Ok(FileStatus { path, ..found })
        })
        .await
    }

    async fn read(&self, _place: &Place, caller: &Caller, items: Vec<ReadOrder>) -> Performed<FileData> {
        let argument =
            |order: &ReadOrder| item(&order.path, [order.offset.to_string(), order.limit.min(MOST_BYTES).to_string()]);
        self.ask(caller, "files_read", Class::Read, items.iter().map(argument).collect(), |index, record| {
            let Some(order) = items.get(index) else { return Err(failure::not_attempted("")) };
            let data = bytes(record, 1, &order.path)?;
            // Files of the kernel have no size and yet something to say.
            let reached = if data.is_empty() { 0 } else { order.offset.saturating_add(data.len() as u64) };
            let size = record.number(0).unwrap_or_default().max(reached);
            let whole = order.offset == 0 && data.len() as u64 == size;
            let hash = whole.then(|| hex::encode(Sha256::digest(&data)));
            Ok(FileData { data, size, hash })
        })
        .await
    }

    async fn entries(&self, _place: &Place, caller: &Caller, items: Vec<ListingOrder>) -> Performed<Vec<FileStatus>> {
        let asked = items.iter().map(|order| item(&order.path, [order.depth.max(1).to_string()])).collect();
        self.ask(caller, "files_entries", Class::Read, asked, |index, record| {
            let Some(order) = items.get(index) else { return Err(failure::not_attempted("")) };
            let mut found = statuses(&bytes(record, 0, &order.path)?);
            if found.len() > order.limit as usize {
                let message = format!("{} has more than {} entries", order.path, order.limit);
                return Err(failure::too_large(&order.path, message));
            }
            let shown = order.path.trim_end_matches('/');
            for entry in &mut found {
                entry.path = format!("{shown}/{}", entry.path.strip_prefix("./").unwrap_or(&entry.path));
            }
            found.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(found)
        })
        .await
    }

    async fn hash(&self, _place: &Place, caller: &Caller, items: Vec<FileRef>) -> Performed<String> {
        let asked = items.iter().map(|file| item(&file.path, [])).collect();
        self.ask(caller, "files_hash", Class::Read, asked, |_, record| Ok(record.text(0))).await
    }

    async fn space(&self, _place: &Place, caller: &Caller, items: Vec<FileRef>) -> Performed<Room> {
        let asked = items.iter().map(|file| item(&file.path, [])).collect();
        self.ask(caller, "files_space", Class::Read, asked, |index, record| {
            let numbers: Vec<u64> = record.text(0).split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let path = items.get(index).map(|file| file.path.as_str()).unwrap_or_default();
            let [block, blocks, available, inodes] = numbers.as_slice() else {
                return Err(failure::other("answer", path, record.text(0)));
            };
            Ok(Room {
                total: block.saturating_mul(*blocks),
                available: block.saturating_mul(*available),
                inodes_available: *inodes,
            })
        })
        .await
    }

    async fn write(&self, _place: &Place, caller: &Caller, items: Vec<WriteOrder>) -> Performed<FileChange> {
        let contents = match self.contents(&items).await {
            Ok(contents) => contents,
            Err(answers) => return Ok(answers),
        };
        let mut asked = Vec::with_capacity(items.len());
        for (order, content) in items.iter().zip(contents) {
            let mut input = hex::encode(Sha256::digest(&content)).into_bytes();
            let size = content.len().to_string();
            input.extend(content);
            let rest = std::iter::once(size).chain(wanted(&order.precondition)).chain(dress(order.attributes.as_ref()));
            asked.push(Item { input, ..item(&order.path, rest) });
        }
        self.ask(caller, "files_write", Class::WriteIdempotent, asked, |_, record| Ok(change(record))).await
    }

    async fn copy(&self, _place: &Place, caller: &Caller, items: Vec<CopyOrder>) -> Performed<FileChange> {
        let argument = |order: &CopyOrder| {
            item(&order.source, std::iter::once(order.destination.clone()).chain(wanted(&order.precondition)))
        };
        let asked = items.iter().map(argument).collect();
        self.ask(caller, "files_copy", Class::WriteIdempotent, asked, |_, record| Ok(change(record))).await
    }

    async fn rename(&self, _place: &Place, caller: &Caller, items: Vec<RenameOrder>) -> Performed<FileChange> {
        in_order!(items, |order| {
            let asked = vec![item(&order.source, [order.destination.clone()])];
            let done = self.ask(caller, "files_rename", Class::WriteOnce, asked, |_, record| Ok(change(record))).await;
            done.map_err(|cut| cut.stop)
                .map(|done| done.into_iter().next().unwrap_or_else(|| Err(failure::not_attempted(&order.source))))
        })
    }

    async fn remove(&self, _place: &Place, caller: &Caller, items: Vec<RemovalOrder>) -> Performed<FileChange> {
        let argument = |order: &RemovalOrder| {
            let how = [yes(order.recursive), yes(order.contents_only)];
            item(&order.path, how.into_iter().chain(wanted(&order.precondition)))
        };
        let asked = items.iter().map(argument).collect();
        self.ask(caller, "files_remove", Class::WriteIdempotent, asked, |_, record| Ok(change(record))).await
    }

    async fn make_directory(&self, _place: &Place, caller: &Caller, items: Vec<DirectoryOrder>) -> Performed<bool> {
        let asked = items.iter().map(|order| item(&order.path, dress(order.attributes.as_ref()))).collect();
        self.ask(caller, "files_directory", Class::WriteIdempotent, asked, |_, record| Ok(record.text(0) == "yes"))
            .await
    }

    async fn set_attributes(&self, _place: &Place, caller: &Caller, items: Vec<AttributeOrder>) -> Performed<bool> {
        let argument = |order: &AttributeOrder| {
            item(&order.path, dress(Some(&order.attributes)).into_iter().chain([yes(order.recursive)]))
        };
        let asked = items.iter().map(argument).collect();
        self.ask(caller, "files_attributes", Class::WriteIdempotent, asked, |_, record| Ok(record.text(0) == "yes"))
            .await
    }
}
