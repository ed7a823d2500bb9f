//! `cargo xtask dist`: one archive with everything that a machine without Rust and without a network needs.

mod check;
mod licences;
mod texts;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sha2::{Digest as _, Sha256};

use crate::build;
use crate::workspace::{cargo, cargo_home, folders_with, output, root, run, target, without_paths};

/// Shells that completions are made for, and how each names their file.
const SHELLS: [(&str, &str); 3] = [("bash", "runner.bash"), ("zsh", "_runner"), ("fish", "runner.fish")];

/// What Rust's toolchain says of its standard library's licences, below its directory.
const RUST: &str = "share/doc/rust/COPYRIGHT-library.html";

/// Options of `dist`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Link against the C library of this machine instead of making a static binary.
    #[arg(long)]
    dynamic: bool,
    /// Directory for the archive.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Also install the archive as the README says, in a bare host without network, and try it there; needs root.
    #[arg(long)]
    check: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let architecture = env::consts::ARCH;
    let triple = match arguments.dynamic {
        true => format!("{architecture}-unknown-linux-gnu"),
        false => format!("{architecture}-unknown-linux-musl"),
    };
    let binary = binary(&triple, arguments.dynamic)?;
    let plugins = build::plugins(&binary)?;
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("runner-{version}-{architecture}-linux");
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
    let readme = String::from_utf8(read(&root().join("README.md"))?).context("README.md is no text")?;
    write(&folder.join("INSTALL.md"), &texts::guide(&readme)?)?;
    create(&folder.join("completions"))?;
    for (shell, file) in SHELLS {
        let text = output(Command::new(&binary).args(["completions", shell]))?;
        write(&folder.join("completions").join(file), &text)?;
    }
    write_licences(&folder.join("licenses"), &triple)?;
    hides_where_it_was_built(&folder)?;
    write(&folder.join("SHA256SUMS"), &checksums(&folder)?)?;
    let archive = into.join(format!("{name}.tar.gz"));
    pack(&into, &name, &archive)?;
    let digest = hex::encode(Sha256::digest(read(&archive)?));
    write(&digest_beside(&archive), &format!("{digest}  {name}.tar.gz\n"))?;
    eprintln!("made {} ({} MiB)", archive.display(), fs::metadata(&archive)?.len() >> 20);
    if arguments.check {
        check::check(&archive, version)?;
    }
    Ok(())
}

/// The file that holds an archive's digest.
fn digest_beside(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// Licences of everything that is linked into the binary and the plugins.
fn write_licences(folder: &Path, triple: &str) -> Result<()> {
    create(folder)?;
    let plugins = folders_with(&root().join("plugins"), "manifest.json")?;
    let plugins = plugins.iter().map(|name| format!("runner-plugin-{name}")).collect();
    let built = [
        licences::Built { packages: vec!["runner".to_owned()], triple },
        licences::Built { packages: plugins, triple: build::WASM },
    ];
    write(&folder.join("crates.txt"), &licences::crates(&built)?)?;
    write(&folder.join("c-libraries.txt"), &licences::c_libraries())?;
    let rust = build::sysroot()?.join(RUST);
    ensure!(rust.is_file(), "the licences of Rust's standard library are not in {}", rust.display());
    copy(&rust, &folder.join("rust-standard-library.html"))
}

/// Fails where a file names a directory of this machine.
fn hides_where_it_was_built(folder: &Path) -> Result<()> {
    let sources = cargo_home().map(|home| home.join("registry"));
    // The checkout alone may be a word as common as `/src`.
    let places = [Some(target()), Some(root().join("host")), Some(root().join("plugins")), sources];
    let texts: Vec<String> = places.iter().flatten().map(|place| format!("{}/", place.display())).collect();
    for path in files(folder)? {
        let bytes = read(&path)?;
        for text in &texts {
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                bail!("{} names {text}, a directory of this machine", path.display());
            }
        }
    }
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
        // C is compiled by it, and nothing is linked by it: it knows no static-pie, and would name an interpreter.
    }
    run(without_paths(&mut command)?)?;
    let path = target().join(triple).join("release/runner");
    ensure!(path.is_file(), "cargo built no {}", path.display());
    Ok(path)
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
    command.args(["--create", "--gzip", "--sort=name", "--owner=root:0", "--group=root:0", "--mode=u=rwX,go=rX"]);
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
