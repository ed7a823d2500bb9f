//! The platform of the demo.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::*;
use crate::artifacts::DirectoryStore;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn demo(directory: &Path) -> Simulated {
    let store = Arc::new(DirectoryStore::open(&directory.join("store")).expect("a store"));
    let folders = std::fs::read_dir(root().join("plugins")).expect("plugins");
    let files = folders.map(|entry| entry.expect("an entry").path().join("simulated.json"));
    let behaviours: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    let seed = root().join("workflows/inventories/demo/platform.json");
    match Simulated::open(&directory.join("platform"), &seed, &behaviours, Faults::default(), store, directory) {
        Ok(platform) => platform,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn it_comes_to_life_and_is_found_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let platform = demo(directory.path());
    let facts = platform.facts("");
    let pods = platform.facts("cluster/main/object/Pod/");
    assert!(pods.len() >= 8, "{}", pods.len());
    for (key, pod) in pods {
        assert!(pod.contains(r#""type":"Ready","status":"True""#), "{key} is not ready: {pod}");
    }
    drop(platform);
    assert_eq!(demo(directory.path()).facts(""), facts);
}

#[test]
fn expressions_that_are_no_cel_are_found_before_anything_runs() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = r#"{"component": "x", "commands": [
        {"argv": ["x"], "when": "a ==", "stdout": {"b": ["${c +}"]}}]}"#;
    std::fs::write(file.path(), text).expect("written");
    let error = read_behaviours(&[file.path().to_owned()]).expect_err("two mistakes");
    let said = error.to_string();
    assert!(said.contains("commands[0].when"), "{said}");
    assert!(said.contains("commands[0].stdout.b[0]"), "{said}");
}
