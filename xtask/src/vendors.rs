//! Plugins in languages whose tools a machine may lack: built where they are to be had, left out with a reason elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::workspace::{root, run, target};

/// What makes components of Python.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
/// What makes components of JavaScript.
const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js@0.23.0";

/// Builds what can be built into `target/vendors`, each packed with its manifest.
pub(crate) fn build(runner: &Path) -> Result<PathBuf> {
    let into = target().join("vendors");
    fs::create_dir_all(&into).with_context(|| format!("cannot create {}", into.display()))?;
    for (language, component) in [("python", python as fn(&Path, &Path) -> Result<()>), ("javascript", javascript)] {
        let tools = into.join(format!("{language}-tools"));
        let raw = tools.join("plugin.wasm");
        let made = fs::create_dir_all(&tools).map_err(Into::into).and_then(|()| component(&tools, &raw));
        let packed = into.join(format!("{language}.wasm"));
        match made {
            Ok(()) => {
                let manifest = root().join("tests/vendors").join(language).join("manifest.json");
                build::pack(runner, &raw, &manifest, &packed)?;
            }
            Err(error) => {
                // One of an earlier build would be tested in its place.
                if packed.exists() {
                    fs::remove_file(&packed).with_context(|| format!("cannot remove {}", packed.display()))?;
                }
                eprintln!("the plugin in {language} is left out: {error:#}");
            }
        }
    }
    Ok(into)
}

fn python(tools: &Path, output: &Path) -> Result<()> {
    let program = tools.join("bin/componentize-py");
    if !program.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(tools))?;
        run(Command::new(tools.join("bin/pip")).args(["install", "--quiet", COMPONENTIZE_PY]))?;
    }
    let mut command = Command::new(program);
    command.arg("--wit-path").arg(root().join("wit")).args(["--world", "plugin", "componentize", "app", "--output"]);
    run(command.arg(output).current_dir(root().join("tests/vendors/python")).env("PYTHONDONTWRITEBYTECODE", "1"))
}

fn javascript(tools: &Path, output: &Path) -> Result<()> {
    let source = root().join("tests/vendors/javascript");
    if !tools.join("node_modules/@bytecodealliance/componentize-js").is_dir() {
        run(Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(tools)
            .arg(COMPONENTIZE_JS))?;
    }
    // Node looks for packages beside the script.
    fs::copy(source.join("build.mjs"), tools.join("build.mjs")).context("cannot copy build.mjs")?;
    let mut command = Command::new("node");
    command.arg(tools.join("build.mjs")).arg(source.join("plugin.js")).arg(root().join("wit")).arg(output);
    run(&mut command)
}
