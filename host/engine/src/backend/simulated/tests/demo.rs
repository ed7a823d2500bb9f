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
    match Simulated::open(&directory.join("platform"), &seed, &behaviours, None, store) {
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
        assert!(
            pod.contains(r#""type":"Ready","status":"True""#),
            "{key} is not ready: {pod}"
        );
    }
    drop(platform);
    assert_eq!(demo(directory.path()).facts(""), facts);
}
