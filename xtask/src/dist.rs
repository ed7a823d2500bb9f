//! `cargo xtask dist`: one archive with everything that a machine without Rust and without a network needs.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::build;
use crate::workspace::{cargo, output, root, run, target};

/// Shells that completions are made for, and how each names their file.
const SHELLS: [(&str, &str); 3] = [("bash", "runner.bash"), ("zsh", "_runner"), ("fish", "runner.fish")];

/// Options of `dist`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Link against the C library of this machine instead of making a static binary.
    #[arg(long)]
    dynamic: bool,
    /// Directory for the archive.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let architecture = env::consts::ARCH;
    let triple = match arguments.dynamic {
        true => format!("{architecture}-unknown-linux-gnu"),
        false => format!("{architecture}-unknown-linux-musl"),
    };
    let binary = binary(&triple, arguments.dynamic)?;
    let plugins = build::plugins(&binary)?;
    let name = format!("runner-{}-{architecture}-linux", env!("CARGO_PKG_VERSION"));
    let into = arguments.output.clone().unwrap_or_else(|| target().join("dist"));
    let folder = into.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    create(&folder)?;
    copy(&binary, &folder.join("runner"))?;
    copy_tree(&plugins, &folder.join("plugins"))?;
    copy_tree(&root().join("workflows"), &folder.join("workflows"))?;
    copy_tree(&root().join("wit"), &folder.join("wit"))?;
    for file in ["README.md", "LICENSE"] {
        copy(&root().join(file), &folder.join(file))?;
    }
    create(&folder.join("completions"))?;
    for (shell, file) in SHELLS {
        let text = output(Command::new(&binary).args(["completions", shell]))?;
        write(&folder.join("completions").join(file), &text)?;
    }
    write(&folder.join("LICENSES-OF-DEPENDENCIES.txt"), &licences(&triple)?)?;
    write(&folder.join("SHA256SUMS"), &checksums(&folder)?)?;
    let archive = into.join(format!("{name}.tar.gz"));
    pack(&into, &name, &archive)?;
    let digest = hex::encode(Sha256::digest(read(&archive)?));
    write(&into.join(format!("{name}.tar.gz.sha256")), &format!("{digest}  {name}.tar.gz\n"))?;
    eprintln!("made {} ({} MiB)", archive.display(), fs::metadata(&archive)?.len() >> 20);
    Ok(())
}

/// The binary for a target; a static one needs a C compiler that links against musl.
fn binary(triple: &str, dynamic: bool) -> Result<PathBuf> {
    build::need_target(triple)?;
    let mut command = cargo(["build", "--release", "--package", "runner", "--target", triple]);
    if !dynamic {
        let found = Command::new("musl-gcc").arg("--version").output().is_ok_and(|output| output.status.success());
        ensure!(
            found,
            "a static binary needs musl-gcc; install it (`apt install musl-tools`), or take this machine's C library: --dynamic"
        );
        command.env(format!("CC_{}", triple.replace('-', "_")), "musl-gcc");
        command.env(format!("CARGO_TARGET_{}_LINKER", triple.replace('-', "_").to_uppercase()), "musl-gcc");
    }
    run(&mut command)?;
    let path = target().join(triple).join("release/runner");
    ensure!(path.is_file(), "cargo built no {}", path.display());
    Ok(path)
}

/// Licences of all crates that are linked into the binary: each with its text, equal texts once.
fn licences(triple: &str) -> Result<String> {
    let metadata = output(&mut cargo(["metadata", "--format-version=1", "--filter-platform", triple]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata did not print JSON")?;
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut without = BTreeSet::new();
    for id in linked(&metadata, &packages) {
        let Some(package) = packages.get(id) else { continue };
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        if package["source"].is_null() {
            continue;
        }
        let title = format!("{} {} ({})", text("name"), text("version"), text("license"));
        let found = licence_files(Path::new(text("manifest_path")))?;
        if found.is_empty() {
            without.insert(title.clone());
        }
        for file in found {
            texts.entry(file).or_default().insert(title.clone());
        }
    }
    let mut all = String::from("Crates that are linked into runner, and the licences that they came with.\n");
    if !without.is_empty() {
        all.push_str("\nWithout a text of their own, under the licence named:\n");
        without.iter().for_each(|title| all.push_str(&format!("  {title}\n")));
    }
    for (text, titles) in &texts {
        all.push_str(&format!("\n{}\n", "=".repeat(100)));
        titles.iter().for_each(|title| all.push_str(&format!("{title}\n")));
        all.push_str(&format!("{}\n{}\n", "-".repeat(100), text.trim()));
    }
    Ok(all)
}

/// Ids of the packages that the binary is linked from: what it needs, without what only builds or tests it.
fn linked<'a>(metadata: &'a Value, packages: &BTreeMap<&'a str, &'a Value>) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let is_runner = |id: &&&str| packages.get(**id).is_some_and(|package| package["name"] == "runner");
    let mut open: Vec<&str> = packages.keys().filter(is_runner).copied().collect();
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let Some(node) = nodes.get(id) else { continue };
        for dependency in list(&node["deps"]) {
            let is_linked = list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
            if let Some(id) = dependency["pkg"].as_str().filter(|_| is_linked) {
                open.push(id);
            }
        }
    }
    found
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Texts of the files beside a manifest that hold a licence or a notice.
fn licence_files(manifest: &Path) -> Result<Vec<String>> {
    let folder = manifest.parent().context("a manifest without a folder")?;
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    let is_licence = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_uppercase();
        path.is_file()
            && ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"].iter().any(|word| name.starts_with(word))
    };
    paths.retain(is_licence);
    paths.iter().map(|path| Ok(String::from_utf8_lossy(&read(path)?).into_owned())).collect()
}

/// SHA-256 of every file below a folder, as `sha256sum --check` reads them.
fn checksums(folder: &Path) -> Result<String> {
    let mut lines = String::new();
    for path in files(folder)? {
        let digest = hex::encode(Sha256::digest(read(&path)?));
        let name = path.strip_prefix(folder).unwrap_or(&path);
        lines.push_str(&format!("{digest}  {}\n", name.display()));
    }
    Ok(lines)
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// Packs the folder so that the same content gives the same archive: sorted, owned by nobody in particular, dated by
/// the last commit.
fn pack(into: &Path, name: &str, archive: &Path) -> Result<()> {
    let date = output(Command::new("git").args(["log", "-1", "--format=@%ct"]).current_dir(root()))?;
    let mut command = Command::new("tar");
    command.args(["--create", "--gzip", "--sort=name", "--owner=root:0", "--group=root:0", "--mode=go-w"]);
    command.arg(format!("--mtime={}", date.trim())).arg("--file").arg(archive).arg("--directory").arg(into).arg(name);
    run(&mut command)
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for path in files(from)? {
        let to = to.join(path.strip_prefix(from)?);
        create(to.parent().context("a file without a folder")?)?;
        copy(&path, &to)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
