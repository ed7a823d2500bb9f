//! Plugins that somebody wrote in another language against `wit/` alone. `cargo xtask test` builds those whose tools are
//! to be had and names the folder in RUNNER_TEST_VENDORS; of the others it says why they were left out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use runner_tests::Invocation;
use serde_json::{Value, json};

/// Whether the language's plugin was built; its backup then reads each host's name, which the journal shows.
fn backs_up(language: &str) -> Result<()> {
    let Some(built) = std::env::var_os("RUNNER_TEST_VENDORS") else {
        println!("left out: RUNNER_TEST_VENDORS is not set; `cargo xtask test` sets it");
        return Ok(());
    };
    let plugin = Path::new(&built).join(format!("{language}.wasm"));
    if !plugin.is_file() {
        println!("left out: the plugin in {language} could not be built here");
        return Ok(());
    }
    let folder = tempfile::TempDir::with_prefix("runner-vendors-")?;
    let write = |name: &str, value: Value| -> Result<std::ffi::OsString> {
        let path = folder.path().join(name);
        fs::write(&path, serde_json::to_vec_pretty(&value)?)?;
        Ok(path.into_os_string())
    };
    let step = json!({"name": "save", "component": language, "operation": "backup", "targets": ["nodes"]});
    let workflow = write("workflow.json", json!({"name": "vendor", "steps": [step]}))?;
    let grant = json!({"plugin": language, "allow": "files.read", "paths": ["/etc/hostname"]});
    let policy = write("policy.json", json!({"grants": [grant]}))?;
    let ended = Invocation::new(["run".into(), workflow, "--policy".into(), policy])
        .args(["--plugins".into(), built.clone()])
        .args(["--inventory", "workflows/inventories/demo/inventory.json"])
        .env("RUNNER_STATE_DIR", folder.path().join("state"))
        .run()?
        .with(0)
        .with_context(|| language.to_owned())?
        .says(&["read node-1, node-2"])?;
    ensure!(!ended.stderr.contains("warning"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn a_plugin_in_python_backs_up() -> Result<()> {
    backs_up("python")
}

#[test]
fn a_plugin_in_javascript_backs_up() -> Result<()> {
    backs_up("javascript")
}
