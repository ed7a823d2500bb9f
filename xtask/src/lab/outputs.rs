//! What `runner` and people use of the lab, in its `out` directory.

use anyhow::Result;

use super::keys::Keys;
use super::site::{Site, write};

/// How hosts are reached by `ssh`.
pub(crate) fn access(site: &Site, keys: &Keys<'_>) -> Result<()> {
    let out = site.out();
    let known_hosts = out.join("known_hosts");
    write(&known_hosts, keys.known_hosts()?)?;
    let mut text = String::new();
    for host in site.hosts() {
        text.push_str(&format!("Host {}\n  HostName {}\n", host.name, host.address));
    }
    text.push_str(&format!(
        "Host *\n  User ops\n  Port {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
         GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n",
        site.ssh_port(),
        keys.login().display(),
        known_hosts.display()
    ));
    write(&out.join("ssh_config"), text)
}
