//! What comes from Debian as Debian made it: the file system of a host, Docker and containerd of two releases, and the
//! few tools that images need. Where Debian's archive is, this machine's own apt says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::store::{Bench, Part};
use crate::workspace::output;

/// Debian release of the hosts, with the older Docker.
const OLD: &str = "bookworm";
/// Debian release of the newer Docker, whose packages install on the older one as well.
const NEW: &str = "trixie";
/// Debian's keys, as its package debian-archive-keyring installs them.
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where hosts find the lab's repository.
const REPOSITORY: &str = "/opt/lab-apt";

/// What a host has before anything of the platform is installed.
const HOST_PACKAGES: &[&str] = &[
    "ca-certificates",
    "conntrack",
    "containernetworking-plugins",
    "curl",
    "dbus",
    "ethtool",
    "iproute2",
    "iptables",
    "kmod",
    "openssh-server",
    "procps",
    "python3",
    "socat",
    "sudo",
    "systemd",
    "systemd-sysv",
];
/// Units that a host does without: terminals it has not, and work at hours of their own choice, which would take the
/// package manager's lock in the middle of a test.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "systemd-pstore.service",
];
/// Packages that the repository has of the older release, with all that they need and hosts have not.
const OLD_PACKAGES: &[&str] = &["docker.io", "containerd"];
/// The same of the newer one, where Docker's client is a package of its own.
const NEW_PACKAGES: &[&str] = &["docker.io", "docker-cli", "containerd"];
/// Packages of which images are made.
const IMAGE_PACKAGES: &[&str] = &[
    "busybox-static",
    "iptables",
    "libc6",
    "libip4tc2",
    "libip6tc2",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    "libxtables12",
    "netbase",
];

/// Prometheus of both releases: its whole package is of no use to an image, which needs the program alone.
const PROMETHEUS: &str = "prometheus";

/// Folder of the packages for the repository, in [`packages`].
pub(super) const FOR_HOSTS: &str = "hosts";
/// Folder of the packages for images, in [`packages`].
pub(super) const FOR_IMAGES: &str = "images";

/// The part with `host.tar`, the file system of a host, and `status`, what its package manager knows.
pub(super) fn host() -> Part {
    let part = Part::new("host").with("release", OLD).with("packages", HOST_PACKAGES.join(" "));
    part.with("repository", REPOSITORY).with("masked", MASKED.join(" "))
}

/// Builds [`host`].
pub(super) fn build_host(bench: &mut Bench) -> Result<()> {
    let tree = bench.scratch.join("root");
    let mut command = Command::new("debootstrap");
    command.arg("--variant=minbase").arg(format!("--keyring={KEYRING}"));
    command.arg(format!("--include={}", HOST_PACKAGES.join(","))).arg(OLD).arg(&tree).arg(mirror()?);
    if let Some(proxy) = proxy()? {
        command.env("http_proxy", &proxy).env("https_proxy", &proxy);
    }
    bench.run(&mut command)?;
    neutral(&tree)?;
    fs::copy(tree.join("var/lib/dpkg/status"), bench.out.join("status")).context("the host has no packages")?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--numeric-owner", "--sort=name", "--exclude=./dev/*", "--file"]);
    bench.run(tar.arg(bench.out.join("host.tar")).arg("--directory").arg(&tree).arg("."))
}

/// Takes out what belongs to one machine: its names, keys and archive, and what is only for people.
fn neutral(tree: &Path) -> Result<()> {
    let write = |path: &str, text: &str| {
        fs::write(tree.join(path), text).with_context(|| format!("cannot write {path} of the host"))
    };
    write("etc/machine-id", "")?;
    write("etc/hostname", "host\n")?;
    write("etc/resolv.conf", "")?;
    write("etc/apt/sources.list", &format!("deb [trusted=yes] file:{REPOSITORY} ./\n"))?;
    for unit in MASKED {
        let path = tree.join("etc/systemd/system").join(unit);
        symlink("/dev/null", &path).with_context(|| format!("cannot mask {unit}"))?;
    }
    for folder in ["var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/man", "usr/share/locale"] {
        empty(&tree.join(folder), |_| true)?;
    }
    empty(&tree.join("etc/ssh"), |name| name.starts_with("ssh_host_"))?;
    empty(&tree.join("var/lib/dbus"), |name| name == "machine-id")?;
    empty(&tree.join("var/log"), |name| name.ends_with(".log"))
}

/// Removes what is in a folder and named so.
fn empty(folder: &Path, which: impl Fn(&str) -> bool) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        if which(&entry.file_name().to_string_lossy()) {
            let path = entry.path();
            let removed = if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The part with Debian's packages: [`FOR_HOSTS`] and [`FOR_IMAGES`].
pub(super) fn packages() -> Part {
    let part = Part::new("debian-packages").with("releases", format!("{OLD} {NEW}")).with_part(&host());
    let lists = [OLD_PACKAGES, NEW_PACKAGES, IMAGE_PACKAGES].map(|list| list.join(" "));
    part.with("packages", lists.join("\n"))
}

/// Builds [`packages`]; `host` is the folder of that part.
pub(super) fn build_packages(bench: &mut Bench, host: &Path) -> Result<()> {
    let apt = Apt::new(&bench.scratch.join("apt"), &host.join("status"))?;
    bench.run(apt.get().arg("update"))?;
    let old: Vec<String> = OLD_PACKAGES.iter().map(|package| (*package).to_owned()).collect();
    let new: Vec<String> = NEW_PACKAGES.iter().map(|package| format!("{package}/{NEW}")).collect();
    let archives = bench.out.join(FOR_HOSTS);
    for list in [old, new] {
        let mut install = apt.get();
        install.args(["install", "--download-only", "--no-install-recommends", "--yes"]);
        install.arg("-o").arg(format!("Dir::Cache::archives={}", archives.display()));
        fs::create_dir_all(archives.join("partial"))?;
        bench.run(install.args(list))?;
    }
    empty(&archives, |name| !name.ends_with(".deb"))?;
    let images = bench.out.join(FOR_IMAGES);
    fs::create_dir_all(&images)?;
    bench.run(apt.get().arg("download").args(IMAGE_PACKAGES).current_dir(&images))
}

/// The part with Prometheus' packages, in a folder for each release.
pub(super) fn prometheus() -> Part {
    Part::new("debian-prometheus").with("releases", format!("{OLD} {NEW}"))
}

/// Builds [`prometheus`].
pub(super) fn build_prometheus(bench: &mut Bench) -> Result<()> {
    let status = bench.scratch.join("status");
    fs::write(&status, "")?;
    let apt = Apt::new(&bench.scratch.join("apt"), &status)?;
    bench.run(apt.get().arg("update"))?;
    for release in [OLD, NEW] {
        let folder = bench.out.join(release);
        fs::create_dir_all(&folder)?;
        bench.run(apt.get().arg("download").arg(format!("{PROMETHEUS}/{release}")).current_dir(&folder))?;
    }
    Ok(())
}

/// Unpacks the Prometheus of a version from the folder of [`prometheus`].
pub(super) fn unpack_prometheus(bench: &mut Bench, packages: &Path, version: &str, into: &Path) -> Result<()> {
    let mut seen = Vec::new();
    for release in [OLD, NEW] {
        for deb in files(&packages.join(release))? {
            let found = output(Command::new("dpkg-deb").arg("--field").arg(&deb).arg("Version"))?;
            if found.strip_prefix(version).is_some_and(|rest| rest.starts_with(['+', '-'])) {
                return bench.run(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(into));
            }
            seen.push(found.trim().to_owned());
        }
    }
    bail!("Debian has no Prometheus {version} any more, but {}: change its image's name", seen.join(" and "));
}

/// Files of a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// An apt of its own, which knows both releases and takes the host's packages for installed.
struct Apt {
    configuration: PathBuf,
}

impl Apt {
    fn new(folder: &Path, status: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache"))?;
        let mirror = mirror()?;
        let source = |release: &str| format!("deb [signed-by={KEYRING}] {mirror} {release} main\n");
        fs::write(folder.join("sources.list"), source(OLD) + &source(NEW))?;
        let preference = "Package: *\nPin: release n=";
        // What is not asked for of the newer release comes from the older one.
        let preferences = format!("{preference}{OLD}\nPin-Priority: 900\n\n{preference}{NEW}\nPin-Priority: 100\n");
        fs::write(folder.join("preferences"), preferences)?;
        let at = folder.display();
        let mut text = format!(
            "Dir::Etc::Main \"/dev/null\";\nDir::Etc::Parts \"/dev/null\";\nDir::Etc::SourceParts \"/dev/null\";\n\
             Dir::Etc::PreferencesParts \"/dev/null\";\nDir::Etc::SourceList \"{at}/sources.list\";\n\
             Dir::Etc::Preferences \"{at}/preferences\";\nDir::State::Lists \"{at}/lists\";\n\
             Dir::State::Status \"{}\";\nDir::Cache \"{at}/cache\";\nAPT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\nDebug::NoLocking \"true\";\n",
            status.display()
        );
        text.push_str(&ways_out(&output(Command::new("apt-config").arg("dump"))?));
        let configuration = folder.join("apt.conf");
        fs::write(&configuration, text)?;
        Ok(Self { configuration })
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", &self.configuration).env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
        command
    }
}

/// Of the machine's apt settings, those that say how its archives are reached: proxies, time-outs, checks.
fn ways_out(dump: &str) -> String {
    let of_the_way = |line: &&str| {
        ["http", "https", "Retries", "Check-"]
            .iter()
            .any(|name| line.strip_prefix("Acquire::").is_some_and(|rest| rest.starts_with(name)))
    };
    dump.lines().filter(of_the_way).map(|line| format!("{line}\n")).collect()
}

/// Where Debian's archive is, for this machine.
pub(super) fn mirror() -> Result<String> {
    let format = "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)";
    let mut command = Command::new("apt-get");
    let text = output(command.args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    match archive(&text) {
        Some(uri) => Ok(uri.to_owned()),
        None => bail!("apt knows no archive of Debian; name one in /etc/apt/sources.list and run `apt-get update`"),
    }
}

/// The first of apt's archives that is Debian's main one.
fn archive(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| line.strip_prefix("Debian|Debian|main|"))
}

/// The proxy that apt goes through; debootstrap knows nothing of it.
fn proxy() -> Result<Option<String>> {
    let text = output(Command::new("apt-config").args(["shell", "PROXY", "Acquire::http::Proxy"]))?;
    let value = text.trim().trim_start_matches("PROXY=").trim_matches('\'').to_owned();
    Ok(Some(value).filter(|value| !value.is_empty()))
}

/// Unpacks the packages for images that are named so into a folder; `packages` is the folder of that part.
pub(super) fn unpack(bench: &mut Bench, packages: &Path, names: &[&str], into: &Path) -> Result<()> {
    for name in names {
        let folder = packages.join(FOR_IMAGES);
        let is_it = |path: &PathBuf| {
            path.file_name().is_some_and(|file| file.to_string_lossy().split('_').next() == Some(*name))
        };
        let deb = files(&folder)?
            .into_iter()
            .find(is_it)
            .with_context(|| format!("there is no package {name} in {}", folder.display()))?;
        bench.run(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(into))?;
    }
    Ok(())
}

/// The machine's architecture as Debian and Go name it, such as `amd64`.
pub(super) fn architecture() -> Result<String> {
    let text = output(Command::new("dpkg").arg("--print-architecture"))?;
    let name = text.trim().to_owned();
    ensure!(["amd64", "arm64"].contains(&name.as_str()), "the lab is built for amd64 and arm64, not for {name}");
    Ok(name)
}

/// Names of the packages that images are made of, without the shell.
pub(super) fn firewall_packages() -> Vec<&'static str> {
    IMAGE_PACKAGES.iter().copied().filter(|name| *name != "busybox-static").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_debians_own_main_one() {
        let targets = "Google|cloud|main|https://c.example/apt/\nDebian|Debian-Security|main|http://s.example/\n\
                       Debian|Debian|contrib|http://c.example/debian/\nDebian|Debian|main|http://d.example/debian/\n";
        assert_eq!(archive(targets), Some("http://d.example/debian/"));
        assert_eq!(archive("||main|http://d.example/\n"), None);
    }

    #[test]
    fn only_the_way_to_the_archive_is_taken_from_the_machine() {
        let dump = "APT::Update::Post-Invoke:: \"rm x\";\nAcquire::http::Proxy \"http://p.example:3128\";\n\
                    Acquire::IndexTargets::deb::DEP-11 \"\";\nAcquire::Check-Date \"false\";\n";
        let expected = "Acquire::http::Proxy \"http://p.example:3128\";\nAcquire::Check-Date \"false\";\n";
        assert_eq!(ways_out(dump), expected);
    }
}
