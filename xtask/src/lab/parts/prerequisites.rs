//! What a machine needs to build the parts. It is looked at before anything is begun, and everything that is missing is
//! named at once, with what to do.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{debian, golang};

/// Programs that build parts, and the packages that bring them.
const PROGRAMS: [(&str, &str); 6] = [
    ("apt-get", "apt"),
    ("date", "coreutils"),
    ("debootstrap", "debootstrap"),
    ("dpkg-deb", "dpkg"),
    ("gcc", "gcc libc6-dev"),
    ("tar", "tar"),
];

/// What was found of a machine.
struct Found {
    root: bool,
    debian: bool,
    missing: Vec<(&'static str, &'static str)>,
    keyring: bool,
    go: Option<String>,
    wanted_go: String,
    free: u64,
    wanted_free: u64,
}

/// Fails with everything that is missing; `store` is where the parts will lie, `bytes` what building them takes.
pub(super) fn check(store: &Path, bytes: u64) -> Result<()> {
    let problems = problems(&found(store, bytes)?);
    if problems.is_empty() {
        return Ok(());
    }
    let list: String = problems.iter().map(|problem| format!("\n  - {problem}")).collect();
    bail!("this machine cannot build the lab's parts:{list}");
}

/// What of it no package of this machine brings: Go, and room.
pub(super) fn lacking(store: &Path, bytes: u64) -> Result<Vec<String>> {
    let found = found(store, bytes)?;
    Ok(without_go(&found).into_iter().chain(without_room(&found)).collect())
}

fn found(store: &Path, bytes: u64) -> Result<Found> {
    let space = rustix::fs::statvfs(store).with_context(|| format!("cannot see how full {} is", store.display()))?;
    Ok(Found {
        root: rustix::process::geteuid().is_root(),
        debian: is_debian(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        missing: PROGRAMS.into_iter().filter(|(program, _)| !is_in_path(program)).collect(),
        keyring: Path::new(debian::KEYRING).is_file(),
        go: golang::installed_go(),
        wanted_go: golang::newest_go()?,
        free: space.f_bavail.saturating_mul(space.f_frsize),
        wanted_free: bytes,
    })
}

fn problems(found: &Found) -> Vec<String> {
    let mut problems = Vec::new();
    if !found.root {
        problems.push("only root can make a host's file system: run it as root".to_owned());
    }
    if !found.debian {
        problems.push("hosts are made by Debian's tools out of Debian's archive: use a machine with Debian".to_owned());
    }
    let mut packages: Vec<&str> = found.missing.iter().map(|(_, package)| *package).collect();
    let mut names: Vec<&str> = found.missing.iter().map(|(program, _)| *program).collect();
    if !found.keyring {
        names.push(debian::KEYRING);
        packages.push("debian-archive-keyring");
    }
    if !names.is_empty() {
        problems.push(format!("there is no {}: apt-get install {}", names.join(", no "), packages.join(" ")));
    }
    problems.extend(without_go(found).into_iter().chain(without_room(found)));
    problems
}

fn without_go(found: &Found) -> Option<String> {
    match &found.go {
        None => Some(format!("there is no Go: install Go {} or newer", found.wanted_go)),
        Some(go) if !golang::at_least(go, &found.wanted_go) => {
            Some(format!("Go is {go}: install {} or newer", found.wanted_go))
        }
        Some(_) => None,
    }
}

fn without_room(found: &Found) -> Option<String> {
    (found.free < found.wanted_free).then(|| {
        let (free, wanted) = (found.free / 1_000_000_000, found.wanted_free.div_ceil(1_000_000_000));
        format!("{free} GB are free where the cache is, and {wanted} GB are needed: make room there")
    })
}

fn is_debian(release: &str) -> bool {
    release.lines().any(|line| line == "ID=debian")
}

fn is_in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Found {
        Found {
            root: true,
            debian: true,
            missing: Vec::new(),
            keyring: true,
            go: Some("1.26.8".into()),
            wanted_go: "1.25.0".into(),
            free: 16_000_000_000,
            wanted_free: 16_000_000_000,
        }
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        assert!(problems(&good()).is_empty());
        let bad = Found {
            root: false,
            debian: false,
            missing: vec![("debootstrap", "debootstrap"), ("dpkg-deb", "dpkg")],
            keyring: false,
            go: Some("1.19.8".into()),
            free: 3_500_000_000,
            ..good()
        };
        let text = problems(&bad).join("\n");
        for part in [
            "as root",
            "Debian",
            "no debootstrap, no dpkg-deb, no /usr/share/keyrings",
            "apt-get install debootstrap dpkg debian-archive-keyring",
            "Go is 1.19.8",
            "1.25.0",
            "3 GB are free",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(problems(&Found { go: None, ..good() })[0].contains("install Go 1.25.0"));
    }

    #[test]
    fn debian_is_told_from_what_is_like_it() {
        assert!(is_debian("NAME=x\nID=debian\n"));
        assert!(!is_debian("ID=ubuntu\nID_LIKE=debian\n"));
    }
}
