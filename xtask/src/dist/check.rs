//! `cargo xtask dist --check`: installs an archive as the README says, on a Debian host that has no Rust, no network and
//! no home of its user, and tries there what must work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::texts;
use crate::lab;
use crate::workspace::{root, run};

/// Where the archive lies in the host.
const WORK: &str = "/srv";
/// Who installs it and uses it: an ordinary user, who may use sudo.
const USER: &str = "ann";
/// A colleague, who goes on with what the first began.
const COLLEAGUE: &str = "bob";
/// The script that is run, in the host.
const SCRIPT: &str = "/script";
/// Where the host's programs are.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Device nodes that programs count on: name, major and minor number.
const DEVICES: [(&str, &str, &str); 6] = [
    ("null", "1", "3"),
    ("zero", "1", "5"),
    ("full", "1", "7"),
    ("random", "1", "8"),
    ("urandom", "1", "9"),
    ("tty", "5", "0"),
];
/// Makes users.
const PREPARE: &str = include_str!("prepare.sh");
/// Fails where the host is not bare.
const BARE: &str = include_str!("bare.sh");
/// What must work besides the commands of the README.
const TRIED: &str = include_str!("tried.sh");

/// Installs and tries an archive; `version` is what it must say of itself.
///
/// # Errors
/// When something of it does not work, or this machine can make no such host.
pub(super) fn check(archive: &Path, version: &str) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "only root can make a host to try the archive on");
    let image = lab::host_image(&|line| eprintln!("{line}"))?;
    let readme = fs::read_to_string(root().join("README.md")).context("cannot read README.md")?;
    let [install, begin] = &texts::commands(&readme, texts::INSTALLATION)?[..] else {
        bail!("the README's section {:?} must hold two blocks of commands", texts::INSTALLATION);
    };
    let host = Host::new(archive.with_file_name(format!(".bare-{}", std::process::id())), &image)?;
    for file in [archive.to_owned(), super::digest_beside(archive)] {
        let to = host.tree.join(WORK.trim_start_matches('/')).join(file.file_name().unwrap_or_default());
        fs::copy(&file, &to).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    host.root(PREPARE, &[USER, COLLEAGUE])?;
    for (script, arguments) in
        [(BARE, &[][..]), (&checked(install), &[]), (&checked(begin), &[]), (TRIED, &[version, COLLEAGUE][..])]
    {
        // Each as if logged in anew: groups that the one before gave the user hold.
        host.user(script, arguments)?;
    }
    eprintln!("{} installs and works without Rust, network and home", archive.display());
    Ok(())
}

/// A script that ends with the first of the commands that fails, also one that `&&` leads on from.
fn checked(commands: &[String]) -> String {
    commands.iter().map(|command| format!("{{ {command}\n}} || exit 1\n")).collect()
}

/// A file system of a host, in which commands run with nothing of this machine but its kernel. Dropped, it is removed.
struct Host {
    tree: PathBuf,
}

impl Host {
    fn new(tree: PathBuf, image: &Path) -> Result<Self> {
        fs::create_dir_all(&tree).with_context(|| format!("cannot create {}", tree.display()))?;
        let host = Self { tree };
        run(Command::new("tar").arg("--extract").arg("--file").arg(image).arg("--directory").arg(&host.tree))?;
        for (name, major, minor) in DEVICES {
            let node = host.tree.join("dev").join(name);
            run(Command::new("mknod").arg("--mode=666").arg(node).args(["c", major, minor]))?;
        }
        Ok(host)
    }

    /// Runs a script as root.
    fn root(&self, script: &str, arguments: &[&str]) -> Result<()> {
        self.shell(&[], script, arguments)
    }

    /// Runs a script as [`USER`].
    fn user(&self, script: &str, arguments: &[&str]) -> Result<()> {
        self.shell(&["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"], script, arguments)
    }

    fn shell(&self, through: &[&str], script: &str, arguments: &[&str]) -> Result<()> {
        let file = self.tree.join(SCRIPT.trim_start_matches('/'));
        fs::write(&file, script).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]);
        command.arg("--root").arg(&self.tree).arg("--wd").arg(WORK);
        // No variable of whoever runs this comes along.
        command.args(["env", "--ignore-environment", "LC_ALL=C", PATH]).arg(format!("USER={USER}")).args(through);
        command.args(["bash", "-eux", SCRIPT]).args(arguments).stdin(Stdio::null());
        run(&mut command)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nothing is mounted in it: mounts were made in namespaces that are gone.
        if let Err(error) = fs::remove_dir_all(&self.tree) {
            eprintln!("cannot remove {}: {error}", self.tree.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_before_another_ends_the_script() {
        let said = |commands: &[&str]| {
            let commands: Vec<String> = commands.iter().map(|command| (*command).to_owned()).collect();
            let output = Command::new("bash").args(["-eu", "-c", &checked(&commands)]).output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (well, printed) = said(&["cd /", "pwd   # where it is", "(cd /tmp && pwd)", "pwd"]);
        assert!(well && printed == "/\n/tmp\n/\n", "{printed}");
        assert_eq!(said(&["echo one", "false && echo two", "echo three"]), (false, "one\n".to_owned()));
    }
}
