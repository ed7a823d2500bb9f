//! What a backup stores.

use serde_json::Value;

use crate::api::artifacts::{self, DataOrder, PutOrder, Source, Tree};
use crate::{Answers, Artifact, Failure};

/// A file of a host as an artifact.
pub fn file(host: &str, path: &str, name: &str) -> PutOrder {
    PutOrder { host: host.to_owned(), source: Source::File(path.to_owned()), name: name.to_owned(), labels: Vec::new() }
}

/// A directory of a host as an artifact.
pub fn tree(host: &str, path: &str, name: &str, exclude: &[&str]) -> PutOrder {
    let tree = Tree { path: path.to_owned(), exclude: exclude.iter().map(|pattern| (*pattern).to_owned()).collect() };
    PutOrder { host: host.to_owned(), source: Source::Tree(tree), name: name.to_owned(), labels: Vec::new() }
}

/// Stores data of the plugin's own, such as Kubernetes objects.
pub fn put_json(items: &[(&str, &Value)]) -> Result<Vec<Artifact>, Failure> {
    let orders: Vec<DataOrder> = items
        .iter()
        .map(|(name, value)| DataOrder {
            name: (*name).to_owned(),
            data: value.to_string().into_bytes(),
            labels: Vec::new(),
        })
        .collect();
    artifacts::put_data(&orders).all()
}
