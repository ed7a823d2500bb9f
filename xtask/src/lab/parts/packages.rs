//! Debian packages of etcd and Kubernetes: the programs, a unit for each server, and what a distribution would add.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::debian;
use super::golang::{self, Module};
use super::store::{Bench, Part};
use crate::workspace::root;

/// A package, of whichever version.
struct Package {
    name: &'static str,
    programs: &'static [&'static str],
    /// Its unit, without `.service`.
    unit: Option<&'static str>,
    /// Whether further arguments of its server stand in /etc/default.
    arguments: bool,
    depends: &'static str,
    /// What is done on a host before the unit is enabled.
    setup: &'static str,
}

const ETCD: &[Package] = &[
    Package {
        name: "etcd-server",
        programs: &["etcd"],
        unit: Some("etcd"),
        arguments: false,
        depends: "passwd, init-system-helpers",
        setup: "getent passwd etcd >/dev/null || useradd --system --user-group --home-dir /var/lib/etcd \
                --no-create-home --shell /usr/sbin/nologin etcd\n    \
                [ -d /var/lib/etcd ] || install --directory --mode 0700 --owner etcd --group etcd /var/lib/etcd",
    },
    Package {
        name: "etcd-client",
        programs: &["etcdctl", "etcdutl"],
        unit: None,
        arguments: false,
        depends: "",
        setup: "",
    },
];

const KUBERNETES: &[Package] = &[
    server("kube-apiserver", &["kube-apiserver"], "init-system-helpers"),
    server("kube-controller-manager", &["kube-controller-manager"], "init-system-helpers"),
    server("kube-scheduler", &["kube-scheduler"], "init-system-helpers"),
    server("kubelet", &["kubelet"], "init-system-helpers, containerd (>= 1.6)"),
    server("kube-proxy", &["kube-proxy"], "init-system-helpers, iptables"),
    Package { name: "kubectl", programs: &["kubectl"], unit: None, arguments: false, depends: "", setup: "" },
];

const fn server(name: &'static str, programs: &'static [&'static str], depends: &'static str) -> Package {
    Package { name, programs, unit: Some(name), arguments: true, depends, setup: ":" }
}

/// In what a build of a package differs.
#[derive(Debug, Clone, Copy)]
enum Flaw {
    /// As it should be.
    None,
    /// Its post-install script fails.
    Broken,
    /// Its unit fails to start.
    NoStart,
}

impl Flaw {
    /// Revision of the version. One with a flaw is lower than the right one, so that nobody gets it who does not ask.
    fn revision(self) -> &'static str {
        match self {
            Self::None => "-1",
            Self::Broken => "-1~broken1",
            Self::NoStart => "-1~nostart1",
        }
    }
}

/// Packages of one project's version.
pub(super) struct Set {
    pub(super) module: &'static Module,
    packages: &'static [Package],
    /// The package of which there are builds with flaws too.
    flawed: Option<&'static str>,
}

/// All of them, each project's older version first.
pub(super) const SETS: [Set; 4] = [
    Set { module: &golang::ETCD_OLD, packages: ETCD, flawed: None },
    Set { module: &golang::ETCD_NEW, packages: ETCD, flawed: Some("etcd-server") },
    Set { module: &golang::KUBERNETES_OLD, packages: KUBERNETES, flawed: None },
    Set { module: &golang::KUBERNETES_NEW, packages: KUBERNETES, flawed: Some("kubelet") },
];

/// Units and scripts of the packages.
fn texts() -> PathBuf {
    root().join("tests/lab/packages")
}

impl Set {
    /// Its part, a folder of packages.
    pub(super) fn part(&self) -> Result<Part> {
        let part = Part::new(format!("packages-{}", self.module.name)).with_part(&self.module.part()?);
        let mut part = part.with_files(&texts())?.with("flawed", self.flawed.unwrap_or_default());
        for package in self.packages {
            let text = [package.name, package.depends, package.setup].join("\n");
            part = part.with("package", text).with("programs", package.programs.join(" "));
        }
        Ok(part)
    }

    /// Builds the packages; `programs` is the folder of the module's part.
    pub(super) fn build(&self, bench: &mut Bench, programs: &Path) -> Result<()> {
        let architecture = debian::architecture()?;
        for package in self.packages {
            let flaws: &[Flaw] = match self.flawed {
                Some(name) if name == package.name => &[Flaw::None, Flaw::Broken, Flaw::NoStart],
                _ => &[Flaw::None],
            };
            for flaw in flaws {
                let version = format!("{}{}", self.module.version.trim_start_matches('v'), flaw.revision());
                package.build(bench, programs, &version, &architecture, *flaw)?;
            }
        }
        Ok(())
    }
}

impl Package {
    fn build(&self, bench: &mut Bench, programs: &Path, version: &str, architecture: &str, flaw: Flaw) -> Result<()> {
        let file = format!("{}_{version}_{architecture}", self.name);
        let tree = bench.scratch.join(&file);
        for program in self.programs {
            let (from, to) = (programs.join(program), tree.join("usr/bin").join(program));
            fs::create_dir_all(tree.join("usr/bin"))?;
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        write(&tree, "DEBIAN/control", &self.control(version, architecture), 0o644)?;
        if self.arguments {
            let path = format!("etc/default/{}", self.name);
            write(&tree, &path, &format!("# Further arguments of {}.\nARGUMENTS=\n", self.name), 0o644)?;
            write(&tree, "DEBIAN/conffiles", &format!("/{path}\n"), 0o644)?;
        }
        if let Some(unit) = self.unit {
            let name = format!("{unit}.service");
            let text = read(&texts().join("units").join(&name))?;
            write(&tree, &format!("lib/systemd/system/{name}"), &with_flaw(&text, flaw), 0o644)?;
            for script in ["postinst", "prerm", "postrm"] {
                let text = read(&texts().join(script))?;
                write(&tree, &format!("DEBIAN/{script}"), &self.script(&text, &name, flaw), 0o755)?;
            }
        }
        let mut command = Command::new("dpkg-deb");
        // The fastest compression that is worth it: packages are read from this machine's disk.
        command.args(["--root-owner-group", "-Zzstd", "-z1", "--build"]).arg(&tree);
        bench.run(command.arg(bench.out.join(format!("{file}.deb"))))?;
        fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))
    }

    fn control(&self, version: &str, architecture: &str) -> String {
        let depends = if self.depends.is_empty() { String::new() } else { format!("Depends: {}\n", self.depends) };
        format!(
            "Package: {0}\nVersion: {version}\nArchitecture: {architecture}\nSection: admin\nPriority: optional\n\
             Maintainer: runner's lab <lab@runner.invalid>\n{depends}Description: {0} of runner's lab\n",
            self.name
        )
    }

    fn script(&self, text: &str, unit: &str, flaw: Flaw) -> String {
        let fails = format!("echo '{}: this build cannot be configured' >&2\n    exit 1", self.name);
        let setup = if matches!(flaw, Flaw::Broken) { fails.as_str() } else { self.setup };
        text.replace("#SETUP#", setup).replace("#UNIT#", unit)
    }
}

/// A unit, or one whose program ends at once with an error.
fn with_flaw(unit: &str, flaw: Flaw) -> String {
    let line = |line: &str| match (flaw, line.strip_prefix("ExecStart=")) {
        (Flaw::NoStart, Some(command)) => format!("ExecStart=/bin/false {command}\n"),
        (Flaw::None | Flaw::Broken | Flaw::NoStart, _) => format!("{line}\n"),
    };
    unit.lines().map(line).collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(tree: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    let path = tree.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let write = || {
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> &'static Package {
        ETCD.iter().chain(KUBERNETES).find(|package| package.name == name).unwrap()
    }

    #[test]
    fn a_control_file_names_what_apt_needs() {
        let control = package("kubelet").control("1.34.4-1", "amd64");
        assert!(control.starts_with("Package: kubelet\nVersion: 1.34.4-1\nArchitecture: amd64\n"), "{control}");
        assert!(control.contains("\nDepends: init-system-helpers, containerd (>= 1.6)\n") && control.ends_with('\n'));
        assert!(!package("kubectl").control("1", "amd64").contains("Depends"));
    }

    #[test]
    fn every_server_has_a_unit_and_whole_scripts() {
        for package in ETCD.iter().chain(KUBERNETES) {
            let Some(unit) = package.unit else { continue };
            let text = read(&texts().join(format!("units/{unit}.service"))).unwrap();
            assert!(text.contains(&format!("ExecStart=/usr/bin/{}", package.programs[0])), "{unit}");
            assert_eq!(text.contains("$ARGUMENTS"), package.arguments, "{unit}");
            for script in ["postinst", "prerm", "postrm"] {
                let text =
                    package.script(&read(&texts().join(script)).unwrap(), &format!("{unit}.service"), Flaw::None);
                assert!(!text.contains("#UNIT#") && !text.contains("#SETUP#"), "{script} of {unit}: {text}");
            }
        }
    }

    #[test]
    fn flaws_are_where_they_belong() {
        let unit = read(&texts().join("units/kubelet.service")).unwrap();
        assert_eq!(with_flaw(&unit, Flaw::Broken), unit);
        assert!(with_flaw(&unit, Flaw::NoStart).contains("ExecStart=/bin/false /usr/bin/kubelet"));
        let postinst = read(&texts().join("postinst")).unwrap();
        assert!(package("kubelet").script(&postinst, "kubelet.service", Flaw::Broken).contains("exit 1"));
        assert!(!package("kubelet").script(&postinst, "kubelet.service", Flaw::NoStart).contains("exit 1"));
    }
}
