//! What stands in the way of working on a real platform: everything that can be seen beforehand, all at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use runner_types::{Become, Cluster, Connection, ResolvedHost, Timestamp};

use super::kubernetes::{Kubeconfig, LiveCluster};
use super::process::ProcessShell;
use super::secrets::Secrets;
use super::shell::{Bounds, RunAs, Script, Shell, ShellError};
use super::ssh::SshShell;
use crate::contract::{Backend as _, Caller, Place};

/// Seconds by which a clock may differ: tokens and certificates, and the order of what journals say.
const CLOCK: (i64, i64) = (2_000, 30_000);
/// KiB that should be free, and that must be.
const FREE: (u64, u64) = (1 << 20, 100 << 10);
/// How long a host may take to tell.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long an API server may take to answer.
const API: Duration = Duration::from_secs(20);

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Host or cluster.
    pub place: String,
    /// What was looked at: `ssh`, `sudo`, `clock`, `disk`, `tools`, `systemd`, `packages`, `api`.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when nothing is to be done, or when what was found says it.
    pub to_do: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Well,
    /// Worth a look, and not in the way.
    Warning,
    /// It will not work like that.
    Wrong,
    /// It does not answer, so nothing else is known.
    Unreachable,
}

/// Says, each part ended by NUL: the time, who it runs as, tools that are missing, further ones that are missing, free
/// space, the state of systemd, the package manager.
const LOOK: &str = r#"LC_ALL=C
export LC_ALL
date -u +%Y-%m-%dT%H:%M:%S.%3NZ
printf '\0'
id -un
printf '\0'
for tool in cat chmod chown cp cut date dd df env head id ln ls mkdir mktemp mv nproc od readlink rm rmdir sha256sum sort \
    stat sync tail tee timeout touch tr uname wc; do
    command -v "$tool" >/dev/null 2>&1 || printf '%s ' "$tool"
done
printf '\0'
for tool in curl gzip tar; do
    command -v "$tool" >/dev/null 2>&1 || printf '%s ' "$tool"
done
printf '\0'
df -P -k / /var 2>/dev/null
printf '\0'
systemctl is-system-running 2>&1
printf '\0'
for tool in apt-get dnf yum; do
    command -v "$tool" 2>/dev/null && break
done
printf '\0'
"#;

/// Looks at a host of an inventory in `folder`.
pub async fn host(host: &ResolvedHost, folder: &Path, secrets: &Arc<Secrets>) -> Vec<Finding> {
    let findings = look_at(host, folder, secrets).await;
    findings.into_iter().map(|finding| Finding { found: secrets.mask(finding.found), ..finding }).collect()
}

async fn look_at(host: &ResolvedHost, folder: &Path, secrets: &Arc<Secrets>) -> Vec<Finding> {
    let look = Look { place: &host.name };
    if let Err(error) = host.check_available() {
        return vec![look.found("inventory", Verdict::Wrong, error.to_string(), error.help())];
    }
    let mut findings = Vec::new();
    let shell: Arc<dyn Shell> = match host.connection {
        Connection::Simulated => return Vec::new(),
        Connection::Local => {
            let effects = host.r#become.enabled.then(|| host.r#become.user.clone());
            Arc::new(ProcessShell { effects })
        }
        Connection::Ssh => {
            // First without sudo: its troubles are not those of the connection.
            let plain = ResolvedHost { r#become: Become::no(), ..host.clone() };
            let plain = SshShell::new(&plain, folder, Arc::clone(secrets));
            match plain.open().await {
                Err(error) => {
                    findings.push(look.found("ssh", Verdict::Unreachable, error.to_string(), ""));
                    return findings;
                }
                Ok(noise) => {
                    let mut found = format!("logged in as {}", plain.route().label());
                    if let Some(line) = noise.lines().next() {
                        found.push_str(&format!("; the login prints {line:?}, which is left out of all answers"));
                    }
                    findings.push(look.well("ssh", found));
                }
            }
            match host.r#become.enabled {
                false => Arc::new(plain),
                true => {
                    let with_rights = SshShell::new(host, folder, Arc::clone(secrets));
                    match with_rights.open().await {
                        Ok(_) => Arc::new(with_rights),
                        Err(error) => {
                            let verdict = match error {
                                ShellError::Unreachable(_) => Verdict::Unreachable,
                                _ => Verdict::Wrong,
                            };
                            findings.push(look.found("sudo", verdict, error.to_string(), ""));
                            Arc::new(plain)
                        }
                    }
                }
            }
        }
    };
    let sudo_known = !findings.iter().all(|finding| finding.check != "sudo");
    let bounds = Bounds { time: Some(PATIENCE), ..Bounds::default() };
    let user = if sudo_known { RunAs::Login } else { RunAs::Effects };
    let begun = SystemTime::now();
    match shell.run(Script::new(LOOK).run_as(user), Vec::new(), bounds).await {
        Ok(finished) if finished.stdout.text().matches('\0').count() >= 7 => {
            let middle = begun + begun.elapsed().unwrap_or_default() / 2;
            findings.extend(look.judge(host, sudo_known, &finished.stdout.text(), Timestamp::from(middle)));
        }
        Ok(finished) => {
            let said = finished.stderr.text();
            let line = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it ended early").to_owned();
            let check = if host.r#become.enabled { "sudo" } else { "tools" };
            findings.push(look.found(check, Verdict::Wrong, line, ""));
        }
        Err(error) => findings.push(look.found("ssh", Verdict::Unreachable, error.to_string(), "")),
    }
    findings
}

/// Asks a cluster's API server how it is.
pub async fn cluster(name: &str, cluster: &Cluster, folder: &Path, secrets: &Arc<Secrets>) -> Vec<Finding> {
    let look = Look { place: name };
    let path = cluster.kubeconfig.as_ref().map(|path| folder.join(path));
    let kubeconfig = match Kubeconfig::open(path.as_deref(), cluster.context.as_deref()) {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return vec![look.found("api", Verdict::Wrong, error.to_string(), "")],
    };
    let server = kubeconfig.server().to_owned();
    let cluster = LiveCluster::new(name, kubeconfig, Arc::clone(secrets));
    let place = Place::Cluster(name.to_owned());
    let caller = Caller::runner();
    let asked = cluster.kubernetes().servers(&place, &caller, vec![name.to_owned()]);
    let finding = match tokio::time::timeout(API, asked).await {
        Err(_) => {
            look.found("api", Verdict::Unreachable, format!("{server} does not answer within {} s", API.as_secs()), "")
        }
        Ok(Err(stop)) => look.found("api", Verdict::Unreachable, stop.to_string(), ""),
        Ok(Ok(answers)) => match answers.into_iter().next() {
            Some(Ok(found)) if found.ready => look.well("api", format!("{server} runs {}", found.version)),
            Some(Ok(found)) => look.found(
                "api",
                Verdict::Wrong,
                format!("{server} runs {} and is not ready", found.version),
                "ask it for /readyz?verbose",
            ),
            Some(Err(failure)) => look.found("api", Verdict::Unreachable, failure.message, ""),
            None => look.found("api", Verdict::Unreachable, format!("{server} gives no answer"), ""),
        },
    };
    vec![finding]
}

struct Look<'a> {
    place: &'a str,
}

impl Look<'_> {
    fn found(
        &self,
        check: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Finding {
        Finding { place: self.place.to_owned(), check, verdict, found: found.into(), to_do: to_do.into() }
    }

    fn well(&self, check: &'static str, found: impl Into<String>) -> Finding {
        self.found(check, Verdict::Well, found, "")
    }

    /// Judges what [`LOOK`] says; `now` is this machine's time when it said it.
    fn judge(&self, host: &ResolvedHost, sudo_known: bool, text: &str, now: Timestamp) -> Vec<Finding> {
        let parts: Vec<&str> = text.split('\0').map(str::trim).collect();
        let part = |index: usize| parts.get(index).copied().unwrap_or_default();
        let mut findings = Vec::new();
        if !sudo_known {
            findings.push(match (host.r#become.enabled, part(1)) {
                (true, user) => self.well("sudo", format!("effects run as {user}")),
                (false, "root") => self.well("sudo", "not needed: the login is root's"),
                (false, user) => self.found(
                    "sudo",
                    Verdict::Warning,
                    format!("effects run as {user}, who is not root"),
                    "set \"become\": true in the inventory, unless they need no more",
                ),
            });
        }
        findings.push(self.clock(part(0), now));
        findings.push(match (part(2), part(3)) {
            ("", "") => self.well("tools", "all there"),
            ("", missing) => {
                let found = format!("no {}", missing.replace(' ', ", "));
                self.found(
                    "tools",
                    Verdict::Warning,
                    found,
                    "install them if a plugin asks HTTP there or moves folders",
                )
            }
            (missing, _) => {
                self.found("tools", Verdict::Wrong, format!("no {}", missing.replace(' ', ", ")), "install coreutils")
            }
        });
        findings.push(self.disk(part(4)));
        findings.push(match part(5) {
            state @ ("running" | "starting" | "initializing") => self.well("systemd", state),
            "degraded" => self.found("systemd", Verdict::Warning, "degraded: some units failed", "systemctl --failed"),
            state @ ("stopping" | "maintenance") => {
                self.found("systemd", Verdict::Wrong, state, "wait, or look at its console")
            }
            other => {
                let line = other.lines().next().unwrap_or_default().to_owned();
                self.found("systemd", Verdict::Wrong, line, "units of this host cannot be worked on")
            }
        });
        findings.push(match part(6) {
            "" => self.found(
                "packages",
                Verdict::Wrong,
                "neither apt nor dnf nor yum",
                "packages of this host cannot be worked on",
            ),
            path => self.well("packages", path.rsplit('/').next().unwrap_or(path)),
        });
        findings
    }

    fn clock(&self, time: &str, now: Timestamp) -> Finding {
        let Ok(time) = time.parse::<Timestamp>() else {
            return self.found("clock", Verdict::Wrong, format!("its date says {time:?}"), "install coreutils");
        };
        let difference = time.unix_millis() - now.unix_millis();
        #[expect(clippy::cast_precision_loss, reason = "for people, with one digit")]
        let seconds = difference.abs() as f64 / 1000.0;
        let direction = if difference < 0 { "behind" } else { "ahead" };
        let found = format!("{seconds:.1} s {direction}");
        let to_do = "let a time service (chrony, systemd-timesyncd) set it";
        match difference.abs() {
            small if small < CLOCK.0 => self.well("clock", found),
            some if some < CLOCK.1 => self.found("clock", Verdict::Warning, found, to_do),
            _ => self.found("clock", Verdict::Wrong, found, to_do),
        }
    }

    /// Judges what `df -P -k` says: the fullest file system counts.
    fn disk(&self, table: &str) -> Finding {
        let row = |line: &str| {
            let mut words = line.split_whitespace().skip(3);
            let free: u64 = words.next()?.parse().ok()?;
            Some((free, words.nth(1)?.to_owned()))
        };
        match table.lines().filter_map(row).min() {
            None => self.found("disk", Verdict::Warning, "df does not say", ""),
            Some((free, mount)) => {
                let found = format!("{} MiB free on {mount}", free >> 10);
                match free {
                    free if free < FREE.1 => self.found("disk", Verdict::Wrong, found, format!("make room on {mount}")),
                    free if free < FREE.0 => {
                        self.found("disk", Verdict::Warning, found, format!("make room on {mount}"))
                    }
                    _ => self.well("disk", found),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, r#become: bool) -> Vec<(&'static str, Verdict, String)> {
        let inventory = format!(r#"{{"hosts": {{"a": {{"become": {become}}}}}}}"#);
        let inventory = runner_types::load::<runner_types::Inventory>(&inventory, "i").unwrap();
        let host = inventory.value().resolve().host("a").unwrap().clone();
        let now: Timestamp = "2026-11-21T12:00:00.000Z".parse().unwrap();
        let found = Look { place: "a" }.judge(&host, false, text, now);
        found.into_iter().map(|finding| (finding.check, finding.verdict, finding.found)).collect()
    }

    #[test]
    fn a_host_that_is_well() {
        let text = "2026-11-21T12:00:00.400Z\n\0root\n\0\0\0Filesystem 1024-blocks Used Available Capacity Mounted on\n\
            /dev/sda1 20000000 100 9000000 1% /\ntmpfs 9000000 0 9000000 0% /run\n\0running\n\0/usr/bin/apt-get\n\0";
        assert!(judged(text, true).iter().all(|(_, verdict, _)| *verdict == Verdict::Well), "{:?}", judged(text, true));
    }

    #[test]
    fn a_host_with_every_trouble_tells_all_of_it() {
        let text = "2026-11-21T11:59:20.000Z\n\0ops\n\0sha256sum timeout \0curl \0Filesystem 1024-blocks Used Available Capacity Mounted on\n\
            /dev/sda1 20000000 100 50000 99% /\n\0degraded\n\0\0";
        let wanted = [
            ("sudo", Verdict::Warning, "effects run as ops, who is not root"),
            ("clock", Verdict::Wrong, "40.0 s behind"),
            ("tools", Verdict::Wrong, "no sha256sum, timeout"),
            ("disk", Verdict::Wrong, "48 MiB free on /"),
            ("systemd", Verdict::Warning, "degraded: some units failed"),
            ("packages", Verdict::Wrong, "neither apt nor dnf nor yum"),
        ];
        let wanted: Vec<_> =
            wanted.into_iter().map(|(check, verdict, found)| (check, verdict, found.to_owned())).collect();
        assert_eq!(judged(text, false), wanted);
    }
}
