//! `lab status`: what of the lab runs, host by host, as the hosts themselves and the API say it.

use std::io::Write;
use std::process::Command;
use std::thread;

use anyhow::Result;

use super::command::output;
use super::daemon::Daemon;
use super::hosts::Hosts;
use super::outputs;
use super::site::{Host, Site};

/// What a host says of itself: state, packages with versions, units that do not run though they are enabled.
const QUESTIONS: &str = "\
printf 'systemd: %s\\n' \"$(systemctl is-system-running || true)\"
dpkg-query --show --showformat='${Package}\\t${Version}\\t${db:Status-Status}\\n' \
    'etcd-*' 'kube*' docker.io docker-cli containerd 2>/dev/null |
    while IFS='\t' read -r name version state; do [ \"$state\" = installed ] && printf '%s %s\\n' \"$name\" \"$version\"; done
for unit in etcd kube-apiserver kube-controller-manager kube-scheduler containerd docker kubelet kube-proxy; do
    [ \"$(systemctl is-enabled $unit.service 2>/dev/null)\" = enabled ] || continue
    printf '%s.service: %s\\n' $unit \"$(systemctl is-active $unit.service || true)\"
done
";

/// Prints it; fails when there is no lab or it does not run.
pub(crate) fn status() -> Result<()> {
    let site = Site::present()?;
    let daemon = Daemon::of(&site);
    if !daemon.answers() {
        println!("the lab in {} is stopped: `cargo xtask lab up` starts it", site.directory().display());
        return Ok(());
    }
    let hosts = Hosts { site: &site, daemon: &daemon };
    let states = hosts.states()?;
    let texts: Vec<String> = thread::scope(|scope| {
        let ask = |host: &Host, state: &Option<String>| match state.as_deref() {
            Some("running") => hosts.script(host, QUESTIONS, &[], &[]).unwrap_or_else(|error| format!("{error:#}\n")),
            Some(state) => format!("{state}\n"),
            None => "missing: `cargo xtask lab up` makes it\n".to_owned(),
        };
        let threads: Vec<_> = states.iter().map(|(host, state)| scope.spawn(move || ask(host, state))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let mut said = String::new();
    for ((host, _), text) in states.iter().zip(texts) {
        said.push_str(&format!("{} ({}, {} among the hosts)\n", host.name, host.address, host.internal));
        for line in text.lines() {
            said.push_str(&format!("  {line}\n"));
        }
    }
    let out = site.out();
    for words in [&["get", "nodes"][..], &["get", "pods", "--all-namespaces", "--output=wide"]] {
        let mut command = Command::new(out.join("bin/kubectl"));
        command.arg("--kubeconfig").arg(out.join("kubeconfig")).arg("--request-timeout=10s");
        let objects = output(command.args(words)).unwrap_or_else(|error| format!("{error:#}\n"));
        said.push_str(&format!("\n{objects}"));
    }
    if !outputs::are_complete(&out) {
        said.push_str("\nit was not brought up to its end: `cargo xtask lab up` goes on\n");
    }
    // Whoever reads it may have seen enough.
    let _ = std::io::stdout().write_all(said.as_bytes());
    Ok(())
}
