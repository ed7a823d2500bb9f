use super::super::Facts;
use super::*;
use proptest::prelude::*;

fn plain(_key: &str, _fact: &str) -> Vec<String> {
    Vec::new()
}

fn change(facts: &[(&str, Option<&str>)]) -> Change {
    facts.iter().map(|(key, fact)| (Key::from(*key), fact.map(Fact::from))).collect()
}

fn dump(store: &Store) -> Vec<(String, String)> {
    store.facts().iter().map(|(key, fact)| (key.to_string(), fact.to_string())).collect()
}

fn open(directory: &Path) -> Result<Store, StoreError> {
    Ok(Store::open(directory, plain)?.expect("it was made"))
}

#[test]
fn what_was_committed_is_there_again() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(Store::open(directory.path(), plain).expect("readable").is_none());
    let first = change(&[("a", Some("1")), ("b \"quoted\"", Some("{\"x\":\"ä\\n\"}"))]);
    let mut store = Store::create(directory.path(), "seed", first, plain).expect("it can be created");
    store.commit(change(&[("a", None), ("c", Some("[1,2]"))])).expect("it can be written");
    let before = dump(&store);
    assert!(matches!(Store::open(directory.path(), plain), Err(StoreError::Busy(_))));
    drop(store);
    let store = open(directory.path()).expect("readable");
    assert_eq!(dump(&store), before);
    assert_eq!(store.origin(), "seed");
    assert!(store.facts().get("a").is_none());
}

#[test]
fn a_grown_log_is_folded_into_the_state() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = Store::create(directory.path(), "seed", Change::new(), plain).expect("created");
    let long = format!("\"{}\"", "x".repeat(100_000));
    for round in 0..30 {
        let text = format!("\"{round}\"");
        store.commit(change(&[("long", Some(&long)), ("round", Some(&text))])).expect("written");
    }
    assert!(store.log_bytes < 2 * SMALLEST_LOG, "{}", store.log_bytes);
    assert!(store.header.log > 1);
    let before = dump(&store);
    drop(store);
    assert_eq!(dump(&open(directory.path()).expect("readable")), before);
    let logs = fs::read_dir(directory.path())
        .expect("a directory")
        .filter(|entry| entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with("changes-")))
        .count();
    assert_eq!(logs, 1);
}

#[test]
fn a_changed_line_is_refused_with_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = Store::create(directory.path(), "seed", Change::new(), plain).expect("created");
    for key in ["a", "b", "c"] {
        store.commit(change(&[(key, Some("1"))])).expect("written");
    }
    drop(store);
    let path = log_path(directory.path(), 1);
    let text = fs::read_to_string(&path).expect("a log");
    fs::write(&path, text.replace("\"b\":1", "\"b\":2")).expect("written");
    assert!(matches!(open(directory.path()), Err(StoreError::Damaged { line: 2, .. })));
}

#[test]
fn another_format_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(Store::create(directory.path(), "seed", Change::new(), plain).expect("created"));
    let path = directory.path().join("state.jsonl");
    let text = fs::read_to_string(&path).expect("a state");
    fs::write(&path, text.replace("\"format\":1", "\"format\":7")).expect("written");
    assert!(matches!(open(directory.path()), Err(StoreError::Format { found: 7, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Cut anywhere, the log gives the state after some number of whole changes, never another one.
    #[test]
    fn a_torn_log_reloads_to_a_prefix(
        changes in prop::collection::vec(prop::collection::btree_map("[a-d]", prop::option::of(0u32..100), 1..4), 1..8),
        cut in 0.0f64..=1.0,
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = Store::create(directory.path(), "seed", Change::new(), plain).expect("created");
        let mut states = vec![dump(&store)];
        for entry in &changes {
            let entry: Change = entry
                .iter()
                .map(|(key, value)| (Key::from(key.as_str()), value.map(|v| Fact::from(v.to_string()))))
                .collect();
            store.commit(entry).expect("written");
            states.push(dump(&store));
        }
        drop(store);
        let path = log_path(directory.path(), 1);
        let bytes = fs::read(&path).expect("a log");
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short file")]
        let length = (bytes.len() as f64 * cut) as usize;
        fs::write(&path, &bytes[..length]).expect("written");
        let whole = bytes[..length].iter().filter(|b| **b == b'\n').count();
        let mut store = open(directory.path()).expect("readable");
        prop_assert_eq!(&dump(&store), &states[whole]);
        // It goes on from there.
        store.commit(change(&[("z", Some("1"))])).expect("written");
        let after = dump(&store);
        drop(store);
        prop_assert_eq!(dump(&open(directory.path()).expect("readable")), after);
    }
}
