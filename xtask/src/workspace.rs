//! Where things are in the checkout, and how commands are run in it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Root of the checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// What is kept of this user between checkouts.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => cache,
        (None, Some(home)) => home.join(".cache"),
        (None, None) => bail!("neither XDG_CACHE_HOME nor HOME says where the cache is; set one of them"),
    };
    Ok(cache.join("runner"))
}

/// Names of the folders below `parent` that hold `file`, sorted.
pub(crate) fn folders_with(parent: &Path, file: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(parent).with_context(|| format!("cannot list {}", parent.display()))? {
        let path = entry?.path();
        if path.join(file).is_file()
            && let Some(name) = path.file_name().and_then(OsStr::to_str)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A cargo command in the checkout, by the cargo that runs this. It does not see what that cargo says to xtask of xtask's
/// own package: build scripts that look at it (ring's) would run again, and all that rests on them be compiled again,
/// whenever somebody types a cargo command in between.
pub(crate) fn cargo<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    for (name, _) in env::vars_os() {
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            command.env_remove(name);
        }
    }
    command
}

/// Lets a cargo command with a `--target` build without a trace of where it was built: the same sources give the same
/// file in every checkout, and a message names a crate's source, not a folder of the machine that compiled it.
pub(crate) fn without_paths(command: &mut Command) -> Result<&mut Command> {
    let mut flags: Vec<String> =
        env::var("RUSTFLAGS").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let mut hide = |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    hide(&root(), ".");
    hide(&target(), "target");
    if let Some(home) = cargo_home() {
        let sources = home.join("registry/src");
        if sources.is_dir() {
            for registry in fs::read_dir(&sources).with_context(|| format!("cannot list {}", sources.display()))? {
                hide(&registry?.path(), "crates");
            }
        }
    }
    // Separated as cargo wants them, so that a path may hold blanks.
    Ok(command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")))
}

/// Where cargo keeps what it downloaded.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let named = env::var_os("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// Says what is run, runs it, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    ensure!(status.success(), "`{shown}` failed: {status}");
    Ok(())
}

/// Standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("cannot run `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed something that is no text"))
}

/// A command as one would type it in the checkout.
fn shown(command: &Command) -> String {
    let root = format!("{}/", root().display());
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().replace(&root, ""));
    let words: Vec<String> = std::iter::once(name).chain(arguments).collect();
    words.join(" ")
}
