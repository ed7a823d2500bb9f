//! `cargo xtask build`: the plugins as packed components, and the binary.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::workspace::{cargo, folders_with, output, root, run, target, without_paths};

/// The target that plugins are built for.
pub(crate) const WASM: &str = "wasm32-wasip2";

/// Options of `build`.
#[derive(Args, Default)]
pub(crate) struct Arguments {
    /// Build the binary optimised.
    #[arg(long)]
    pub(crate) release: bool,
    /// Build the guests of the tests, too.
    #[arg(long)]
    guests: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let binary = binary(arguments.release)?;
    let plugins = plugins(&binary)?;
    if arguments.guests {
        guests(&binary)?;
    }
    eprintln!("built {} and {}", binary.display(), plugins.display());
    Ok(())
}

/// Everything that a run needs: the binary, with the plugins in `target/plugins`.
pub(crate) fn everything(release: bool) -> Result<PathBuf> {
    let binary = binary(release)?;
    plugins(&binary)?;
    Ok(binary)
}

/// Builds the binary.
pub(crate) fn binary(release: bool) -> Result<PathBuf> {
    program("runner", release)
}

/// Builds a program of the workspace. The features of its dependencies are those that the whole workspace asks for, so
/// that they are compiled once for all programs and tests.
pub(crate) fn program(name: &str, release: bool) -> Result<PathBuf> {
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    run(cargo(["build", "--workspace", "--bin", name]).args(profile))?;
    let path = target().join(if release { "release" } else { "debug" }).join(name);
    ensure!(path.is_file(), "cargo built no {}", path.display());
    Ok(path)
}

/// Builds every plugin and packs it with its manifest into `target/plugins`; what it does on the simulated platform
/// stands beside it.
pub(crate) fn plugins(runner: &Path) -> Result<PathBuf> {
    let source = root().join("plugins");
    let names = folders_with(&source, "manifest.json")?;
    need_target(WASM)?;
    let mut packages = Vec::new();
    for name in &names {
        packages.extend(["--package".to_owned(), format!("runner-plugin-{name}")]);
    }
    run_wasm(&packages)?;
    let into = target().join("plugins");
    fs::create_dir_all(&into).with_context(|| format!("cannot create {}", into.display()))?;
    for name in &names {
        let component = wasm_output().join(format!("runner_plugin_{}.wasm", name.replace('-', "_")));
        let folder = source.join(name);
        pack(runner, &component, &folder.join("manifest.json"), &into.join(format!("{name}.wasm")))?;
        let behaviour = folder.join("simulated.json");
        if behaviour.is_file() {
            let to = into.join(format!("{name}.simulated.json"));
            fs::copy(&behaviour, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(into)
}

/// Builds the guests of the tests into `target/guests`, each with its manifest.
pub(crate) fn guests(runner: &Path) -> Result<PathBuf> {
    let source = root().join("tests/guests");
    need_target(WASM)?;
    run_wasm(&["--package".into(), "runner-guests".into(), "--examples".into()])?;
    let into = target().join("guests");
    fs::create_dir_all(&into).with_context(|| format!("cannot create {}", into.display()))?;
    for name in folders_with(&source, "manifest.json")? {
        let component = wasm_output().join("examples").join(format!("{}.wasm", name.replace('-', "_")));
        pack(runner, &component, &source.join(&name).join("manifest.json"), &into.join(format!("{name}.wasm")))?;
    }
    Ok(into)
}

fn wasm_output() -> PathBuf {
    target().join(WASM).join("plugin")
}

fn run_wasm(packages: &[String]) -> Result<()> {
    run(without_paths(cargo(["build", "--profile", "plugin", "--target", WASM]).args(packages))?)
}

/// Puts a manifest into a component.
pub(crate) fn pack(runner: &Path, component: &Path, manifest: &Path, to: &Path) -> Result<()> {
    ensure!(component.is_file(), "cargo built no {}", component.display());
    let arguments: [OsString; 7] = [
        "plugin".into(),
        "pack".into(),
        component.into(),
        "--manifest".into(),
        manifest.into(),
        "--output".into(),
        to.into(),
    ];
    run(Command::new(runner).args(arguments).current_dir(root()))
}

/// The compiler must have the standard library of the target; rustup can add it.
pub(crate) fn need_target(triple: &str) -> Result<()> {
    let sysroot = sysroot()?;
    let library = sysroot.join("lib/rustlib").join(triple).join("lib");
    if library.is_dir() {
        return Ok(());
    }
    eprintln!("the compiler lacks the target {triple}; asking rustup for it");
    let added = run(Command::new("rustup").args(["target", "add", triple]).current_dir(root()));
    if let Err(error) = added {
        bail!(
            "nothing can be built for {triple}: {} is not there, and rustup could not add it ({error:#}).\n\
             With rustup: `rustup target add {triple}`. With another toolchain: install its standard library for {triple}.",
            library.display()
        );
    }
    ensure!(library.is_dir(), "rustup added {triple} to another toolchain than {}", sysroot.display());
    Ok(())
}

/// Directory of the toolchain that builds.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = output(Command::new(&compiler).args(["--print", "sysroot"]).current_dir(root()))?;
    Ok(PathBuf::from(sysroot.trim()))
}
