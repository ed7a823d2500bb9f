//! Bringing one part of a host to given versions: what update and backout have in common. It looks at everything first
//! and does only what is missing, so that it can be begun again after a stop anywhere.

use std::collections::{BTreeMap, BTreeSet};

use sdk::api::{clock, progress, systemd};
use sdk::kubernetes::Cluster;
use sdk::packages::{Installation, Versions};
use sdk::wait::{Patience, until};
use sdk::{Answers, Failure, FailureKind, HostInfo, Problem, Report, ReportBuilder, units};
use serde_json::json;

use crate::configuration::{self, Files, Saved, Whose};
use crate::duration::Seconds;
use crate::hosts::{Details, Software};
use crate::parameters::Layout;
use crate::parts::{self, PACKAGES, Part};
use crate::record::Record;
use crate::version::{Version, kubelet_condition};
use crate::{cluster, nodes};

/// Milliseconds after which a unit that cannot run has given up, or was started again.
const SETTLE: u32 = 2000;
/// Seconds for which another API server of the cluster may answer before that is said.
const OTHER_SERVER: u32 = 30;

/// What is to become of a part of a host.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) cluster: Cluster<'a>,
    pub(crate) host: &'a HostInfo,
    pub(crate) part: Part,
    pub(crate) layout: Layout<'a>,
    pub(crate) admin_kubeconfig: &'a str,
    pub(crate) wanted: Versions,
    /// Configuration to bring back.
    pub(crate) saved: BTreeMap<String, Saved>,
    pub(crate) downgrade: bool,
    pub(crate) install_timeout: Seconds,
    pub(crate) ready_timeout: Seconds,
}

impl Change<'_> {
    /// Carries it out. `report` already has the warnings.
    pub(crate) fn carry_out(
        &self,
        software: &Software,
        details: &Details,
        report: &mut ReportBuilder,
    ) -> Result<Report, Problem> {
        let host = self.host.name.as_str();
        let whose = software.whose(host);
        let before = &details.configuration.files;
        let mut record = details.record.clone().unwrap_or_else(|| Record::of(before));
        let differing = sdk::packages::differing(&software.packages, &self.wanted);
        let restores = !configuration::restoring(&whose, self.part, &self.saved, before).is_empty();
        let meant = self.meant(software, &record);
        let facts = Facts {
            differing: &differing,
            restores,
            inactive: inactive(&meant, software),
            outdated: self.outdated(&record)?,
            record: &record,
        };
        let restarts = restarts(&meant, &facts);
        let works = restores || !differing.is_empty() || !restarts.is_empty();
        let mut after = before.clone();
        if works {
            let admin = record.files.get(self.admin_kubeconfig).cloned();
            for unit in &restarts {
                record.units.insert(unit.clone(), None);
            }
            record.write(host, self.layout.directory)?;
            after = self.install(&whose, before, &differing, report)?;
            for unit in &restarts {
                let key = self.restart(unit, software, &configuration::digest(&whose, self.part, &after))?;
                record.units.insert(unit.clone(), Some(key));
            }
            self.tell_of_kubeconfig(&whose, admin.as_deref(), &after, report);
        }
        self.settle(&meant, !restarts.is_empty(), report)?;
        if works {
            record.close(self.part.units());
            record.note(&after);
            record.write(host, self.layout.directory)?;
        }
        self.finish(works, report)
    }

    /// Wanted packages whose units are meant to run, in the order in which they are started.
    fn meant(&self, software: &Software, record: &Record) -> Vec<&'static str> {
        let awaited = |name: &str| parts::unit(name).is_some_and(|unit| record.awaits(&unit));
        running(self.part, &self.wanted).into_iter().filter(|name| software.runs(name) || awaited(name)).collect()
    }

    /// Units that run another version than the one that is wanted, as far as the cluster tells: an operation that was
    /// lost may have replaced the program of a running unit.
    fn outdated(&self, record: &Record) -> Result<BTreeSet<String>, Problem> {
        let runs = match self.part {
            // Behind one address there may be other API servers, so an operation that ended here is believed.
            Part::KubeApiserver if record.has("kube-apiserver.service") => {
                return Ok(BTreeSet::new());
            }
            Part::KubeApiserver => match cluster::server(self.cluster) {
                Ok(server) => Some(("kube-apiserver", server.version)),
                Err(failure) if is_silence(&failure) => None,
                Err(failure) => return Err(failure.into()),
            },
            Part::Controllers => None,
            Part::Node => cluster::node(self.cluster, cluster::node_name(self.host))?
                .map(|node| ("kubelet", nodes::Node::of(&node).kubelet)),
        };
        Ok(runs
            .filter(|(package, version)| {
                self.wanted.get(*package).and_then(|wanted| Version::parse(wanted)) != Version::parse(version)
            })
            .and_then(|(package, _)| parts::unit(package))
            .into_iter()
            .collect())
    }

    /// Brings configuration and packages to where they should be; answers the configuration as it then is.
    fn install(
        &self,
        whose: &Whose<'_>,
        before: &Files,
        differing: &Versions,
        report: &mut ReportBuilder,
    ) -> Result<Files, Problem> {
        let restored = configuration::restore(&configuration::restoring(whose, self.part, &self.saved, before))?;
        if !differing.is_empty() {
            let list: Vec<String> = differing.iter().map(|(name, version)| format!("{name} {version}")).collect();
            progress::show(&format!("installing {}", list.join(", ")), None, None);
        }
        let how = Installation { allow_downgrade: self.downgrade, removals: &[], seconds: self.install_timeout.0 };
        let installed = sdk::packages::install(whose.host, differing, how)?;
        if installed.is_none() && !restored {
            return Ok(before.clone());
        }
        for path in installed.iter().flat_map(|transaction| &transaction.configuration) {
            let message = format!(
                "{path} on host {} was changed there and is kept; the package's own text of it is not taken over",
                whose.host
            );
            report.warn("configuration-kept", whose.host, message);
        }
        systemd::daemon_reload(&[whose.host.to_owned()]).all()?;
        let mut after = self.look(whose)?;
        // The scripts of a package may write configuration too.
        let again = configuration::restoring(whose, self.part, &self.saved, &after);
        if configuration::restore(&again)? {
            after = self.look(whose)?;
        }
        Ok(after)
    }

    fn look(&self, whose: &Whose<'_>) -> Result<Files, Problem> {
        Ok(configuration::look(std::slice::from_ref(whose), self.layout).one()?.files)
    }

    /// Restarts a unit and sees that it runs; answers the key, which says what made the restart necessary.
    fn restart(&self, unit: &str, software: &Software, configuration: &str) -> Result<String, Problem> {
        let package = unit.strip_suffix(".service").unwrap_or(unit);
        let version = self.wanted.get(package).map_or("", String::as_str);
        let mut key = format!("{version}-{}", configuration.get(..16).unwrap_or(configuration));
        // A unit that went down after a restart under this key needs another one.
        if let Some(status) = software.units.get(unit).filter(|status| !units::is_active(status)) {
            key = format!("{key}-{}", status.since.as_deref().unwrap_or("down"));
        }
        progress::show(&format!("restarting {unit}"), None, None);
        units::restart(&self.host.name, &[unit], &key, self.ready_timeout.0)?;
        Ok(key)
    }

    /// Waits until what runs is what was installed.
    fn settle(&self, meant: &[&str], restarted: bool, report: &mut ReportBuilder) -> Result<(), Problem> {
        let all: Vec<String> = meant.iter().filter_map(|name| parts::unit(name)).collect();
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        let host = [self.host.name.clone()];
        let mut watch =
            if restarted { units::Watch::from(&units::status(&host, &names)?) } else { units::Watch::default() };
        match self.part {
            Part::KubeApiserver => self.await_api_server(report)?,
            Part::Node if meant.contains(&"kubelet") => self.await_node()?,
            Part::Controllers | Part::Node if restarted => clock::sleep(SETTLE),
            Part::Controllers | Part::Node => {}
        }
        until(&names.join(", "), Patience::seconds(self.ready_timeout.0, 1), || {
            Ok(watch.judge(&units::status(&host, &names)?, clock::elapsed()))
        })?;
        Ok(())
    }

    fn await_api_server(&self, report: &mut ReportBuilder) -> Result<(), Problem> {
        let wanted = self.wanted.get("kube-apiserver").and_then(|version| Version::parse(version));
        let ask = || match cluster::server(self.cluster) {
            Ok(server) if server.ready => Ok(Ok(server.version)),
            Ok(server) => Ok(Err(format!("API server {} is not ready", server.version))),
            Err(failure) if is_silence(&failure) => Ok(Err(failure.message)),
            Err(failure) => Err(failure),
        };
        progress::show("waiting for the API server", None, None);
        let mut answers = until("the API server", Patience::seconds(self.ready_timeout.0, 1), ask)?;
        let patience = Patience::seconds(OTHER_SERVER.min(self.ready_timeout.0), 1);
        let at_version = until("the API server", patience, || {
            if Version::parse(&answers) == wanted {
                return Ok(Ok(()));
            }
            if let Ok(version) = ask()? {
                answers = version;
            }
            Ok(if Version::parse(&answers) == wanted { Ok(()) } else { Err(answers.clone()) })
        });
        match at_version {
            Err(failure) if failure.kind == FailureKind::TimedOut => {
                let host = &self.host.name;
                let message =
                    format!("the cluster's address is answered by an API server {answers}, not by that of host {host}");
                report.warn("other-api-server", host.as_str(), message);
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn await_node(&self) -> Result<(), Problem> {
        let node = cluster::node_name(self.host);
        let Some(version) = self.wanted.get("kubelet").and_then(|version| Version::parse(version)) else {
            return Ok(());
        };
        progress::show(&format!("waiting for node {node}"), None, None);
        let condition = format!("{} && {}", nodes::READY, kubelet_condition(version));
        let forecast = json!({"status": {
            "nodeInfo": {"kubeletVersion": format!("v{version}")},
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        let at = self.cluster.global("v1", "Node", node);
        let seconds = self.ready_timeout.0;
        cluster::steadily(seconds, || {
            self.cluster.wait_object(at.clone(), &condition, seconds, Some(forecast.clone()))
        })?;
        Ok(())
    }

    /// Says when the administrator's kubeconfig is another one than before.
    fn tell_of_kubeconfig(&self, whose: &Whose<'_>, before: Option<&str>, after: &Files, report: &mut ReportBuilder) {
        let path = self.admin_kubeconfig;
        let now = after.get(path).map(|file| file.hash.as_str());
        let changed = Part::owner(path, &whose.installed) == self.part && now.is_some() && now != before;
        if changed {
            let message =
                format!("{path} on host {} has changed: replace the copies of it that are used elsewhere", whose.host);
            report.warn("admin-kubeconfig-changed", whose.host, message);
        }
        report.output("admin-kubeconfig-changed", changed);
    }

    fn finish(&self, worked: bool, report: &mut ReportBuilder) -> Result<Report, Problem> {
        let host = self.host.name.as_str();
        let found = sdk::packages::status(&[host.to_owned()], &PACKAGES)?;
        report.versions(sdk::packages::versions(&found));
        let version = plain_version(self.part, &self.wanted);
        report.output("version", &version);
        let names = running(self.part, &self.wanted).join(", ");
        let what = if worked { "brought to" } else { "already at" };
        Ok(report.finish(format!("{names} of host {host} {what} {version}")))
    }
}

/// Wanted packages that run as a unit, in the order in which they are started.
fn running(part: Part, wanted: &Versions) -> Vec<&'static str> {
    let own = part.core().iter().copied();
    let others = parts::RUNNING.into_iter().filter(|name| !part.core().contains(name));
    own.chain(others).filter(|name| wanted.contains_key(*name)).collect()
}

/// The version of a part as people say it: `1.34.4`.
fn plain_version(part: Part, wanted: &Versions) -> String {
    let version = running(part, wanted).first().and_then(|name| wanted.get(*name));
    version.map_or_else(String::new, |text| {
        Version::parse(text).map_or_else(|| text.clone(), |version| version.to_string())
    })
}

/// Whether the API server just does not answer, as while it restarts.
pub(crate) fn is_silence(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Unreachable | FailureKind::TimedOut | FailureKind::Failed(_) | FailureKind::Other(_) => true,
        FailureKind::Denied(_)
        | FailureKind::NotFound
        | FailureKind::Conflict(_)
        | FailureKind::Invalid
        | FailureKind::TooLarge
        | FailureKind::Unsupported
        | FailureKind::NotAttempted => false,
    }
}

/// What decides whether a unit has to be restarted.
struct Facts<'a> {
    differing: &'a Versions,
    restores: bool,
    inactive: BTreeSet<String>,
    outdated: BTreeSet<String>,
    record: &'a Record,
}

/// Units that do not run.
fn inactive(meant: &[&str], software: &Software) -> BTreeSet<String> {
    meant
        .iter()
        .filter_map(|name| parts::unit(name))
        .filter(|unit| software.units.get(unit).is_some_and(|status| !units::is_active(status)))
        .collect()
}

/// Units to restart, in order.
fn restarts(meant: &[&str], facts: &Facts<'_>) -> Vec<String> {
    meant
        .iter()
        .filter_map(|package| Some((*package, parts::unit(package)?)))
        .filter(|(package, unit)| {
            facts.differing.contains_key(*package)
                || facts.restores
                || facts.inactive.contains(unit)
                || facts.outdated.contains(unit)
                || facts.record.awaits(unit)
        })
        .map(|(_, unit)| unit)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(names: &[&str]) -> Versions {
        names.iter().map(|name| ((*name).to_owned(), "1.34.4-1".to_owned())).collect()
    }

    fn facts<'a>(differing: &'a Versions, record: &'a Record) -> Facts<'a> {
        Facts { differing, restores: false, inactive: BTreeSet::new(), outdated: BTreeSet::new(), record }
    }

    #[test]
    fn only_what_differs_is_restarted() {
        let (none, record) = (Versions::new(), Record::default());
        let node = versions(&["kubelet", "kube-proxy", "kubectl"]);
        assert!(restarts(&running(Part::Node, &node), &facts(&none, &record)).is_empty());
        let kubectl = versions(&["kubectl"]);
        assert!(restarts(&running(Part::Node, &node), &facts(&kubectl, &record)).is_empty());
        let kubelet = versions(&["kubelet", "kubectl"]);
        assert_eq!(restarts(&running(Part::Node, &node), &facts(&kubelet, &record)), ["kubelet.service"]);
        assert_eq!(
            restarts(&running(Part::Node, &node), &facts(&node, &record)),
            ["kubelet.service", "kube-proxy.service"]
        );
    }

    #[test]
    fn a_restart_that_is_still_to_come_is_not_forgotten() {
        let none = Versions::new();
        let controllers = versions(&["kube-controller-manager", "kube-scheduler"]);
        let mut record = Record::default();
        record.units.insert("kube-scheduler.service".into(), None);
        record.units.insert("kubelet.service".into(), None);
        assert_eq!(
            restarts(&running(Part::Controllers, &controllers), &facts(&none, &record)),
            ["kube-scheduler.service"]
        );
    }

    #[test]
    fn what_is_down_or_old_or_newly_configured_is_restarted() {
        let (none, record) = (Versions::new(), Record::default());
        let node = versions(&["kubelet", "kube-proxy"]);
        let mut down = facts(&none, &record);
        down.inactive.insert("kube-proxy.service".into());
        assert_eq!(restarts(&running(Part::Node, &node), &down), ["kube-proxy.service"]);
        let mut old = facts(&none, &record);
        old.outdated.insert("kubelet.service".into());
        assert_eq!(restarts(&running(Part::Node, &node), &old), ["kubelet.service"]);
        let configured = Facts { restores: true, ..facts(&none, &record) };
        assert_eq!(restarts(&running(Part::Node, &node), &configured).len(), 2);
    }
}
