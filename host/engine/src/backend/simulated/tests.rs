//! The platform as a whole, through the contract.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::artifacts::DirectoryStore;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn demo(directory: &Path) -> Simulated {
    let store = Arc::new(DirectoryStore::open(&directory.join("store")).expect("a store"));
    let mut behaviours = Vec::new();
    for entry in std::fs::read_dir(root().join("plugins")).expect("plugins") {
        let path = entry.expect("an entry").path().join("simulated.json");
        if path.is_file() {
            behaviours.push(path);
        }
    }
    let seed = root().join("workflows/inventories/demo/platform.json");
    match Simulated::open(&directory.join("platform"), &seed, &behaviours, None, store) {
        Ok(platform) => platform,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_demo_comes_to_life() {
    let directory = tempfile::tempdir().expect("a directory");
    let platform = demo(directory.path());
    for (key, fact) in platform.facts("") {
        if std::env::var("SHOW").is_ok() {
            println!("{key} {fact}");
        }
    }
}
