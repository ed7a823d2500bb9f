//! `runner plugin pack`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use runner_engine::contract::{API_VERSION, FUNCTIONS};
use runner_engine::plugin::{Package, imported_functions, misfits, pack};
use runner_engine::project::read as read_file;
use runner_types::{Field, Manifest};

use super::read;
use crate::error::Problem;
use crate::exit::Exit;
use crate::out;

/// Put a manifest into a component, which makes it a plugin
///
/// The component may be made in any language. One that was built against another state of the contract than this
/// runner's is refused. What it imports without requesting it would be denied at run time, and what it requests without
/// importing it would be granted for nothing: both are warned of.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner plugin pack lb.component.wasm --manifest manifest.json --output plugins/lb.wasm
  runner plugin pack lb.wasm --manifest manifest.json      in place")]
pub(super) struct Pack {
    /// The component
    component: PathBuf,
    /// The manifest's JSON file
    #[arg(short, long, value_name = "FILE")]
    manifest: PathBuf,
    /// The plugin to write [default: in place of the component]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Pack {
    pub(super) fn carry_out(&self) -> anyhow::Result<Exit> {
        let component = read(&self.component)?;
        let manifest = read_file::<Manifest>(&self.manifest)?;
        let packed = pack(&component, manifest.source().text())
            .with_context(|| format!("cannot pack {}", self.component.display()))?;
        let misfits = misfits(&packed)?;
        if !misfits.is_empty() {
            let message = format!(
                "cannot pack {}: it was built against another state of the contract runner:plugin@{API_VERSION}:\n{misfits}",
                self.component.display()
            );
            return Err(Problem::usage(message).hint("build it anew against the wit/ of this runner").into());
        }
        for warning in warnings(&manifest, &imported_functions(&packed)?) {
            out::stderr(&format!("warning: {warning}\n"));
        }
        let target = self.output.as_deref().unwrap_or(&self.component);
        write(target, &packed).with_context(|| format!("cannot write {}", target.display()))?;
        let digest = Package::read(&packed)?.digest;
        out::stdout(&format!("{}  {} {} {digest}\n", target.display(), manifest.name, manifest.version))?;
        Ok(Exit::Succeeded)
    }
}

/// Whole or not at all: a plugin that is in use is never seen half written.
fn write(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, target)
    });
    if written.is_err() {
        // The first error is the one that counts.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Functions whose items may need no grant, because they name only what the run itself stored.
const OWN_DATA: [&str; 2] = ["artifacts.put-data", "artifacts.get-data"];

fn warnings(manifest: &Manifest, imported: &[String]) -> Vec<String> {
    let requested: BTreeSet<&str> = manifest.capabilities.iter().map(|request| request.capability.as_str()).collect();
    let needs_request = |function: &&String| {
        let interface = function.split('.').next().unwrap_or_default();
        Field::of_interface(interface).is_some() && !OWN_DATA.contains(&function.as_str())
    };
    let mut warnings = Vec::new();
    // Guests in some languages import every interface, used or not: one line for all of them.
    let unrequested: Vec<&str> =
        imported.iter().filter(needs_request).map(String::as_str).filter(|name| !requested.contains(name)).collect();
    if !unrequested.is_empty() {
        warnings.push(format!(
            "it imports what its manifest does not request, so that every call of it will be denied: {}",
            unrequested.join(", ")
        ));
    }
    for capability in requested {
        if !FUNCTIONS.contains(&capability) {
            warnings.push(format!("its manifest requests {capability}, which the contract does not have"));
        } else if !imported.iter().any(|function| function == capability) {
            warnings
                .push(format!("its manifest requests {capability}, and it does not import that: it can never use it"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::inspect::tests::MANIFEST;
    use super::*;
    use runner_types::load;

    #[test]
    fn imports_and_requests_are_compared_both_ways() {
        let manifest = load::<Manifest>(MANIFEST, "m.json").unwrap();
        let imported = ["systemd.status", "files.read", "log.write"].map(str::to_owned);
        let warnings = warnings(&manifest, &imported);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].ends_with("denied: files.read"), "{warnings:?}");
        assert!(warnings[1].contains("requests systemd.restart"), "{warnings:?}");
    }

    #[test]
    fn functions_without_a_grant_are_of_the_contract() {
        for function in OWN_DATA {
            assert!(FUNCTIONS.contains(&function), "{function}");
        }
    }

    #[test]
    fn a_plugin_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("p.wasm");
        write(&target, b"one").unwrap();
        write(&target, b"two").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        assert!(write(&folder.path().join("none/p.wasm"), b"x").is_err());
    }
}
