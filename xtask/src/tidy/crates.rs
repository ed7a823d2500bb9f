//! The rules about packages: who depends on whom, and that all have the workspace's lints.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::workspace::{cargo, output};

/// Of the workspace's packages, which ones each may depend on.
fn allowed(package: &str, folder: &str) -> Option<&'static [&'static str]> {
    Some(match (package, folder) {
        ("runner-types" | "runner-plugin-sdk", _) => &[],
        ("runner-engine", _) => &["runner-types"],
        ("runner", _) => &["runner-engine", "runner-types"],
        (_, folder) if folder.starts_with("plugins/") => &["runner-plugin-sdk"],
        _ => return None,
    })
}

/// Dependencies that would bring a runtime where none belongs.
const FOREIGN: [(&str, &[&str]); 2] =
    [("runner-types", &["tokio", "wasmtime", "anyhow"]), ("runner-engine", &["anyhow", "clap", "indicatif"])];

pub(crate) fn check() -> Result<Vec<Finding>> {
    let metadata = output(&mut cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let root = metadata["workspace_root"].as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut findings = of_packages(packages, &root);
    for package in packages {
        let path = package["manifest_path"].as_str().unwrap_or_default();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        if !text.contains("[lints]\nworkspace = true") {
            findings.push(Finding::new(
                relative(path, &root),
                0,
                "the workspace's lints do not hold: add `[lints] workspace = true`",
            ));
        }
    }
    Ok(findings)
}

fn relative<'a>(path: &'a str, root: &str) -> &'a str {
    path.strip_prefix(root).map_or(path, |path| path.trim_start_matches('/'))
}

fn of_packages(packages: &[Value], root: &str) -> Vec<Finding> {
    let ours: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = relative(package["manifest_path"].as_str().unwrap_or_default(), root);
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        // Tests may lean on anything; what is shipped may not.
        for dependency in dependencies.filter(|dependency| dependency["kind"] != "dev") {
            let on = dependency["name"].as_str().unwrap_or_default();
            if let Some(allowed) = allowed(name, manifest)
                && ours.contains(&on)
                && !allowed.contains(&on)
            {
                let message = format!(
                    "{name} depends on {on}; dependencies run types <- engine <- cli, and plugins know the sdk only"
                );
                findings.push(Finding::new(manifest, 0, message));
            }
            if dependency["kind"].is_null()
                && FOREIGN.iter().any(|(package, foreign)| *package == name && foreign.contains(&on))
            {
                findings.push(Finding::new(manifest, 0, format!("{name} does without {on}")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, folder: &str, dependencies: &[&str]) -> Value {
        let dependencies: Vec<Value> = dependencies.iter().map(|name| json!({"name": name, "kind": null})).collect();
        json!({"name": name, "manifest_path": format!("/x/{folder}/Cargo.toml"), "dependencies": dependencies})
    }

    #[test]
    fn dependencies_run_one_way() {
        let packages = [
            package("runner-types", "host/types", &["serde", "runner-engine"]),
            package("runner-engine", "host/engine", &["runner-types", "wasmtime"]),
            package("runner-plugin-sdk", "plugins/sdk", &[]),
            package("runner-plugin-x", "plugins/x", &["runner-plugin-sdk", "runner-types"]),
        ];
        let findings = of_packages(&packages, "/x");
        let files: Vec<&str> = findings.iter().map(|finding| finding.file.as_str()).collect();
        assert_eq!(files, ["host/types/Cargo.toml", "plugins/x/Cargo.toml"]);
    }

    #[test]
    fn types_stay_without_a_runtime() {
        assert_eq!(of_packages(&[package("runner-types", "host/types", &["tokio"])], "/x").len(), 1);
    }
}
