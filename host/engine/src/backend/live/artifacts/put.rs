//! `artifacts.put`: files of a host in one script, each tree in one of its own.

use std::io;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::Sender;

use super::talk::{Talk, fell_silent, last_line};
use crate::artifacts::StoreError;
use crate::backend::live::LiveHost;
use crate::backend::live::shell::{Finished, MOST_ARGUMENTS, Script};
use crate::backend::{failure, pipe, stored};
use crate::contract::Failure;
use crate::contract::artifacts::{PutOrder, Source, Tree};
use crate::contract::types::Artifact;

const FILES: &str = include_str!("put_files.sh");
const TREE: &str = include_str!("put_tree.sh");
/// What comes before the last words of the script for a tree.
const SUM: &[u8] = b"\0sum\0";
/// Bytes that are in memory at a time.
const PIECE: usize = 256 << 10;

/// Why a stream did not get into the store.
enum Broken {
    /// What is wrong with what was asked for; the next may go well.
    Failed(Failure),
    /// The store takes no more.
    Refused,
    /// The script says no more.
    Silent,
}

/// Stores files and trees of a host; each stands alone.
pub(super) async fn put(host: &LiveHost, orders: Vec<PutOrder>) -> Vec<Result<Artifact, Failure>> {
    let mut answers: Vec<Option<Result<Artifact, Failure>>> = orders.iter().map(|_| None).collect();
    let mut files: Vec<(usize, PutOrder)> = Vec::new();
    for (index, order) in orders.into_iter().enumerate() {
        match &order.source {
            Source::File(_) => files.push((index, order)),
            Source::Tree(tree) => answers[index] = Some(store_tree(host, tree, &order).await),
        }
    }
    while !files.is_empty() {
        let later = files.split_off(fitting(&files));
        let (indices, now): (Vec<usize>, Vec<PutOrder>) = files.into_iter().unzip();
        for (index, answer) in indices.into_iter().zip(store_files(host, now).await) {
            answers[index] = Some(answer);
        }
        files = later;
    }
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(failure::not_attempted("")))).collect()
}

fn path(order: &PutOrder) -> &str {
    match &order.source {
        Source::File(path) => path,
        Source::Tree(tree) => &tree.path,
    }
}

/// How many of the files go into one script; at least one.
fn fitting(files: &[(usize, PutOrder)]) -> usize {
    let mut room = MOST_ARGUMENTS - FILES.len();
    let fits = files.iter().take_while(|(_, order)| {
        let needs = path(order).len() + 3;
        let fits = needs <= room;
        room = room.saturating_sub(needs);
        fits
    });
    fits.count().max(1)
}

async fn store_files(host: &LiveHost, orders: Vec<PutOrder>) -> Vec<Result<Artifact, Failure>> {
    let script = Script::new(FILES).arguments(orders.iter().map(path));
    let mut talk = match Talk::begin(host.shell.as_ref(), script).await {
        Ok(talk) => talk,
        Err(error) => return orders.iter().map(|order| Err(error.clone().of_read(path(order)))).collect(),
    };
    talk.stdin = None;
    let mut answers = Vec::with_capacity(orders.len());
    let mut rest = orders.into_iter();
    let broken = loop {
        let Some(order) = rest.next() else {
            return answers;
        };
        match store_file(host, &mut talk, &order).await {
            Ok(stored) => answers.push(Ok(stored::artifact(stored, order))),
            Err((Broken::Failed(failure), _)) => answers.push(Err(failure)),
            // What is left of this file would have to be read for nothing, and the next has no better prospects.
            Err((Broken::Refused, error)) => break (order, error.map(|error| stored::failure(&error))),
            Err((Broken::Silent, _)) => break (order, None),
        }
    };
    let (order, refused) = broken;
    let why: Box<dyn Fn(&str) -> Failure + Send> = match refused {
        Some(failure) => Box::new(move |_| failure.clone()),
        None => match talk.end().await {
            Ok(finished) => Box::new(move |subject| fell_silent(&finished, subject)),
            Err(error) => Box::new(move |subject| error.clone().of_read(subject)),
        },
    };
    answers.extend(std::iter::once(order).chain(rest).map(|order| Err(why(path(&order)))));
    answers
}

/// Stores the file that the script comes to now. An error of the store comes with what broke.
async fn store_file(
    host: &LiveHost,
    talk: &mut Talk,
    order: &PutOrder,
) -> Result<crate::artifacts::Stored, (Broken, Option<StoreError>)> {
    let path = path(order);
    let Some(said) = talk.next().await else {
        return Err((Broken::Silent, None));
    };
    let failed = |failure| Err((Broken::Failed(failure), None));
    let size: u64 = match (said.kind.as_str(), said.text(0).parse()) {
        ("file", Ok(size)) => size,
        ("missing", _) => return failed(failure::not_found(path, format!("{path}: no such file on {}", host.name))),
        ("special", _) => {
            return failed(failure::invalid(path, format!("{path} on {} is no regular file", host.name)));
        }
        ("failed", _) => return failed(unreadable(host, path, &said.text(1))),
        _ => return Err((Broken::Silent, None)),
    };
    let (sender, source) = pipe::pieces();
    let receive = async move {
        let hash = forward(&mut (&mut talk.stdout).take(size), &sender, size).await?;
        let Some(said) = talk.next().await else {
            return Err(Broken::Silent);
        };
        match said.kind.as_str() {
            "end" if said.text(0) == hash => finish(&sender).await,
            "end" => Err(Broken::Failed(changed(host, path))),
            _ => Err(Broken::Failed(unreadable(host, path, &said.text(1)))),
        }
    };
    let (stored, received) = tokio::join!(host.store.put(Box::pin(source)), receive);
    match (received, stored) {
        (Ok(()), Ok(stored)) => Ok(stored),
        (Ok(()) | Err(Broken::Refused), Err(error)) => Err((Broken::Refused, Some(error))),
        (Err(broken), _) => Err((broken, None)),
    }
}

async fn store_tree(host: &LiveHost, tree: &Tree, order: &PutOrder) -> Result<Artifact, Failure> {
    let path = tree.path.as_str();
    let excludes = tree.exclude.iter().filter_map(|pattern| exclusion(pattern));
    let script = Script::new(TREE).argument(path).arguments(excludes);
    let began = Talk::begin(host.shell.as_ref(), script).await;
    let mut talk = began.map_err(|error| error.of_read(path))?;
    talk.stdin = None;
    let said = talk.next().await;
    match said.as_ref().map(|said| said.kind.as_str()) {
        Some("tree") => {}
        Some("missing") => {
            return Err(failure::not_found(path, format!("{path}: no such directory on {}", host.name)));
        }
        Some("special") => return Err(failure::invalid(path, format!("{path} on {} is no directory", host.name))),
        Some("unsupported") => return Err(no_tar(host)),
        Some("failed") => return Err(unreadable(host, path, &said.map(|said| said.text(1)).unwrap_or_default())),
        _ => {
            let finished = talk.end().await.map_err(|error| error.of_read(path))?;
            return Err(fell_silent(&finished, path));
        }
    }
    let (sender, source) = pipe::pieces();
    let receive = async move {
        let head = mark().map_err(|error| Broken::Failed(failure::other("store", path, error.to_string())))?;
        sender.send(Ok(head)).await.map_err(|_| Broken::Refused)?;
        let hash = forward(&mut talk.stdout, &sender, u64::MAX).await?;
        let finished = talk.end().await.map_err(|error| Broken::Failed(error.of_read(path)))?;
        agree(host, path, &finished, &hash).map_err(Broken::Failed)?;
        finish(&sender).await
    };
    let (stored, received) = tokio::join!(host.store.put(Box::pin(source)), receive);
    match (received, stored) {
        (Err(Broken::Failed(failure)), _) => Err(failure),
        (Ok(()) | Err(Broken::Refused | Broken::Silent), Err(error)) => Err(stored::failure(&error)),
        (Ok(()), Ok(stored)) => Ok(stored::artifact(stored, order.clone())),
        (Err(Broken::Refused | Broken::Silent), Ok(_)) => {
            Err(failure::other("store", path, "the store did not take all of it"))
        }
    }
}

/// What a stored tree begins with.
fn mark() -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    stored::begin_tree(&mut archive)?;
    Ok(archive.get_ref().clone())
}

/// Whether tar was content over there, and what came is what it said.
fn agree(host: &LiveHost, path: &str, finished: &Finished, hash: &str) -> Result<(), Failure> {
    let said = &finished.stderr.data;
    let at = said.windows(SUM.len()).rposition(|window| window == SUM);
    let Some((text, words)) = at.map(|at| (&said[..at], &said[at + SUM.len()..])) else {
        return Err(fell_silent(finished, path));
    };
    let mut words = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let (sum, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let text = String::from_utf8_lossy(text);
    match code.as_str() {
        "0" if sum == hash => Ok(()),
        "0" => Err(failure::failed(path, format!("what arrived of {path} is not what {} sent", host.name), None, "")),
        "1" => Err(failure::conflict(
            path,
            format!("{path} on {} changed while it was read: {}", host.name, last_line(&text)),
            vec![path.to_owned()],
            None,
        )),
        code => {
            let message = format!("{path} on {} cannot be read as a tree: {}", host.name, last_line(&text));
            Err(failure::failed(path, message, code.parse().ok(), &text))
        }
    }
}

/// Sends on what comes, `size` bytes or, of [`u64::MAX`], all of it; answers its hash.
async fn forward<R: AsyncRead + Unpin + Send>(
    source: &mut R,
    sender: &Sender<io::Result<Vec<u8>>>,
    size: u64,
) -> Result<String, Broken> {
    let mut hash = Sha256::new();
    let mut left = size;
    while left > 0 {
        let mut piece = vec![0; PIECE];
        let read = source.read(&mut piece).await.map_err(|_| Broken::Silent)?;
        if read == 0 {
            break;
        }
        piece.truncate(read);
        hash.update(&piece);
        left -= read as u64;
        sender.send(Ok(piece)).await.map_err(|_| Broken::Refused)?;
    }
    if left > 0 && size < u64::MAX {
        return Err(Broken::Silent);
    }
    Ok(hex::encode(hash.finalize()))
}

/// Says that this was all: without it, the store takes nothing of it.
async fn finish(sender: &Sender<io::Result<Vec<u8>>>) -> Result<(), Broken> {
    sender.send(Ok(Vec::new())).await.map_err(|_| Broken::Refused)
}

/// The argument of tar that leaves out what a pattern stands for: to tar, more than `*` is special.
fn exclusion(pattern: &str) -> Option<String> {
    let pattern = stored::trimmed(pattern);
    let mut argument = "--exclude=".to_owned();
    for letter in pattern.chars() {
        if matches!(letter, '?' | '[' | ']' | '\\') {
            argument.push('\\');
        }
        argument.push(letter);
    }
    (!pattern.is_empty()).then_some(argument)
}

/// Trees need tar on the host.
pub(super) fn no_tar(host: &LiveHost) -> Failure {
    let message = format!("host {} has no GNU tar, which a directory needs to be stored or restored", host.name);
    failure::unsupported(&host.name, message)
}

fn unreadable(host: &LiveHost, path: &str, text: &str) -> Failure {
    failure::failed(path, format!("{path} on {} cannot be read: {}", host.name, last_line(text)), Some(1), text)
}

fn changed(host: &LiveHost, path: &str) -> Failure {
    let message = format!("{path} on {} changed while it was read", host.name);
    failure::conflict(path, message, vec![path.to_owned()], None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stars_are_special_in_what_tar_leaves_out() {
        assert_eq!(exclusion("a*/b?[c]\\/**").as_deref(), Some(r"--exclude=a*/b\?\[c\]\\"));
        assert_eq!(exclusion("/"), None);
    }

    #[test]
    fn a_tree_is_known_by_its_beginning() {
        let head = mark().unwrap();
        assert_eq!(head.len(), stored::HEAD);
        assert!(stored::is_tree(&head) && !stored::is_tree(&head[..512]));
    }
}
