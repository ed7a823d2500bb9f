//! The way to a host, and the arguments of `ssh` that say it.

use std::path::{Path, PathBuf};

use runner_types::ResolvedHost;

use crate::backend::live::shell::{command_line, quote};

/// Seconds that a host may take to answer at first.
const CONNECT_SECONDS: u32 = 10;
/// Seconds without a word after which a host is asked whether it is still there, and how often.
const ALIVE: (u32, u32) = (5, 5);
/// Keys that ssh tries by itself when none is named.
const USUAL_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// The way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name in the inventory.
    pub name: String,
    /// Its address.
    pub address: String,
    /// User to log in as; none: as ssh is configured.
    pub user: Option<String>,
    /// Port of its SSH server; none: as ssh is configured.
    pub port: Option<u16>,
    /// Private key file; none: those that ssh finds.
    pub key: Option<PathBuf>,
    /// File of trusted host keys; none: the user's.
    pub known_hosts: Option<PathBuf>,
    /// Hosts on the way, the first one first.
    pub jumps: Vec<Hop>,
}

/// A host on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// User to log in as.
    pub user: Option<String>,
    /// Its address.
    pub address: String,
    /// Port of its SSH server.
    pub port: Option<u16>,
}

impl Hop {
    /// `[user@]host[:port]`, with an IPv6 address in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (address, port) = match rest.rsplit_once(':') {
            // More than one colon without brackets is an IPv6 address.
            Some((address, port)) if !address.contains(':') || address.ends_with(']') => match port.parse() {
                Ok(port) => (address, Some(port)),
                Err(_) => (rest, None),
            },
            _ => (rest, None),
        };
        Self { user, address: address.trim_matches(['[', ']']).to_owned(), port }
    }
}

impl Route {
    /// The way to a host of an inventory in `folder`.
    #[must_use]
    pub fn new(host: &ResolvedHost, folder: &Path) -> Self {
        let path = |text: &String| in_folder(folder, text);
        Self {
            name: host.name.clone(),
            address: host.address.clone(),
            user: host.user.clone(),
            port: host.port,
            key: host.key.as_ref().map(path),
            known_hosts: host.known_hosts.as_ref().map(path),
            jumps: host.jump.iter().flat_map(|jumps| jumps.split(',')).map(Hop::parse).collect(),
        }
    }

    /// `user@address:port`, as people write it.
    #[must_use]
    pub fn label(&self) -> String {
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{user}{}{port}", self.address)
    }

    /// Its name, with how it is reached where that is not the same: `node-1 (ops@192.0.2.7)`.
    #[must_use]
    pub fn title(&self) -> String {
        match self.label() {
            label if label == self.name => label,
            label => format!("{} ({label})", self.name),
        }
    }

    /// Arguments of `ssh` that lead there, the address at the end left out.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut words = self.shared();
        if let Some(key) = &self.key {
            words.extend(option("IdentitiesOnly", "yes"));
            words.extend(["-i".to_owned(), literal(key)]);
        }
        if let Some(proxy) = self.proxy(&self.jumps) {
            words.extend(option("ProxyCommand", &proxy));
        }
        words.extend(login(self.user.as_deref(), self.port));
        words
    }

    /// What holds for every connection on the way.
    fn shared(&self) -> Vec<String> {
        let mut words: Vec<String> = ["-T", "-x", "-a"].map(str::to_owned).into();
        let (interval, times) = ALIVE;
        let options = [
            ("BatchMode", "yes".to_owned()),
            ("StrictHostKeyChecking", "yes".to_owned()),
            ("UpdateHostKeys", "no".to_owned()),
            ("ConnectTimeout", CONNECT_SECONDS.to_string()),
            ("ServerAliveInterval", interval.to_string()),
            ("ServerAliveCountMax", times.to_string()),
            ("ClearAllForwardings", "yes".to_owned()),
            ("PermitLocalCommand", "no".to_owned()),
            ("RemoteCommand", "none".to_owned()),
            ("LogLevel", "INFO".to_owned()),
        ];
        for (name, value) in options {
            words.extend(option(name, &value));
        }
        if let Some(file) = &self.known_hosts {
            words.extend(option("UserKnownHostsFile", &format!("\"{}\"", literal(file))));
        }
        words
    }

    /// The command that carries the connection over the hosts on the way. `ssh -J` would give them neither the key nor
    /// the file of host keys.
    #[must_use]
    pub fn proxy(&self, hops: &[Hop]) -> Option<String> {
        let (last, before) = hops.split_last()?;
        let mut words = vec!["ssh".to_owned()];
        words.extend(self.shared());
        words.extend(option("ControlMaster", "no"));
        words.extend(option("ControlPath", "none"));
        if let Some(key) = &self.key {
            let home = std::env::home_dir();
            let usual = USUAL_KEYS.iter().filter_map(|name| Some(home.as_ref()?.join(".ssh").join(name)));
            for key in std::iter::once(key.clone()).chain(usual.filter(|key| key.is_file())) {
                words.extend(["-i".to_owned(), literal(&key)]);
            }
        }
        if let Some(inner) = self.proxy(before) {
            words.extend(option("ProxyCommand", &inner));
        }
        words.extend(login(last.user.as_deref(), last.port));
        // Of this line ssh itself puts in `%h` and `%p`; every other percent sign is meant.
        let mut line = words.iter().map(|word| quote(&word.replace('%', "%%"))).collect::<Vec<_>>().join(" ");
        line.push_str(" -W '[%h]:%p' ");
        line.push_str(&command_line(&["--", &last.address]));
        Some(line)
    }
}

fn option(name: &str, value: &str) -> [String; 2] {
    ["-o".to_owned(), format!("{name}={value}")]
}

fn login(user: Option<&str>, port: Option<u16>) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(user) = user {
        words.extend(["-l".to_owned(), user.to_owned()]);
    }
    if let Some(port) = port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    words
}

/// A path as ssh's options take it, which put in what stands for `%…`.
fn literal(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// A path of an inventory in `folder`.
fn in_folder(folder: &Path, text: &str) -> PathBuf {
    match text.strip_prefix("~/").zip(std::env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => folder.join(text),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The way to ops@192.0.2.7:2201, over these hosts.
    pub(in super::super) fn route(jumps: &str) -> Route {
        Route {
            name: "node-1".to_owned(),
            address: "192.0.2.7".to_owned(),
            user: Some("ops".to_owned()),
            port: Some(2201),
            key: None,
            known_hosts: Some(PathBuf::from("/p/100% sure/known_hosts")),
            jumps: jumps.split(',').filter(|jump| !jump.is_empty()).map(Hop::parse).collect(),
        }
    }

    #[test]
    fn hops() {
        let hop = |user: Option<&str>, address: &str, port| Hop {
            user: user.map(str::to_owned),
            address: address.to_owned(),
            port,
        };
        assert_eq!(Hop::parse("bastion"), hop(None, "bastion", None));
        assert_eq!(Hop::parse("ops@bastion:2222"), hop(Some("ops"), "bastion", Some(2222)));
        assert_eq!(Hop::parse("2001:db8::1"), hop(None, "2001:db8::1", None));
        assert_eq!(Hop::parse("a@[2001:db8::1]:22"), hop(Some("a"), "2001:db8::1", Some(22)));
    }

    #[test]
    fn host_keys_are_always_checked() {
        for jumps in ["", "a", "x@a:1,b"] {
            let arguments = route(jumps).arguments().join(" ");
            let connections = 1 + route(jumps).jumps.len();
            assert_eq!(arguments.matches("StrictHostKeyChecking=yes").count(), connections, "{arguments}");
            assert_eq!(arguments.matches("BatchMode=yes").count(), connections, "{arguments}");
        }
    }

    #[test]
    fn a_way_over_two_hosts() {
        let proxy = route("x@a:1,b").proxy(&route("x@a:1,b").jumps).unwrap_or_default();
        assert!(proxy.ends_with(" -W '[%h]:%p' -- b"), "{proxy}");
        // One level deeper, what ssh puts in is protected once more.
        assert!(proxy.contains("[%%h]:%%p"), "{proxy}");
        assert!(proxy.contains("/p/100%%%% sure/known_hosts"), "{proxy}");
    }
}
