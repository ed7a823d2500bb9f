//! The volume on the host where its files are.

use runner_plugin_sdk::api::files::{self as api, FileKind, FileStatus, ListingOrder, Precondition, RemovalOrder};
use runner_plugin_sdk::api::operator::{self, Question};
use runner_plugin_sdk::{Answers, Failure, Presence, Problem, refused};
use serde::{Deserialize, Serialize};

use crate::parameters::Place;

/// Prompt that asks the operator to delete the volume's files.
const PROMPT: &str = "delete-volume-files";
/// How often that is asked before the backout is refused.
const ASKS: u32 = 3;
/// How many of the files left are named.
const NAMED: usize = 10;
/// Names by which Prometheus keeps its database, besides the blocks.
const DATABASE: [&str; 6] = ["chunks_head", "lock", "queries.active", "snapshots", "wal", "wbl"];

/// What a backup set holds of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Blocks of the database, each a directory of its own.
    pub(crate) blocks: Vec<String>,
    /// What else was at the top of the volume.
    pub(crate) rest: Vec<String>,
}

/// What a restore still has to bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) rest: bool,
    pub(crate) blocks: Vec<String>,
}

impl Place<'_> {
    /// A path within the volume.
    pub(crate) fn within(&self, path: &str) -> String {
        if path.is_empty() { self.volume_path.to_owned() } else { format!("{}/{path}", self.volume_path) }
    }

    /// A path within the database's directory, relative to the volume.
    pub(crate) fn in_database(&self, name: &str) -> String {
        if self.data_directory.is_empty() { name.to_owned() } else { format!("{}/{name}", self.data_directory) }
    }
}

/// Entries of a directory of the volume, hidden ones too; none where there is no such directory.
pub(crate) fn entries(place: Place<'_>, path: &str) -> Result<Vec<FileStatus>, Failure> {
    Ok(listed(place, path)?.unwrap_or_default())
}

/// Entries of a directory of the volume, where it is one.
pub(crate) fn listed(place: Place<'_>, path: &str) -> Result<Option<Vec<FileStatus>>, Failure> {
    let order = ListingOrder { host: place.volume_host.to_owned(), path: place.within(path), depth: 1, limit: 10_000 };
    api::entries(&[order]).one().present()
}

/// Names at the top of the volume; refused where there is no such directory, since an absent one is not an empty one.
pub(crate) fn top(place: Place<'_>) -> Result<Vec<String>, Problem> {
    match listed(place, "")? {
        Some(entries) => Ok(names(&entries)),
        None => {
            let message = format!(
                "there is no directory {} on host {}: check volume-host and volume-path",
                place.volume_path, place.volume_host
            );
            Err(refused("no-volume", place.volume_path, message))
        }
    }
}

/// Names in the database's directory.
pub(crate) fn in_database(place: Place<'_>, top: &[String]) -> Result<Vec<String>, Failure> {
    if place.data_directory.is_empty() { Ok(top.to_vec()) } else { Ok(names(&entries(place, place.data_directory)?)) }
}

/// Refuses a directory with files among which there is no database: it is some other directory.
pub(crate) fn expect_database(place: Place<'_>) -> Result<(), Problem> {
    let top = top(place)?;
    if top.is_empty() || in_database(place, &top)?.iter().any(|name| is_database(name)) {
        return Ok(());
    }
    let message = format!(
        "{} on host {} holds {} and no database of Prometheus: check volume-host, volume-path and data-directory",
        place.volume_path,
        place.volume_host,
        some_of(&top)
    );
    Err(refused("no-database", place.volume_path, message))
}

/// Names of entries.
pub(crate) fn names(entries: &[FileStatus]) -> Vec<String> {
    let name = |entry: &FileStatus| entry.path.rsplit('/').next().unwrap_or(&entry.path).to_owned();
    entries.iter().map(name).collect()
}

/// Directories among entries.
pub(crate) fn directories(entries: &[FileStatus]) -> Vec<String> {
    let directories: Vec<FileStatus> =
        entries.iter().filter(|entry| entry.kind == FileKind::Directory).cloned().collect();
    names(&directories)
}

/// Whether a name in the database's directory is the database's own. Blocks are named by ULIDs.
pub(crate) fn is_database(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or(name);
    let ulid = base.len() == 26 && base.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    DATABASE.contains(&name) || ulid
}

/// Removes something within the volume; true: it was there.
pub(crate) fn remove(place: Place<'_>, path: &str, contents_only: bool) -> Result<bool, Failure> {
    let order = RemovalOrder {
        host: place.volume_host.to_owned(),
        path: place.within(path),
        recursive: true,
        contents_only,
        precondition: Precondition::Anything,
    };
    Ok(api::remove(&[order]).one()?.changed)
}

/// Has the volume emptied, by the operator or by the plugin itself, and looks that it is.
pub(crate) fn empty(place: Place<'_>, component: &str, delete: bool) -> Result<(), Problem> {
    let mut left = top(place)?;
    if left.is_empty() {
        return Ok(());
    }
    if delete {
        remove(place, "", true)?;
        left = top(place)?;
        return if left.is_empty() { Ok(()) } else { Err(not_empty(place, &left)) };
    }
    for asked in 0..ASKS {
        let left_behind = if asked == 0 { &[][..] } else { &left };
        operator::pause(&question(place, component, left_behind))?;
        left = top(place)?;
        if left.is_empty() {
            return Ok(());
        }
    }
    Err(not_empty(place, &left))
}

fn question(place: Place<'_>, component: &str, left: &[String]) -> Question {
    Question {
        key: PROMPT.to_owned(),
        message: message(place, component, left),
        why: format!(
            "The volume is {} on host {}. The backup set is restored into it when nothing is left in it, no hidden file \
             either; that is looked at after you pressed Enter.",
            place.volume_path, place.volume_host
        ),
        fact: true,
    }
}

/// The original's message, and what is still there when it is asked again.
pub(crate) fn message(place: Place<'_>, component: &str, left: &[String]) -> String {
    let mut message = format!(
        "[WARNING] Please delete the files in Persistent Volume used by {component}. Press enter key after deleting data."
    );
    if !left.is_empty() {
        message.push_str(&format!("\nStill in {} on host {}: {}", place.volume_path, place.volume_host, some_of(left)));
    }
    message
}

fn some_of(names: &[String]) -> String {
    let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{first} and {more} more"),
        Some(_) | None => first,
    }
}

fn not_empty(place: Place<'_>, left: &[String]) -> Problem {
    let message = format!(
        "the volume {} on host {} is not empty: {}. Prometheus is stopped; delete what is left, then run the backout again",
        place.volume_path,
        place.volume_host,
        some_of(left)
    );
    refused("volume-not-empty", place.volume_path, message)
}

/// What a restore still has to bring, seen from what is at the top of the volume and in the database's directory. None:
/// something is there that no restore of this set put there, so the volume has to be emptied first.
pub(crate) fn missing(place: Place<'_>, saved: &Saved, top: &[String], database: &[String]) -> Option<Missing> {
    let blocks = |there: &[String]| saved.blocks.iter().filter(|block| !there.contains(block)).cloned().collect();
    if top.is_empty() {
        return Some(Missing { rest: !saved.rest.is_empty(), blocks: blocks(&[]) });
    }
    // What is not a block comes first and at once, so it is there as a whole or not at all.
    let own_block = |name: &String| place.data_directory.is_empty() && saved.blocks.contains(name);
    let explained = top.iter().all(|name| saved.rest.contains(name) || own_block(name));
    let whole = saved.rest.iter().all(|name| top.contains(name));
    (explained && whole).then(|| Missing { rest: false, blocks: blocks(database) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::found::tests::backout;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const BLOCK: &str = "01HQZX8C7QW2Y3F4G5H6J7K8M9";

    #[test]
    fn the_message_is_the_original_s() {
        let parameters = backout();
        let expected = "[WARNING] Please delete the files in Persistent Volume used by metrics. Press enter key after deleting data.";
        assert_eq!(message(parameters.place(), "metrics", &[]), expected);
        let again = message(parameters.place(), "metrics", &list(&[".hidden", "wal"]));
        assert_eq!(again, format!("{expected}\nStill in /srv/volume on host storage-1: .hidden, wal"));
        let many: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        assert!(some_of(&many).ends_with("9 and 2 more"));
    }

    #[test]
    fn what_is_the_database_s_is_told_from_the_rest() {
        for name in ["wal", "lock", "chunks_head", BLOCK, &format!("{BLOCK}.tmp-for-deletion")] {
            assert!(is_database(name), "{name}");
        }
        for name in ["notes.txt", "rules", ".hidden", "lost+found", "01HQZX8C7QW2Y3F4G5H6J7K8m9"] {
            assert!(!is_database(name), "{name}");
        }
    }

    #[test]
    fn a_restore_cut_short_brings_only_what_is_missing() {
        let parameters = backout();
        let place = parameters.place();
        let saved = Saved { blocks: list(&["A", "B"]), rest: list(&["notes"]) };
        let ask = |top: &[&str]| missing(place, &saved, &list(top), &list(top));
        assert_eq!(ask(&[]), Some(Missing { rest: true, blocks: list(&["A", "B"]) }));
        assert_eq!(ask(&["notes"]), Some(Missing { rest: false, blocks: list(&["A", "B"]) }));
        assert_eq!(ask(&["notes", "A"]), Some(Missing { rest: false, blocks: list(&["B"]) }));
        assert_eq!(ask(&["notes", "A", "B"]), Some(Missing::default()));
    }

    #[test]
    fn what_no_restore_put_there_has_to_go() {
        let parameters = backout();
        let place = parameters.place();
        let saved = Saved { blocks: list(&["A"]), rest: list(&["notes"]) };
        let ask = |top: &[&str]| missing(place, &saved, &list(top), &list(top));
        assert_eq!(ask(&["notes", "A", "wal"]), None);
        assert_eq!(ask(&["A"]), None);
        let nothing_else = Saved { blocks: list(&["A"]), rest: vec![] };
        assert_eq!(missing(place, &nothing_else, &[], &[]), Some(Missing { rest: false, blocks: list(&["A"]) }));
    }

    #[test]
    fn a_database_in_a_directory_of_its_own_is_looked_at_there() {
        let mut parameters = backout();
        parameters.data_directory = "db".into();
        let place = parameters.place();
        let saved = Saved { blocks: list(&["A", "B"]), rest: list(&["db", "notes"]) };
        let top = list(&["db", "notes"]);
        assert_eq!(missing(place, &saved, &top, &list(&["A"])), Some(Missing { rest: false, blocks: list(&["B"]) }));
        assert_eq!(missing(place, &saved, &list(&["A", "db", "notes"]), &[]), None);
        assert_eq!(place.within(&place.in_database("A")), "/srv/volume/db/A");
        assert_eq!(place.within(""), "/srv/volume");
    }
}
