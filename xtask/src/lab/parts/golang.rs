//! Programs built from Go modules. Each lies in `tests/lab/modules/` as a module of its own that requires the one with
//! the programs, so that the `replace` lines it needs can stand there; its `go.sum` makes every build the same. Another
//! version is another `require` line there (and, of Kubernetes, `replace` lines of that version), then `go mod tidy`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::store::{Bench, Part};
use crate::workspace::root;

/// Programs of one version of one project.
#[derive(Debug)]
pub(super) struct Module {
    /// Folder below `tests/lab/modules/`, and name of the part.
    pub(super) name: &'static str,
    /// Their version, as the project writes it.
    pub(super) version: &'static str,
    /// Package of each program, and the program's name.
    programs: &'static [(&'static str, &'static str)],
    /// Variable that tells the programs their version; the linker sets it. Empty: they know it.
    stamp: &'static str,
    /// Whether parts of them are written in C.
    c: bool,
    /// What of a module that they need is left out.
    without: Option<&'static Without>,
}

/// A file of a module with less in it, as the lab has no use for the rest.
#[derive(Debug)]
struct Without {
    module: &'static str,
    /// Its path in the module.
    file: &'static str,
    text: &'static str,
}

/// lego's table of DNS providers, by which a certificate is asked for: nobody asks here, and their clients are a third of the
/// packages that would be compiled for Traefik.
const DNS_PROVIDERS: Without = Without {
    module: "github.com/go-acme/lego/v4",
    file: "providers/dns/zz_gen_dns_providers.go",
    text: r#"package dns

import (
	"fmt"

	"github.com/go-acme/lego/v4/challenge"
)

// NewDNSChallengeProviderByName knows none.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("unrecognized DNS provider: %s", name)
}
"#,
};

const ETCD: &[(&str, &str)] = &[
    ("go.etcd.io/etcd/server/v3", "etcd"),
    ("go.etcd.io/etcd/etcdctl/v3", "etcdctl"),
    ("go.etcd.io/etcd/etcdutl/v3", "etcdutl"),
];
const KUBERNETES: &[(&str, &str)] = &[
    ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
    ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
    ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
    ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
    ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
    ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
];
const KUBERNETES_STAMP: &str = "k8s.io/component-base/version.gitVersion";
const FLANNEL: &[(&str, &str)] = &[("github.com/flannel-io/flannel", "flanneld")];
const FLANNEL_STAMP: &str = "github.com/flannel-io/flannel/pkg/version.Version";
const TRAEFIK: &[(&str, &str)] = &[("github.com/traefik/traefik/v3/cmd/traefik", "traefik")];
const TRAEFIK_STAMP: &str = "github.com/traefik/traefik/v3/pkg/version.Version";

pub(super) const ETCD_OLD: Module =
    Module { name: "etcd-3.5", version: "3.5.35", programs: ETCD, stamp: "", c: false, without: None };
pub(super) const ETCD_NEW: Module =
    Module { name: "etcd-3.6", version: "3.6.16", programs: ETCD, stamp: "", c: false, without: None };
pub(super) const KUBERNETES_OLD: Module = Module {
    name: "kubernetes-1.33",
    version: "v1.33.13",
    programs: KUBERNETES,
    stamp: KUBERNETES_STAMP,
    c: false,
    without: None,
};
pub(super) const KUBERNETES_NEW: Module = Module {
    name: "kubernetes-1.34",
    version: "v1.34.4",
    programs: KUBERNETES,
    stamp: KUBERNETES_STAMP,
    c: false,
    without: None,
};
pub(super) const FLANNEL_OLD: Module = Module {
    name: "flannel-0.25",
    version: "v0.25.7",
    programs: FLANNEL,
    stamp: FLANNEL_STAMP,
    c: true,
    without: None,
};
pub(super) const FLANNEL_NEW: Module = Module {
    name: "flannel-0.26",
    version: "v0.26.7",
    programs: FLANNEL,
    stamp: FLANNEL_STAMP,
    c: true,
    without: None,
};
/// Flannel's CNI plugin moved out of this project after 0.9; what came later is in no module of its own.
pub(super) const CNI_PLUGIN: Module = Module {
    name: "cni-plugin-flannel",
    version: "v0.9.1",
    programs: &[("github.com/containernetworking/plugins/plugins/meta/flannel", "flannel")],
    stamp: "github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion",
    c: false,
    without: None,
};
pub(super) const TRAEFIK_OLD: Module = Module {
    name: "traefik-3.5",
    version: "3.5.4",
    programs: TRAEFIK,
    stamp: TRAEFIK_STAMP,
    c: false,
    without: Some(&DNS_PROVIDERS),
};
pub(super) const TRAEFIK_NEW: Module = Module {
    name: "traefik-3.6",
    version: "3.6.12",
    programs: TRAEFIK,
    stamp: TRAEFIK_STAMP,
    c: false,
    without: Some(&DNS_PROVIDERS),
};
/// The lab's own: what keeps a Pod's namespaces, and the application that must not notice anything.
pub(super) const OWN: Module = Module {
    name: "own",
    version: "",
    programs: &[("runner.lab/own/pause", "pause"), ("runner.lab/own/web", "web")],
    stamp: "",
    c: false,
    without: None,
};

/// In the order in which they are built: what a platform needs first comes first.
pub(super) const MODULES: [&Module; 10] = [
    &ETCD_OLD,
    &ETCD_NEW,
    &OWN,
    &KUBERNETES_NEW,
    &KUBERNETES_OLD,
    &CNI_PLUGIN,
    &FLANNEL_OLD,
    &FLANNEL_NEW,
    &TRAEFIK_OLD,
    &TRAEFIK_NEW,
];

impl Module {
    /// Where it stands in the checkout.
    fn folder(&self) -> PathBuf {
        root().join("tests/lab/modules").join(self.name)
    }

    /// Its part; the programs lie in it by their names.
    pub(super) fn part(&self) -> Result<Part> {
        let part = Part::new(self.name).with("version", self.version).with("stamp", self.stamp);
        let part = if self.c { part.with("c", "static") } else { part };
        let part = match self.without {
            Some(less) => part.with("module", less.module).with("file", less.file).with("text", less.text),
            None => part,
        };
        let programs = self.programs.iter().map(|(package, program)| format!("{package} {program}\n"));
        part.with("programs", programs.collect::<String>()).with_files(&self.folder())
    }

    /// Builds the programs: static ones, without traces of this machine.
    pub(super) fn build(&self, bench: &mut Bench) -> Result<()> {
        let mut linker = "-s -w".to_owned();
        if !self.stamp.is_empty() {
            linker = format!("{linker} -X {}={}", self.stamp, self.version);
        }
        let mut command = go(&self.folder());
        if self.c {
            linker.push_str(" -linkmode external -extldflags -static");
            // What of Go's own library would call C's resolver, which needs its shared library.
            command.env("CGO_ENABLED", "1").arg("build").args(["-tags", "netgo,osusergo"]);
        } else {
            command.env("CGO_ENABLED", "0").arg("build");
        }
        if let Some(less) = self.without {
            command.arg(format!("-modfile={}", less.module_file(&self.folder(), bench)?.display()));
        }
        command.args(["-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", &linker, "-o"]);
        command.arg(format!("{}/", bench.out.display())).args(self.programs.iter().map(|(package, _)| package));
        bench.run(&mut command)?;
        for (package, program) in self.programs {
            let built = bench.out.join(default_name(package));
            let wanted = bench.out.join(program);
            fs::rename(&built, wanted).with_context(|| format!("there is no {}", built.display()))?;
        }
        Ok(())
    }
}

impl Without {
    /// A module file as the one in the folder, but with its own copy of the module.
    fn module_file(&self, folder: &Path, bench: &mut Bench) -> Result<PathBuf> {
        bench.run(go(folder).args(["mod", "download", self.module]))?;
        let listed =
            go(folder).args(["list", "-m", "-f", "{{.Dir}}", self.module]).output().context("cannot run go")?;
        let original = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
        ensure!(!original.is_empty(), "Go does not tell where the source of {} is", self.module);
        let (copy, file) = (bench.scratch.join("module"), bench.scratch.join("less.mod"));
        // Files of Go's cache are read-only.
        bench.run(Command::new("cp").args(["-r", "--no-preserve=mode", "--", &original]).arg(&copy))?;
        let text = fs::read_to_string(folder.join("go.mod")).context("cannot read go.mod")?;
        let replaced = format!("{text}\nreplace {} => {}\n", self.module, copy.display());
        fs::write(copy.join(self.file), self.text).with_context(|| format!("cannot write {}", self.file))?;
        fs::write(&file, replaced).with_context(|| format!("cannot write {}", file.display()))?;
        fs::copy(folder.join("go.sum"), file.with_extension("sum")).context("cannot copy go.sum")?;
        Ok(file)
    }
}

/// Go in a module, with the user's caches of modules and objects, but without what else the user's environment sets.
fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(folder).env("GOWORK", "off").env("GOFLAGS", "-mod=readonly");
    command.env_remove("GOOS").env_remove("GOARCH").env("GO111MODULE", "on");
    command
}

/// How Go names the program of a package: by the last element that is no version.
fn default_name(package: &str) -> &str {
    let is_version = |element: &&str| element.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
    package.rsplit('/').find(|element| !is_version(element)).unwrap_or(package)
}

/// The newest Go that a module asks for, such as `1.25.0`.
pub(super) fn newest_go() -> Result<String> {
    let mut newest = String::new();
    for module in MODULES {
        let path = module.folder().join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let wanted = text.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or_default();
        if numbers(wanted) > numbers(&newest) {
            newest = wanted.to_owned();
        }
    }
    Ok(newest)
}

/// The Go that is there, such as `1.26.8`; none: there is none that runs.
pub(super) fn installed_go() -> Option<String> {
    let output = Command::new("go").args(["env", "GOVERSION"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().trim_start_matches("go").to_owned())
}

/// Whether a version of Go is at least another one.
pub(super) fn at_least(version: &str, wanted: &str) -> bool {
    numbers(version) >= numbers(wanted)
}

fn numbers(version: &str) -> Vec<u32> {
    let plain = version.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let mut numbers: Vec<u32> = plain.split('.').map_while(|number| number.parse().ok()).collect();
    numbers.resize(3, 0);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_requires_the_version_that_it_says() {
        for module in MODULES {
            let text = fs::read_to_string(module.folder().join("go.mod")).unwrap();
            let version = module.version.trim_start_matches('v');
            assert!(text.contains(version), "go.mod of {} does not require {version}", module.name);
            if module.name != OWN.name {
                let all = module.programs.iter().all(|(package, _)| {
                    text.contains(&format!("\t{package}\n")) || text.contains(&format!("tool {package}\n"))
                });
                assert!(all, "go.mod of {} lacks a program", module.name);
                assert!(module.folder().join("go.sum").is_file());
            }
        }
    }

    #[test]
    fn programs_are_named_as_go_names_them() {
        assert_eq!(default_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(default_name("k8s.io/kubernetes/cmd/kubelet"), "kubelet");
        assert_eq!(default_name("example/vault"), "vault");
    }

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        assert!(at_least("1.26.8", "1.25.0") && at_least("1.25", "1.25.0") && at_least("1.26rc1", "1.25.9"));
        assert!(!at_least("1.9.9", "1.25.0") && !at_least("", "1.24"));
        assert!(at_least(&newest_go().unwrap(), "1.24"));
    }
}
