//! `runner check`: what stands in the way of working on a platform.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use futures::{StreamExt as _, stream};
use runner_engine::backend::live::check::{self, Finding, Verdict};
use runner_engine::backend::live::secrets::Secrets;
use runner_types::{Connection, Inventory, ResolvedHost};
use serde_json::json;

use crate::args::{Common, ListOutput};
use crate::exit::Exit;
use crate::hosts::Hosts;
use crate::out;

/// Hosts looked at side by side.
const SIDE_BY_SIDE: usize = 40;

/// Look for what would stand in the way on hosts and clusters, all at once
///
/// SSH, host keys, sudo, clocks, disks, tools, systemd, package managers and the Kubernetes API: all hosts are looked at
/// side by side and nothing is changed. What is not well is listed with what to do about it; -v
/// lists what is well, too. Exit code 4: a host or an API does not answer; 3: something else is wrong. Warnings alone
/// are no failure.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner check -i inventory.json                all hosts and clusters
  runner check -i hosts.ini nodes '!node-3'     some hosts, and all clusters
  runner check --output json | jq '.findings[] | select(.verdict != \"well\")'")]
pub(crate) struct Check {
    #[command(flatten)]
    hosts: Hosts,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
}

impl Check {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let selected = self.hosts.read()?;
        let hosts: Vec<&ResolvedHost> = selected.hosts().collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let findings = runtime.block_on(look(&hosts, &selected.inventory, selected.folder()));
        drop(runtime);
        let simulated = hosts.iter().filter(|host| host.connection == Connection::Simulated).count();
        match self.output {
            ListOutput::Text => {
                let wanted = |finding: &&Finding| common.verbose > 0 || finding.verdict != Verdict::Well;
                let shown: Vec<&Finding> = findings.iter().filter(wanted).collect();
                if !shown.is_empty() {
                    out::stdout(&table(&shown))?;
                }
                out::stderr(&summary(&findings, hosts.len() - simulated, simulated));
            }
            ListOutput::Json => out::json(&json!({ "findings": findings, "outcome": exit(&findings).name() }))?,
        }
        Ok(exit(&findings))
    }
}

/// Findings about hosts in inventory order, then about clusters.
async fn look(hosts: &[&ResolvedHost], inventory: &Inventory, folder: &Path) -> Vec<Finding> {
    let secrets = Arc::new(Secrets::new(&inventory.secrets, folder));
    let of_hosts = stream::iter(hosts).map(|host| check::host(host, folder, &secrets)).buffered(SIDE_BY_SIDE);
    let real = inventory.clusters.iter().filter(|(name, _)| !inventory.is_simulated(name));
    let of_clusters = real.map(|(name, cluster)| check::cluster(name, cluster, folder, &secrets));
    let (of_hosts, of_clusters) = tokio::join!(of_hosts.collect::<Vec<_>>(), futures::future::join_all(of_clusters));
    of_hosts.into_iter().chain(of_clusters).flatten().collect()
}

fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|finding| finding.verdict).max() {
        Some(Verdict::Unreachable) => Exit::Unreachable,
        Some(Verdict::Wrong) => Exit::Failed,
        Some(Verdict::Warning | Verdict::Well) | None => Exit::Succeeded,
    }
}

fn table(findings: &[&Finding]) -> String {
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| {
            let verdict = match finding.verdict {
                Verdict::Well => "well",
                Verdict::Warning => "warning",
                Verdict::Wrong => "WRONG",
                Verdict::Unreachable => "UNREACHABLE",
            };
            let mut text = super::verify::one_line(&finding.found);
            if !finding.to_do.is_empty() {
                text = format!("{text}: {}", finding.to_do);
            }
            vec![verdict.to_owned(), finding.place.clone(), finding.check.to_owned(), text]
        })
        .collect();
    out::table(&["VERDICT", "WHERE", "CHECK", "FOUND: WHAT TO DO"], &rows)
}

fn summary(findings: &[Finding], hosts: usize, simulated: usize) -> String {
    let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let mut text = format!("{hosts} hosts: {} checks well", count(Verdict::Well));
    for (verdict, name) in
        [(Verdict::Warning, "warnings"), (Verdict::Wrong, "wrong"), (Verdict::Unreachable, "unreachable")]
    {
        let number = count(verdict);
        if number > 0 {
            text.push_str(&format!(", {number} {name}"));
        }
    }
    if simulated > 0 {
        text.push_str(&format!("; {simulated} simulated hosts need no check"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(verdict: Verdict, found: &str, to_do: &str) -> Finding {
        Finding { place: "node-1".to_owned(), check: "disk", verdict, found: found.to_owned(), to_do: to_do.to_owned() }
    }

    #[test]
    fn the_worst_decides_how_it_ends() {
        let with = |verdicts: &[Verdict]| exit(&verdicts.iter().map(|v| finding(*v, "", "")).collect::<Vec<_>>());
        assert_eq!(with(&[]), Exit::Succeeded);
        assert_eq!(with(&[Verdict::Warning, Verdict::Well]), Exit::Succeeded);
        assert_eq!(with(&[Verdict::Wrong, Verdict::Warning]), Exit::Failed);
        assert_eq!(with(&[Verdict::Wrong, Verdict::Unreachable]), Exit::Unreachable);
    }

    #[test]
    fn what_is_found_stands_with_what_to_do() {
        let findings = [finding(Verdict::Wrong, "48 MiB free on /", "make room on /"), finding(Verdict::Well, "x", "")];
        assert_eq!(
            table(&findings.iter().collect::<Vec<_>>()),
            "VERDICT  WHERE   CHECK  FOUND: WHAT TO DO\n\
             WRONG    node-1  disk   48 MiB free on /: make room on /\n\
             well     node-1  disk   x\n"
        );
        assert_eq!(summary(&findings, 1, 2), "1 hosts: 1 checks well, 1 wrong; 2 simulated hosts need no check\n");
    }
}
