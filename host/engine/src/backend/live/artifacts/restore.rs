//! `artifacts.restore`: one script for the whole list, which asks for each content that it needs.

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::put::no_tar;
use super::survey::{Survey, survey};
use super::talk::{Talk, fell_silent, last_line};
use crate::artifacts::Store;
use crate::backend::live::LiveHost;
use crate::backend::live::records::Record;
use crate::backend::live::shell::{MOST_ARGUMENTS, Script};
use crate::backend::{failure, stored};
use crate::contract::artifacts::RestoreOrder;
use crate::contract::files::{FileChange, Precondition};
use crate::contract::{Class, Cut, Failure, InDoubt, Performed};

const RESTORE: &str = include_str!("restore.sh");
/// Bytes that are in memory at a time.
const PIECE: usize = 256 << 10;
/// Bytes of one item's arguments besides its path.
const ARGUMENTS: usize = 512;

type Answer = Result<FileChange, Failure>;

/// Brings data to a host, in order, until one fails.
///
/// # Errors
/// When nobody knows how one that was begun ended.
pub(super) async fn restore(host: &LiveHost, orders: Vec<RestoreOrder>) -> Performed<FileChange> {
    let mut answers: Vec<Answer> = Vec::with_capacity(orders.len());
    let mut rest = orders.as_slice();
    while !rest.is_empty() && answers.iter().all(Result::is_ok) {
        let mut prepared = Vec::new();
        let mut wrong = None;
        for order in &rest[..fitting(rest)] {
            match survey(host.store.as_ref(), &order.digest).await {
                Ok(found) => prepared.push((order, found)),
                Err(failure) => {
                    wrong = Some(failure);
                    break;
                }
            }
        }
        let before = answers.len();
        let brought = bring(host, &mut answers, &prepared).await;
        brought.map_err(|doubt| Cut::after(&mut answers, doubt))?;
        rest = &rest[answers.len() - before..];
        if let Some(failure) = wrong.filter(|_| answers.iter().all(Result::is_ok)) {
            rest = rest.get(1..).unwrap_or_default();
            answers.push(Err(failure));
        }
    }
    answers.extend(rest.iter().map(|order| Err(failure::not_attempted(order.path.clone()))));
    Ok(answers)
}

/// How many of the orders go into one script; at least one.
fn fitting(orders: &[RestoreOrder]) -> usize {
    let mut room = MOST_ARGUMENTS - RESTORE.len();
    let fits = orders.iter().take_while(|order| {
        let context = order.attributes.as_ref().and_then(|wanted| wanted.context.as_ref());
        let needs = order.path.len() + ARGUMENTS + context.map_or(0, String::len);
        let fits = needs <= room;
        room = room.saturating_sub(needs);
        fits
    });
    fits.count().max(1)
}

fn arguments(order: &RestoreOrder, found: &Survey) -> [String; 10] {
    let wanted = order.attributes.as_ref();
    let kind = if found.listing.is_some() { "tree" } else { "file" };
    [
        kind.to_owned(),
        order.path.clone(),
        order.digest.clone(),
        found.size.to_string(),
        match &order.precondition {
            Precondition::Anything => "anything".to_owned(),
            Precondition::Absent => "absent".to_owned(),
            Precondition::Hash(hash) => hash.clone(),
        },
        found.listing.clone().unwrap_or_default(),
        wanted.and_then(|wanted| wanted.mode).map(|mode| format!("{mode:o}")).unwrap_or_default(),
        wanted.and_then(|wanted| wanted.owner.clone()).unwrap_or_default(),
        wanted.and_then(|wanted| wanted.group.clone()).unwrap_or_default(),
        wanted.and_then(|wanted| wanted.context.clone()).unwrap_or_default(),
    ]
}

/// Brings what one script takes. Fewer answers than orders: the last of them is a failure.
async fn bring(host: &LiveHost, answers: &mut Vec<Answer>, orders: &[(&RestoreOrder, Survey)]) -> Result<(), InDoubt> {
    let (class, first) = (Class::WriteIdempotent, answers.len());
    let Some((order, _)) = orders.first() else {
        return Ok(());
    };
    let script = Script::new(RESTORE).arguments(orders.iter().flat_map(|(order, found)| arguments(order, found)));
    let mut talk = match Talk::begin(host.shell.as_ref(), script).await {
        Ok(talk) => talk,
        Err(error) => {
            answers.push(Err(error.settle(class, first, &order.path)?));
            return Ok(());
        }
    };
    if talk.next().await.is_none_or(|said| said.kind != "begun") {
        // The shell over there was not even reached.
        let failure = match talk.end().await {
            Ok(finished) => fell_silent(&finished, &order.path),
            Err(error) => error.settle(class, first, &order.path)?,
        };
        answers.push(Err(failure));
        return Ok(());
    }
    for (order, found) in orders {
        let Some((said, damage)) = bring_one(host, &mut talk, order, found).await else {
            let message = match talk.end().await {
                Ok(finished) => fell_silent(&finished, &order.path).message,
                Err(error) => error.to_string(),
            };
            return Err(InDoubt { item: answers.len(), message });
        };
        let answer = match damage {
            Some(failure) if said.kind == "damaged" => Err(failure),
            _ => understood(host, order, &said),
        };
        let failed = answer.is_err();
        answers.push(answer);
        if failed {
            break;
        }
    }
    // The script has nothing to do any more; that it goes is waited for, so that nothing of it is left.
    let _ = talk.end().await;
    Ok(())
}

/// What the script says of an order in the end, and what is wrong with the data that it was given. None: it fell silent.
async fn bring_one(
    host: &LiveHost,
    talk: &mut Talk,
    order: &RestoreOrder,
    found: &Survey,
) -> Option<(Record, Option<Failure>)> {
    let said = talk.next().await?;
    if said.kind != "send" {
        return Some((said, None));
    }
    let mut stdin = Some(talk.stdin.take()?);
    let mut damage = None;
    let said = {
        let listen = talk.next();
        tokio::pin!(listen);
        let early = {
            let feed = feed(host.store.as_ref(), stdin.as_mut()?, &order.digest, found.size);
            tokio::pin!(feed);
            tokio::select! {
                // A script that cannot go on says so without reading the rest.
                said = &mut listen => Some(said),
                result = &mut feed => {
                    damage = result.err();
                    None
                }
            }
        };
        match early {
            Some(said) => said,
            None => {
                if damage.is_some() {
                    // Without all of its data nothing appears; the script must not wait for what never comes.
                    stdin = None;
                }
                listen.await
            }
        }
    };
    talk.stdin = stdin;
    said.map(|said| (said, damage))
}

/// Sends data of the store; `Err`: it is not what its name says.
async fn feed<W: tokio::io::AsyncWrite + Unpin + Send>(
    store: &dyn Store,
    stdin: &mut W,
    digest: &str,
    size: u64,
) -> Result<(), Failure> {
    let mut data = store.open(digest).await.map_err(|error| stored::failure(&error))?.take(size);
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = data.read(&mut piece).await;
        let read = read.map_err(|error| failure::other("store", "store", error.to_string()))?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        if stdin.write_all(&piece[..read]).await.is_err() {
            // Nobody reads any more: what the script said, or how it ended, tells why.
            return Ok(());
        }
    }
    let _ = stdin.flush().await;
    let found = hex::encode(hash.finalize());
    if found == digest { Ok(()) } else { Err(stored::damaged(digest, &found)) }
}

/// What the last record of an order means.
fn understood(host: &LiveHost, order: &RestoreOrder, said: &Record) -> Answer {
    let path = said.text(0);
    let name = &host.name;
    Err(match said.kind.as_str() {
        "done" => {
            let changed = said.text(0) == "yes";
            return Ok(FileChange { changed, before: said.optional(1), after: said.optional(2) });
        }
        "conflict" => {
            let message = format!("{path} on {name} is not as expected");
            failure::conflict(&path, message, vec![path.clone()], said.optional(1))
        }
        "occupied" => {
            let there = said.texts().split_off(1);
            failure::conflict(&path, format!("{path} is not empty"), there, None)
        }
        "missing" => failure::not_found(&path, format!("{path}: no such directory on {name}")),
        "nowhere" => failure::invalid(&path, format!("{path} on {name} is no directory")),
        "special" => failure::invalid(&path, format!("{path} on {name} is no regular file")),
        "unsupported" => no_tar(host),
        "damaged" => {
            let message = format!("what arrived at {name} for {} hashes to {}", order.path, said.text(0));
            failure::failed(&order.path, message, None, "")
        }
        _ => {
            let text = said.text(1);
            let message = format!("{} on {name} cannot be restored: {}", order.path, last_line(&text));
            failure::failed(&order.path, message, said.text(0).parse().ok(), &text)
        }
    })
}
