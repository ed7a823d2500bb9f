//! `cargo xtask schemas`: the JSON Schemas of all files that people write, generated from the types that read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workspace::root;

/// Where the schemas are, from the root of the checkout.
pub(crate) const FOLDER: &str = "workflows/schema";

/// Options of `schemas`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only compare what is there with what would be written.
    #[arg(long)]
    check: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let folder = Path::new(FOLDER);
    if arguments.check { check(folder) } else { write(folder) }
}

/// Name and text of each schema file.
fn schemas() -> Result<BTreeMap<String, String>> {
    runner_types::schemas()
        .into_iter()
        .map(|(name, schema)| {
            let text = serde_json::to_string_pretty(&schema)? + "\n";
            Ok((format!("{name}.schema.json"), text))
        })
        .collect()
}

fn write(folder: &Path) -> Result<()> {
    let folder = root().join(folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, text) in schemas()? {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Fails when a schema differs from its type, or belongs to none.
pub(crate) fn check(folder: &Path) -> Result<()> {
    let wanted = schemas()?;
    let mut stale = Vec::new();
    for (name, text) in &wanted {
        if fs::read_to_string(root().join(folder).join(name)).ok().as_ref() != Some(text) {
            stale.push(format!("{name} is not what the types say"));
        }
    }
    for entry in fs::read_dir(root().join(folder)).with_context(|| format!("cannot list {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !wanted.contains_key(&name) {
            stale.push(format!("{name} belongs to no type"));
        }
    }
    if !stale.is_empty() {
        bail!("{}: {}; `cargo xtask schemas` writes them anew", folder.display(), stale.join(", "));
    }
    Ok(())
}
