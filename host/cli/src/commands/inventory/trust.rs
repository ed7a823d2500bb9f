//! `runner inventory trust`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use futures::future::join_all;
use runner_engine::backend::live::ssh::{HostKey, Route, Trust as Known, known_hosts};
use runner_types::Connection;

use crate::console::Terminal;
use crate::exit::Exit;
use crate::hosts::Hosts;
use crate::out;

/// Look at the host keys that hosts show, and trust them
///
/// Shows the fingerprint of every key that is not trusted yet, asks, and writes the file of host keys: the one that the
/// inventory names as `known-hosts`, else the user's. Hosts on the way (`jump`) come first. Compare the fingerprints
/// with what the hosts' administrators tell: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner inventory trust -i inventory.json                        all hosts
  runner inventory trust node-3                                   one that was added
  runner inventory trust node-3 --replace                         one that was installed anew
  runner inventory trust node-3 --fingerprint SHA256:wFvB…        without a question, if it is this key")]
pub(super) struct Trust {
    #[command(flatten)]
    hosts: Hosts,
    /// Trust keys with this fingerprint without asking, and no others; may be repeated
    #[arg(long = "fingerprint", value_name = "SHA256:…")]
    fingerprints: Vec<String>,
    /// Also trust keys that have changed, instead of those that were trusted
    #[arg(long)]
    replace: bool,
}

/// A key that was shown, and where it would be trusted.
struct Shown {
    host: String,
    key: HostKey,
    known: Known,
    file: PathBuf,
}

impl Trust {
    pub(super) fn carry_out(&self) -> anyhow::Result<Exit> {
        let selected = self.hosts.read()?;
        let by_ssh = selected.hosts().filter(|host| host.connection == Connection::Ssh);
        let routes: Vec<Route> = by_ssh.map(|host| Route::new(host, selected.folder())).collect();
        if routes.is_empty() {
            out::stderr("none of these hosts is reached by SSH\n");
            return Ok(Exit::Succeeded);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(self.trust(&routes));
        // A thread that waits for the terminal would keep the runtime for ever.
        runtime.shutdown_background();
        ended
    }

    /// Hosts at the same distance are looked at side by side; the way to the next ones goes over them.
    async fn trust(&self, routes: &[Route]) -> anyhow::Result<Exit> {
        let mut terminal = if self.fingerprints.is_empty() { Terminal::open() } else { None };
        let mut worst = Exit::Succeeded;
        let mut seen = BTreeSet::new();
        let furthest = routes.iter().map(|route| route.jumps.len()).max().unwrap_or(0);
        for distance in 0..=furthest {
            let whole = routes.iter().flat_map(|route| route.hops().into_iter().chain([route.clone()]));
            let now: Vec<Route> = whole
                .filter(|route| route.jumps.len() == distance)
                .filter(|route| seen.insert((route.label(), route.known_hosts.clone())))
                .collect();
            let mut shown = Vec::new();
            for (route, looked) in now.iter().zip(join_all(now.iter().map(look)).await) {
                match looked {
                    Ok(key) => shown.push(key),
                    Err(message) => {
                        out::stderr(&format!("{}: {}\n", route.name, out::printable(&message)));
                        worst = worst.max(Exit::Unreachable);
                    }
                }
            }
            worst = worst.max(self.decide(shown, terminal.as_mut()).await?);
        }
        Ok(worst)
    }

    async fn decide(&self, shown: Vec<Shown>, terminal: Option<&mut Terminal>) -> anyhow::Result<Exit> {
        let mut worst = Exit::Succeeded;
        let mut wanted = Vec::new();
        for shown in shown {
            match &shown.known {
                Known::Known => {
                    out::stderr(&format!("{}: {} is trusted already\n", shown.host, shown.key.fingerprint));
                }
                Known::Changed(before) if !self.replace => {
                    out::stderr(&format!(
                        "DANGER: {}: the host key of {} has changed from {} to {}: the host was installed anew, or somebody \
                         stands in between; find out which, then give --replace\n",
                        shown.host,
                        shown.key.name,
                        before.join(", "),
                        shown.key.fingerprint
                    ));
                    worst = worst.max(Exit::Refused);
                }
                Known::New | Known::Changed(_) => wanted.push(shown),
            }
        }
        if wanted.is_empty() {
            return Ok(worst);
        }
        out::stdout(&table(&wanted))?;
        let agreed = match (self.fingerprints.is_empty(), terminal) {
            (false, _) => {
                let (named, others): (Vec<Shown>, Vec<Shown>) =
                    wanted.into_iter().partition(|shown| self.fingerprints.contains(&shown.key.fingerprint));
                for shown in others {
                    out::stderr(&format!("{}: refused: no --fingerprint names this key\n", shown.host));
                    worst = worst.max(Exit::Refused);
                }
                named
            }
            (true, None) => {
                out::stderr(
                    "refused: nobody can be asked; begin it at a terminal, or name the keys with --fingerprint SHA256:…\n",
                );
                return Ok(worst.max(Exit::Unanswerable));
            }
            (true, Some(terminal)) => {
                let keys = if wanted.len() == 1 { "this key" } else { "these keys" };
                match terminal.confirms(&format!("Trust {keys}? (y/n) ")).await {
                    true => wanted,
                    false => return Ok(worst.max(Exit::Declined)),
                }
            }
        };
        for shown in agreed {
            let accepted = shown.key.accept(&shown.file, matches!(shown.known, Known::Changed(_))).await;
            accepted.map_err(anyhow::Error::msg)?;
            out::stderr(&format!("{}: written to {}\n", shown.host, shown.file.display()));
        }
        Ok(worst)
    }
}

async fn look(route: &Route) -> Result<Shown, String> {
    let file = known_hosts(route).await?;
    let key = HostKey::fetch(route).await?;
    let known = key.trust(&file).await?;
    Ok(Shown { host: route.name.clone(), key, known, file })
}

fn table(shown: &[Shown]) -> String {
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|shown| {
            let kind = shown.key.kind.trim_start_matches("ssh-").to_owned();
            let change = match &shown.known {
                Known::Known | Known::New => String::new(),
                Known::Changed(before) => format!("CHANGED, was {}", before.join(", ")),
            };
            vec![shown.host.clone(), shown.key.name.clone(), kind, shown.key.fingerprint.clone(), change]
        })
        .collect();
    out::table(&["HOST", "ADDRESS", "TYPE", "FINGERPRINT", ""], &rows)
}
