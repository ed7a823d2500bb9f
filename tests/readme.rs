//! What the README tells to type on a real platform fits what is shipped: the inventory that it writes, with the policy
//! that its commands make of it, serves every shipped workflow.

use std::fs;

use anyhow::{Context, Result, ensure};
use runner_tests::{Invocation, root};
use tempfile::TempDir;

/// The text between two others in the README.
fn between<'a>(readme: &'a str, begin: &str, end: &str) -> Result<&'a str> {
    let rest = readme.split_once(begin).with_context(|| format!("the README has no {begin:?}"))?.1;
    Ok(rest.split_once(end).with_context(|| format!("the README has no {end:?} after {begin:?}"))?.0)
}

#[test]
fn the_first_inventory_serves_every_shipped_workflow() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let folder = TempDir::with_prefix("runner-readme-")?;
    let (inventory, policy) = (folder.path().join("inventory.json"), folder.path().join("policy.json"));
    fs::write(&inventory, between(&readme, "$ cat > inventory.json <<'END'\n", "\nEND\n")?)?;
    ensure!(readme.contains("$ runner plugin grants --all > policy.json"), "the README makes its policy otherwise");
    let call = |arguments: &[&str]| {
        let invocation = Invocation::new(arguments.iter().copied()).env("RUNNER_INVENTORY", &inventory);
        invocation.env("RUNNER_STATE_DIR", folder.path().join("state")).run()
    };
    let grants = call(&["plugin", "grants", "--all"])?.with(0)?;
    ensure!(grants.stderr.is_empty(), "something is left to be filled in:\n{}", grants.stderr);
    fs::write(&policy, &grants.stdout)?;
    let mut seen = 0;
    for entry in fs::read_dir(root().join("workflows"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".json") || name == "releases.json" {
            continue;
        }
        let checked = call(&["workflow", "check", &path.to_string_lossy()])?;
        checked.with(0).with_context(|| format!("the README's inventory and {name}"))?;
        seen += 1;
    }
    ensure!(seen >= 8, "only {seen} workflows were checked");
    Ok(())
}
