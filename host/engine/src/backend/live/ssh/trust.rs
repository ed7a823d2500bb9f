//! Host keys: what a host shows, what is trusted, and trusting more.
//!
//! `ssh` itself fetches the key, over the same way that it goes later and under the name by which it looks the key up, so
//! hosts behind others, other ports and the user's own configuration need no second set of rules.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::route::Route;
use super::trouble;

/// How long a host may take to show its key.
const PATIENCE: Duration = Duration::from_secs(30);

/// A key that a host shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// Under which name ssh looks it up: `host` or `[host]:port`.
    pub name: String,
    /// Its type: `ssh-ed25519`.
    pub kind: String,
    /// The key, in base64.
    pub key: String,
    /// `SHA256:…`, as administrators tell it.
    pub fingerprint: String,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is the one that is trusted.
    Known,
    /// None is trusted under its name yet.
    New,
    /// Another one is trusted: fingerprints of those.
    Changed(Vec<String>),
}

impl HostKey {
    /// A line of a file of host keys: names, type, key.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (name, kind, key) = (words.next()?, words.next()?, words.next()?);
        if name.starts_with(['#', '@']) {
            return None;
        }
        let blob = BASE64_STANDARD.decode(key).ok()?;
        let fingerprint = format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(blob)));
        Some(Self { name: name.to_owned(), kind: kind.to_owned(), key: key.to_owned(), fingerprint })
    }

    /// The key that the host at the end of the way shows. Hosts on the way must be trusted already.
    ///
    /// # Errors
    /// Why it cannot be fetched, with what to do.
    pub async fn fetch(route: &Route) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no place for a key: {error}"))?;
        let file = folder.path().join("key");
        let mut command = Command::new("ssh");
        // Of an option given twice the first counts. The key goes to a file of its own, nothing is logged in to.
        command
            .args(["-o", "StrictHostKeyChecking=accept-new", "-o", "GlobalKnownHostsFile=/dev/null"])
            .args(["-o", "HashKnownHosts=no", "-o", "PreferredAuthentications=none", "-o", "CheckHostIP=no"])
            .args(["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o"])
            .arg(format!("UserKnownHostsFile=\"{}\"", file.display()))
            .args(route.arguments())
            .args(["--", &route.address, "exit"])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = match tokio::time::timeout(PATIENCE, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(format!("cannot run ssh: {error}: install it (package openssh-client)")),
            Err(_) => return Err(format!("{} shows no key within {} s", route.title(), PATIENCE.as_secs())),
        };
        let shown = tokio::fs::read_to_string(&file).await.unwrap_or_default();
        let key = shown.lines().find_map(Self::parse);
        key.ok_or_else(|| trouble::explain(route, &String::from_utf8_lossy(&output.stderr)))
    }

    /// What a file of host keys says of it.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub async fn trust(&self, file: &Path) -> Result<Trust, String> {
        if !file.exists() {
            return Ok(Trust::New);
        }
        // It finds names that were hashed, too.
        let output = keygen(["-F", &self.name], file).await?;
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        let known: Vec<Self> = found.lines().filter_map(Self::parse).filter(|key| key.kind == self.kind).collect();
        if known.iter().any(|key| key.key == self.key) {
            return Ok(Trust::Known);
        }
        match known.is_empty() {
            true => Ok(Trust::New),
            false => Ok(Trust::Changed(known.into_iter().map(|key| key.fingerprint).collect())),
        }
    }

    /// Trusts it from now on; others of its name no more, if they are replaced. The file is written whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn accept(&self, file: &Path, replace: bool) -> Result<(), String> {
        let cannot = |error: std::io::Error| format!("cannot write {}: {error}", file.display());
        let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let mut text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(cannot(error)),
        };
        if replace {
            let scratch = tempfile::tempdir_in(folder).map_err(cannot)?;
            let copy = scratch.path().join("keys");
            std::fs::write(&copy, &text).map_err(cannot)?;
            keygen(["-R", &self.name], &copy).await?;
            text = std::fs::read_to_string(&copy).map_err(cannot)?;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{} {} {}\n", self.name, self.kind, self.key));
        let mut new = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        std::io::Write::write_all(&mut new, text.as_bytes()).map_err(cannot)?;
        if let Ok(before) = std::fs::metadata(&file) {
            new.as_file().set_permissions(before.permissions()).map_err(cannot)?;
        }
        new.as_file().sync_all().map_err(cannot)?;
        new.persist(&file).map_err(|error| cannot(error.error))?;
        Ok(())
    }
}

/// The file in which the host keys of a way are trusted.
///
/// # Errors
/// When ssh does not say where the user's is.
pub async fn known_hosts(route: &Route) -> Result<PathBuf, String> {
    if let Some(file) = &route.known_hosts {
        return Ok(file.clone());
    }
    let mut command = Command::new("ssh");
    command.arg("-G").args(route.arguments()).args(["--", &route.address]).stdin(Stdio::null());
    let output = command.output().await.map_err(|error| format!("cannot run ssh: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let files = said.lines().find_map(|line| line.strip_prefix("userknownhostsfile "));
    let file = files.and_then(|files| files.split_whitespace().next()).unwrap_or("~/.ssh/known_hosts");
    match (file.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => Ok(home.join(rest)),
        (Some(_), None) => Err("nobody says where the home directory is: name a file as `known-hosts`".to_owned()),
        (None, _) => Ok(PathBuf::from(file)),
    }
}

impl Route {
    /// The ways to the hosts on the way, the first one first.
    #[must_use]
    pub fn hops(&self) -> Vec<Self> {
        let hop = |(index, hop): (usize, &super::Hop)| Self {
            name: self.name.clone(),
            address: hop.address.clone(),
            user: hop.user.clone(),
            port: hop.port,
            key: self.key.clone(),
            known_hosts: self.known_hosts.clone(),
            jumps: self.jumps.get(..index).unwrap_or_default().to_vec(),
        };
        self.jumps.iter().enumerate().map(hop).collect()
    }
}

async fn keygen(arguments: [&str; 2], file: &Path) -> Result<std::process::Output, String> {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).arg("-f").arg(file).stdin(Stdio::null());
    command.output().await.map_err(|error| format!("cannot run ssh-keygen: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::server::Server;
    use super::*;

    #[tokio::test]
    async fn a_key_is_shown_accepted_and_replaced_on_purpose() {
        let Some(server) = Server::start() else { return };
        let mut host = server.host();
        host.known_hosts = Some("new/known_hosts".to_owned());
        let route = Route::new(&host, server.folder());
        let file = known_hosts(&route).await.unwrap();
        assert_eq!(file, server.folder().join("new/known_hosts"));
        let key = HostKey::fetch(&route).await.unwrap();
        assert_eq!(key.name, format!("[127.0.0.1]:{}", server.port()));
        assert_eq!(key.fingerprint, server.fingerprint());
        assert_eq!(key.trust(&file).await, Ok(Trust::New));
        key.accept(&file, false).await.unwrap();
        assert_eq!(key.trust(&file).await, Ok(Trust::Known));
        super::super::SshShell::new(&host, server.folder(), super::super::tests::server::no_secrets())
            .open()
            .await
            .unwrap();

        let other = format!("# mine\nelse {0}[127.0.0.1]:{1} {0}", server.other_public_key(), server.port());
        std::fs::write(&file, other).unwrap();
        let Ok(Trust::Changed(before)) = key.trust(&file).await else { panic!("it has changed") };
        assert_eq!(before.len(), 1);
        key.accept(&file, true).await.unwrap();
        assert_eq!(key.trust(&file).await, Ok(Trust::Known));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# mine\nelse ssh-ed25519 ") && text.lines().count() == 3, "{text}");
    }
}
