//! Keys of a lab: the one with which people and runner log in, and those by which they know the hosts.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::command::output;
use super::files::Files;
use super::site::{Host, Site, write};

/// The only kind of key that is made: every OpenSSH of this decade knows it.
const KIND: &str = "ed25519";

/// Keys of a lab.
pub(crate) struct Keys<'a> {
    site: &'a Site,
}

impl<'a> Keys<'a> {
    /// Makes what is missing of them.
    pub(crate) fn ensure(site: &'a Site) -> Result<Self> {
        let keys = Self { site };
        generate(&keys.login(), "runner-lab")?;
        let password = keys.password_file();
        if !password.exists() {
            write(&password, format!("{}\n", random_word()?))?;
        }
        private(&password)?;
        for host in site.hosts() {
            generate(&keys.host_key(&host), &host.name)?;
        }
        Ok(keys)
    }

    /// The private key with which one logs in.
    pub(crate) fn login(&self) -> PathBuf {
        self.site.keys().join("login")
    }

    /// The public half of it.
    pub(crate) fn login_public(&self) -> Result<String> {
        read(&self.login().with_extension("pub"))
    }

    /// File with the password that sudo asks of `pat`.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.site.keys().join("pat-password")
    }

    /// That password.
    pub(crate) fn password(&self) -> Result<String> {
        read(&self.password_file())
    }

    fn host_key(&self, host: &Host) -> PathBuf {
        self.site.keys().join("hosts").join(&host.name)
    }

    /// Keys of a host's SSH server, where it looks for them.
    pub(crate) fn of_host(&self, host: &Host) -> Result<Files> {
        let path = self.host_key(host);
        let mut files = Files::new()?;
        files.add(&format!("/etc/ssh/ssh_host_{KIND}_key"), 0o600, read(&path)?)?;
        files.add(&format!("/etc/ssh/ssh_host_{KIND}_key.pub"), 0o644, read(&path.with_extension("pub"))?)?;
        Ok(files)
    }

    /// The hosts' keys as a known_hosts file: by their addresses, and by their names for `ssh HOST`.
    pub(crate) fn known_hosts(&self) -> Result<String> {
        let line = |host: Host| -> Result<String> {
            let public = read(&self.host_key(&host).with_extension("pub"))?;
            let key: Vec<&str> = public.split_whitespace().take(2).collect();
            let place = match self.site.ssh_port() {
                22 => host.address.to_string(),
                port => format!("[{}]:{port}", host.address),
            };
            Ok(format!("{place} {}\n", key.join(" ")))
        };
        self.site.hosts().into_iter().map(line).collect()
    }
}

fn generate(path: &Path, comment: &str) -> Result<()> {
    if path.exists() && path.with_extension("pub").exists() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let _ = fs::remove_file(path);
    output(Command::new("ssh-keygen").args(["-q", "-t", KIND, "-N", "", "-C", comment, "-f"]).arg(path))?;
    Ok(())
}

fn private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))
}

fn random_word() -> Result<String> {
    let mut bytes = [0_u8; 12];
    fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).context("no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
