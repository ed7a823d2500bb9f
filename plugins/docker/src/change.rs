//! The one way in which update and backout change a host: look, refuse or confirm before anything changes, then bring
//! about only what differs.

use std::collections::BTreeMap;

use runner_plugin_sdk::api::operator::{self, Confirmation, Question};
use runner_plugin_sdk::api::packages::PackageStatus;
use runner_plugin_sdk::api::systemd::{self, UnitStatus};
use runner_plugin_sdk::api::{clock, progress};
use runner_plugin_sdk::packages::{self, Installation, Versions};
use runner_plugin_sdk::{Answers, Failure, FailureKind, Findings, Problem, ReportBuilder, declined, failure, units};

use crate::configuration::{self, Changes, Configuration, DropInName};
use crate::containers::{self, Container, Which};
use crate::engine::{self, CONTAINERD, DOCKER, Info, Need, Staleness, UNITS};
use crate::owed::{self, Note, Owed};
use crate::parameters::Layout;
use crate::removal::{self, Removal};

/// Prompt that confirms the stop of containers.
const PROMPT: &str = "stop-containers";

/// How a host should be.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) host: &'a str,
    pub(crate) layout: Layout<'a>,
    /// Packages to look at beside those of `versions`.
    pub(crate) packages: &'a [String],
    pub(crate) versions: Versions,
    /// Packages that may go, because the wanted state has them not.
    pub(crate) removals: Vec<String>,
    pub(crate) wanted: Configuration,
    pub(crate) downgrade: bool,
    pub(crate) remove_all: bool,
    pub(crate) install_seconds: u32,
    pub(crate) restart_seconds: u32,
}

/// What is on a host before the change.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) packages: BTreeMap<String, PackageStatus>,
    pub(crate) units: BTreeMap<&'static str, UnitStatus>,
    /// Docker, when it runs.
    pub(crate) info: Option<Info>,
    /// Version of containerd, when it runs.
    pub(crate) containerd: Option<String>,
    pub(crate) configuration: Configuration,
    changes: Changes,
}

impl Seen {
    /// Looks at a host. `drop_ins` are looked at beside those that are there.
    pub(crate) fn on(
        host: &str,
        files: &[String],
        names: &[&str],
        drop_ins: impl Iterator<Item = DropInName>,
    ) -> Result<Self, Failure> {
        let hosts = [host.to_owned()];
        let packages = packages::status(&hosts, names)?.remove(host).unwrap_or_default();
        let found = units::status(&hosts, &UNITS)?;
        let units: BTreeMap<&'static str, UnitStatus> =
            UNITS.into_iter().zip(found.into_iter().map(|(_, status)| status)).collect();
        let runs = |unit: &str| units.get(unit).is_some_and(units::is_active);
        // `docker` on a host where only its socket is active would start the daemon: a look must not do that.
        let (info, containerd) = engine::running(host, runs(DOCKER), runs(CONTAINERD))?;
        let mut names: Vec<DropInName> =
            units.values().flat_map(configuration::drop_in_names).chain(drop_ins).collect();
        names.sort();
        names.dedup();
        let configuration = configuration::look(host, files, names)?;
        let changes = configuration::changes(host, &configuration, &clock::now())?;
        Ok(Self { packages, units, info, containerd, configuration, changes })
    }

    /// What has to happen to a unit as things are.
    fn need(&self, unit: &'static str, note: &Note) -> Need {
        let Some(status) = self.units.get(unit) else {
            return Need::Nothing;
        };
        engine::need(Staleness {
            status,
            running: self.running(unit),
            installed: engine::installed(&self.packages, unit),
            configured: self.changes.at.get(unit).map(String::as_str),
            owed: note.since(unit),
        })
    }

    fn running(&self, unit: &str) -> Option<&str> {
        if unit == DOCKER { self.info.as_ref().map(|info| info.version.as_str()) } else { self.containerd.as_deref() }
    }
}

/// What the change comes to on the host as it is.
#[derive(Debug)]
struct Difference {
    packages: Versions,
    removals: Vec<String>,
    configuration: Configuration,
    /// Units that will restart.
    restart: Vec<&'static str>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        let nothing = Configuration::default();
        self.packages.is_empty() && self.configuration == nothing && self.restart.is_empty()
    }
}

impl Change<'_> {
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.packages.iter().map(String::as_str).collect();
        names.extend(self.versions.keys().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Looks at the host as far as this change is about it.
    pub(crate) fn look(&self) -> Result<Seen, Failure> {
        let wanted = self.wanted.drop_ins.keys().cloned();
        Seen::on(self.host, &self.layout.files(), &self.names(), wanted)
    }

    fn difference(&self, seen: &Seen, note: &Note) -> Difference {
        let packages = packages::differing(&seen.packages, &self.versions);
        let there = |name: &&String| seen.packages.get(*name).is_some_and(|status| status.version.is_some());
        let configuration = configuration::differing(&seen.configuration, &self.wanted);
        let restart = UNITS
            .into_iter()
            .filter(|unit| {
                seen.units.get(unit).is_some_and(units::is_active)
                    && (configuration.touches(unit)
                        || packages.keys().any(|name| engine::daemon_of(name) == Some(*unit))
                        || seen.need(unit, note) == Need::Restart)
            })
            .collect();
        Difference { packages, removals: self.removals.iter().filter(there).cloned().collect(), configuration, restart }
    }

    /// Carries it out. What was found so far and stands in the way is refused together with what is found here.
    pub(crate) fn carry_out(
        &self,
        seen: Seen,
        mut findings: Findings,
        report: &mut ReportBuilder,
    ) -> Result<(), Problem> {
        let host = self.host;
        findings.extend(packages::unavailable(host, &seen.packages, &self.versions));
        if self.remove_all && seen.info.is_none() {
            let message = format!("Docker does not run on host {host}: its containers and images cannot be removed");
            findings.add("docker-not-running", host, message);
        }
        findings.refuse()?;
        for path in &seen.changes.dated_ahead {
            let message = format!(
                "{path} on host {host} is dated in the future, so it cannot be seen whether its daemon has read it; \
                 restart that yourself if it was changed by hand"
            );
            report.warn("dated-ahead", path.as_str(), message);
        }

        let note = owed::look(host, self.layout.owed_file)?;
        let difference = self.difference(&seen, &note);
        let removal = if self.remove_all { removal::look(host)? } else { Removal::default() };
        let stopping = if self.remove_all { Vec::new() } else { self.stopping(&seen, &difference)? };
        if !removal.is_empty() {
            removal::confirm(host, &removal)?;
        }
        if !stopping.is_empty() {
            confirm_stop(host, &stopping)?;
        }

        let restart = difference.restart.iter().map(|unit| (*unit).to_owned());
        let owed = note.owed.clone().and(&Owed { restart: restart.collect(), containers: stopping });
        owed::write(host, self.layout.owed_file, &note, &owed)?;
        if !removal.is_empty() {
            progress::show("removing containers and images", None, None);
            removal::carry_out(host, &removal)?;
        }
        let tasks = if difference.restart.contains(&CONTAINERD) { Some(containers::pod_tasks(host)?) } else { None };
        self.write(&seen, &difference, report)?;
        let touched = !difference.is_empty() || !removal.is_empty() || note.is_there();
        let (seen, note) =
            if touched { (self.look()?, owed::look(host, self.layout.owed_file)?) } else { (seen, note) };
        let after = self.restart(seen, &note, report)?;

        if !owed.containers.is_empty() && !self.remove_all && after.info.is_some() {
            progress::show("starting containers again", None, None);
            report.warnings(containers::start_again(host, &owed.containers)?);
        }
        if let Some(before) = tasks {
            warn_of_ended(host, &before, report)?;
        }
        self.check(&after)?;
        if !owed.is_empty() {
            owed::settle(host, self.layout.owed_file)?;
        }
        report.versions(packages::versions(&BTreeMap::from([(host.to_owned(), after.packages)])));
        Ok(())
    }

    /// Containers outside Kubernetes that the change stops.
    fn stopping(&self, seen: &Seen, difference: &Difference) -> Result<Vec<Container>, Failure> {
        let Some(info) = &seen.info else {
            return Ok(Vec::new());
        };
        let target = difference
            .packages
            .iter()
            .find(|(name, _)| engine::daemon_of(name) == Some(DOCKER))
            .map(|(_, version)| version.as_str());
        if !engine::containers_stop(info, difference.restart.contains(&DOCKER), target) {
            return Ok(Vec::new());
        }
        let running = containers::list(self.host, Which::Running)?;
        Ok(running.into_iter().filter(|container| !container.of_kubernetes()).collect())
    }

    /// Files before packages: the restart that a package's own script makes is then the only one.
    fn write(&self, seen: &Seen, difference: &Difference, report: &mut ReportBuilder) -> Result<(), Problem> {
        configuration::apply(self.host, &seen.configuration, &difference.configuration)?;
        if !difference.configuration.drop_ins.is_empty() {
            systemd::daemon_reload(&[self.host.to_owned()]).one()?;
        }
        if difference.packages.is_empty() {
            return Ok(());
        }
        progress::show("installing packages", None, None);
        let removals: Vec<&str> = difference.removals.iter().map(String::as_str).collect();
        let how = Installation { allow_downgrade: self.downgrade, removals: &removals, seconds: self.install_seconds };
        let done = packages::install(self.host, &difference.packages, how)?;
        for path in done.into_iter().flat_map(|done| done.configuration) {
            let message = format!(
                "{path} on host {} was edited by hand: it was kept, and the package's own version lies beside it",
                self.host
            );
            report.warn("configuration-kept", path, message);
        }
        Ok(())
    }

    /// Restarts what is not yet as installed and configured, containerd first.
    fn restart(&self, mut seen: Seen, note: &Note, report: &mut ReportBuilder) -> Result<Seen, Problem> {
        if seen.units.values().any(|status| status.needs_daemon_reload) {
            systemd::daemon_reload(&[self.host.to_owned()]).one()?;
        }
        let mut restarted = Vec::new();
        for unit in UNITS {
            let need = seen.need(unit, note);
            let changed = match need {
                Need::Nothing => continue,
                Need::Start => units::start(self.host, &[unit], self.restart_seconds)?,
                Need::Restart => {
                    let why = (&self.versions, seen.configuration.hash());
                    let key = runner_plugin_sdk::sha256(format!("{why:?}"));
                    units::restart(self.host, &[unit], &key, self.restart_seconds)?
                }
            };
            progress::show(&format!("{unit} restarted"), None, None);
            restarted.push(unit);
            report.changed(changed);
        }
        if !restarted.is_empty() {
            seen = self.look()?;
        }
        report.output("restarted", restarted);
        Ok(seen)
    }

    /// What runs must be what is installed.
    fn check(&self, after: &Seen) -> Result<(), Failure> {
        let none = Note::default();
        for unit in UNITS {
            if after.need(unit, &none) == Need::Nothing {
                continue;
            }
            let state = after.units.get(unit).map_or("gone", |status| status.active_state.as_str());
            let message = format!(
                "{unit} on host {} is {state} and runs version {}; installed is {}",
                self.host,
                after.running(unit).unwrap_or("unknown"),
                engine::installed(&after.packages, unit).unwrap_or("none"),
            );
            return Err(failure(FailureKind::Other("not-as-installed".into()), unit, message));
        }
        Ok(())
    }
}

fn confirm_stop(host: &str, stopping: &[Container]) -> Result<(), Problem> {
    let names: Vec<String> = stopping.iter().map(Container::describe).collect();
    let confirmation = Confirmation {
        question: Question {
            key: PROMPT.to_owned(),
            message: format!(
                "Docker on host {host} restarts, and these containers outside Kubernetes stop: {}. Go on?",
                names.join(", ")
            ),
            why: "Yes: they stop, are started again afterwards, and what then does not run is reported. No: nothing \
                  is changed on this host."
                .to_owned(),
            fact: false,
        },
        default: false,
        destroys: String::new(),
    };
    if operator::confirm(&confirmation)? {
        return Ok(());
    }
    Err(declined(format!("stopping containers on host {host} was declined")))
}

fn warn_of_ended(host: &str, before: &BTreeMap<String, String>, report: &mut ReportBuilder) -> Result<(), Failure> {
    let ended = containers::ended(before, &containers::pod_tasks(host)?);
    if ended > 0 {
        let message = format!(
            "{ended} of {} containers of Pods on host {host} did not outlive the restart of containerd",
            before.len()
        );
        report.warn("pods-interrupted", host, message);
    }
    Ok(())
}
