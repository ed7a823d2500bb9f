//! What is written can be read back, and only as it was written.

use std::path::PathBuf;

use proptest::prelude::*;
use runner_types::{Attempt, Entry, FormatVersion, LogLevel, LogLine, Target};

use super::*;
use crate::testing::header;

fn entry(number: usize) -> Entry {
    Entry::Log(LogLine {
        attempt: Attempt { step: "s".to_owned(), target: Target::Hosts, attempt: 1 },
        level: LogLevel::Info,
        message: format!("line {number}"),
        fields: Vec::new(),
    })
}

/// A journal of so many entries, closed.
fn written(count: usize) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("r");
    let journal = Journal::create(&directory, &header()).unwrap();
    for number in 0..count {
        journal.append_lazily(entry(number)).unwrap();
    }
    drop(journal);
    (home, directory)
}

#[test]
fn entries_come_back_in_order() {
    let (_home, directory) = written(20);
    let record = read(&directory).unwrap();
    assert_eq!(record.header, header());
    assert_eq!(record.lines.len(), 20);
    assert!(record.lines.iter().enumerate().all(|(number, line)| line.entry == entry(number)));
    assert_eq!(record.torn, 0);
}

#[tokio::test]
async fn flushed_entries_are_in_the_file_when_the_append_returns() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("r");
    let journal = Journal::create(&directory, &header()).unwrap();
    for number in 0..5 {
        journal.append(entry(number), Durability::Flushed).await.unwrap();
        assert_eq!(read(&directory).unwrap().lines.len(), number + 1);
    }
}

#[test]
fn a_run_directory_is_made_once() {
    let (_home, directory) = written(1);
    assert!(Journal::create(&directory, &header()).is_err());
    assert_eq!(read(&directory).unwrap().lines.len(), 1, "the first is untouched");
}

#[test]
fn a_torn_tail_is_set_aside() {
    let (_home, directory) = written(10);
    let path = directory.join(ENTRIES);
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 5]).unwrap();
    let record = read(&directory).unwrap();
    assert_eq!(record.lines.len(), 9);
    assert!(record.torn > 0);
}

#[test]
fn another_word_in_the_last_line_is_refused() {
    let (_home, directory) = written(3);
    let path = directory.join(ENTRIES);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("line 2", "line 7")).unwrap();
    let error = read(&directory).unwrap_err().to_string();
    assert!(
        error.ends_with("journal.jsonl:3 is damaged: its text does not have the hash that it names: it was changed")
    );
}

#[test]
fn a_line_without_its_hash_proves_nothing() {
    let (_home, directory) = written(2);
    let path = directory.join(ENTRIES);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, _) = text.rsplit_once(HASH_FIELD).unwrap();
    std::fs::write(&path, format!("{before}}}\n")).unwrap();
    let record = read(&directory).unwrap();
    assert_eq!(record.lines.len(), 1);
    assert!(record.torn > 0);
}

#[test]
fn a_newer_format_says_so() {
    let (_home, directory) = written(1);
    let path = directory.join(HEADER);
    let current = format!("\"format\": {}", FormatVersion::CURRENT);
    let text = std::fs::read_to_string(&path).unwrap().replacen(&current, "\"format\": 99", 1);
    std::fs::write(&path, text).unwrap();
    let error = read(&directory).unwrap_err().to_string();
    assert!(error.contains("newer than this runner"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A byte changed anywhere but in the last line is found, with its line.
    #[test]
    fn a_changed_byte_is_found(at in 0_usize..10_000, bit in 0_u8..8) {
        let (_home, directory) = written(12);
        let path = directory.join(ENTRIES);
        let mut text = std::fs::read(&path).unwrap();
        let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        let at = at % last;
        text[at] ^= 1 << bit;
        std::fs::write(&path, &text).unwrap();
        prop_assert!(read(&directory).is_err());
    }

    /// In the last line it is found, too: what is no line any more may have been torn and is set aside, anything else is
    /// refused.
    #[test]
    fn a_changed_byte_of_the_last_line_is_found(at in 0_usize..10_000, bit in 0_u8..8) {
        let (_home, directory) = written(3);
        let path = directory.join(ENTRIES);
        let mut text = std::fs::read(&path).unwrap();
        let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let at = last + at % (text.len() - last);
        text[at] ^= 1 << bit;
        std::fs::write(&path, &text).unwrap();
        if let Ok(record) = read(&directory) {
            prop_assert_eq!(record.lines.len(), 2);
            prop_assert!(record.torn > 0);
        }
    }

    #[test]
    fn a_removed_or_swapped_line_is_found(one in 0_usize..11, other in 0_usize..11) {
        let (_home, directory) = written(12);
        let path = directory.join(ENTRIES);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        if one == other {
            lines.remove(one);
        } else {
            lines.swap(one, other);
        }
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        prop_assert!(read(&directory).is_err());
    }

    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_home, directory) = written(3);
        let path = directory.join(ENTRIES);
        let mut text = std::fs::read(&path).unwrap();
        text.extend(bytes);
        std::fs::write(&path, &text).unwrap();
        if let Ok(record) = read(&directory) {
            prop_assert!(record.lines.len() >= 3);
        }
    }
}
