//! systemd on hosts.

use runner_types::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Model, Scope, keys, version};
use crate::backend::failure;
use crate::backend::simulated::fault::{FaultKind, Occasion};
use crate::backend::simulated::pattern::glob;
use crate::backend::units;
use crate::contract::Failure;
use crate::contract::systemd::{UnitChange, UnitStatus};
use crate::contract::types::Label;
use runner_types::simulated::{UnitEvent, UnitMoment};

/// Lines of the system journal that are kept for each unit.
const LINES: usize = 200;
/// Directories in which systemd finds unit files; the first is the administrator's.
const UNIT_PATHS: [&str; 3] = ["/etc/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/"];
const SUFFIXES: [&str; 6] = [".service", ".socket", ".timer", ".target", ".mount", ".path"];

/// A unit that systemd has loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// The package that brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<String>,
    /// It exists because of a unit file of the administrator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) own_file: bool,
    pub(crate) enabled: bool,
    pub(crate) active: String,
    pub(crate) outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// Counts its starts: what its invocation id is made from.
    #[serde(default)]
    pub(crate) starts: u64,
    /// Upstream version of its package when it was last started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    /// Its files changed since systemd read them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stale: bool,
}

impl Unit {
    /// A unit that was never started.
    pub(crate) fn new(package: Option<String>, enabled: bool) -> Self {
        Self {
            package,
            own_file: false,
            enabled,
            active: "inactive".to_owned(),
            outcome: "success".to_owned(),
            since: None,
            starts: 0,
            version: String::new(),
            stale: false,
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active == "active"
    }

    pub(crate) fn sub(&self, name: &str) -> &'static str {
        match self.active.as_str() {
            "active" if name.ends_with(".socket") => "listening",
            "active" if name.ends_with(".target") || name.ends_with(".timer") => "active",
            "active" if name.ends_with(".mount") => "mounted",
            "active" => "running",
            "failed" => "failed",
            _ => "dead",
        }
    }

    pub(crate) fn invocation(&self, host: &str, name: &str) -> String {
        let text = format!("{host} {name} {}", self.starts);
        hex::encode(&Sha256::digest(text.as_bytes())[..16])
    }
}

/// A line of the system journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JournalLine {
    pub(crate) time: Timestamp,
    pub(crate) priority: u8,
    pub(crate) text: String,
}

impl Model<'_> {
    pub(crate) fn unit(&self, host: &str, unit: &str) -> Result<Option<Unit>, Failure> {
        self.tx.get(&keys::unit(host, unit))
    }

    fn loaded(&self, host: &str, unit: &str) -> Result<Unit, Failure> {
        self.unit(host, unit)?.ok_or_else(|| failure::not_found(unit, format!("Unit {unit} not found on {host}.")))
    }

    fn set_unit(&mut self, host: &str, name: &str, unit: &Unit) -> Result<(), Failure> {
        self.tx.set(&keys::unit(host, name), unit)
    }

    /// The state of a unit in systemd's words.
    pub(crate) fn unit_status(&self, host: &str, name: &str) -> Result<UnitStatus, Failure> {
        let directory = format!("/etc/systemd/system/{name}.d");
        let drop_ins = self
            .below(host, &directory)?
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| path.ends_with(".conf"))
            .collect();
        let Some(unit) = self.unit(host, name)? else {
            return Ok(UnitStatus { drop_ins, ..units::unknown(name) });
        };
        Ok(UnitStatus {
            unit: name.to_owned(),
            load_state: "loaded".to_owned(),
            active_state: unit.active.clone(),
            sub_state: unit.sub(name).to_owned(),
            file_state: if unit.enabled { "enabled" } else { "disabled" }.to_owned(),
            outcome: unit.outcome.clone(),
            since: unit.since.map(|since| since.to_string()),
            needs_daemon_reload: unit.stale,
            drop_ins,
            more: vec![Label { name: units::INVOCATION.to_owned(), value: unit.invocation(host, name) }],
        })
    }

    fn unit_change(&self, host: &str, unit: &str, changed: bool) -> Result<UnitChange, Failure> {
        let status = self.unit_status(host, unit)?;
        Ok(UnitChange { changed, status })
    }

    /// Starts a unit, with all that follows from it.
    pub(crate) fn start(&mut self, host: &str, name: &str) -> Result<UnitChange, Failure> {
        if self.loaded(host, name)?.is_active() {
            return self.unit_change(host, name, false);
        }
        self.begin_unit(host, name)?;
        self.unit_change(host, name, true)
    }

    /// Stops a unit, with all that follows from it. One that failed has nothing to stop and stays failed.
    pub(crate) fn stop(&mut self, host: &str, name: &str) -> Result<UnitChange, Failure> {
        let changed = self.end_unit(host, name)?;
        self.unit_change(host, name, changed)
    }

    /// Restarts a unit: stop, start, then what follows from a restart alone.
    pub(crate) fn restart(&mut self, host: &str, name: &str) -> Result<UnitChange, Failure> {
        self.end_unit(host, name)?;
        self.begin_unit(host, name)?;
        self.unit_moment(host, name, UnitMoment::Restart)?;
        self.unit_change(host, name, true)
    }

    /// Makes a unit read its configuration again.
    pub(crate) fn reload(&mut self, host: &str, name: &str) -> Result<UnitChange, Failure> {
        if !self.loaded(host, name)?.is_active() {
            return Err(failure::failed(name, format!("{name} on {host} is not active, cannot reload"), Some(1), ""));
        }
        self.unit_moment(host, name, UnitMoment::Reload)?;
        self.journal_line(host, name, 6, &format!("Reloaded {name}."))?;
        self.unit_change(host, name, true)
    }

    /// Enables or disables a unit.
    pub(crate) fn enable(&mut self, host: &str, name: &str, enabled: bool) -> Result<UnitChange, Failure> {
        let mut unit = self.loaded(host, name)?;
        let changed = unit.enabled != enabled;
        if changed {
            unit.enabled = enabled;
            self.set_unit(host, name, &unit)?;
        }
        self.unit_change(host, name, changed)
    }

    /// Reads all unit files again: new ones are loaded, vanished ones forgotten.
    pub(crate) fn daemon_reload(&mut self, host: &str) -> Result<(), Failure> {
        let units = self.tx.list::<Unit>(&keys::unit(host, ""))?;
        let files = self.below(host, UNIT_PATHS[0].trim_end_matches('/'))?;
        let own: Vec<&str> = files
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(UNIT_PATHS[0]))
            .filter(|name| !name.contains('/') && SUFFIXES.iter().any(|s| name.ends_with(s)))
            .collect();
        for name in &own {
            if self.unit(host, name)?.is_none() {
                let mut unit = Unit::new(None, false);
                unit.own_file = true;
                self.set_unit(host, name, &unit)?;
            }
        }
        for (name, mut unit) in units {
            if unit.own_file && !unit.is_active() && !own.contains(&name.as_str()) {
                self.tx.remove(&keys::unit(host, &name));
            } else if unit.stale {
                unit.stale = false;
                self.set_unit(host, &name, &unit)?;
            }
        }
        Ok(())
    }

    /// Notes that a file which systemd reads is not what systemd has read.
    pub(crate) fn unit_file_changed(&mut self, host: &str, path: &str) -> Result<(), Failure> {
        let Some(rest) = UNIT_PATHS.iter().find_map(|base| path.strip_prefix(base)) else {
            return Ok(());
        };
        let first = rest.split('/').next().unwrap_or_default();
        let name = first.strip_suffix(".d").unwrap_or(first);
        if let Some(mut unit) = self.unit(host, name)?
            && !unit.stale
        {
            unit.stale = true;
            self.set_unit(host, name, &unit)?;
        }
        Ok(())
    }

    /// Makes an inactive unit active; when it fails, it stays failed.
    fn begin_unit(&mut self, host: &str, name: &str) -> Result<(), Failure> {
        let mut unit = self.loaded(host, name)?;
        unit.starts += 1;
        unit.since = Some(self.now);
        unit.active = "active".to_owned();
        unit.outcome = "success".to_owned();
        if let Some(package) = &unit.package
            && let Some(installed) = self.installed(host, package)?
        {
            unit.version = version::upstream(&installed).to_owned();
        }
        self.set_unit(host, name, &unit)?;
        let occasion = Occasion { function: "", host: Some(host), cluster: None };
        let fault = self.fault(FaultKind::UnitStart, occasion, |fault| {
            fault.unit.as_deref().is_some_and(|pattern| glob(pattern, name))
        })?;
        let wrong = match fault {
            Some(fault) => Some((fault.message.clone().unwrap_or_else(|| format!("{name}: main process exited")), 1)),
            None => self.unit_moment(host, name, UnitMoment::Start)?,
        };
        if let Some((message, code)) = wrong {
            return self.unit_failed(host, name, unit, &message, code);
        }
        self.journal_line(host, name, 6, &format!("Started {name}."))?;
        self.cluster_unit_changed(host, name)
    }

    fn unit_failed(&mut self, host: &str, name: &str, mut unit: Unit, message: &str, code: i32) -> Result<(), Failure> {
        self.keep();
        unit.active = "failed".to_owned();
        unit.outcome = "exit-code".to_owned();
        self.set_unit(host, name, &unit)?;
        self.journal_line(host, name, 3, message)?;
        let end = format!("{name}: Failed with result 'exit-code'.");
        self.journal_line(host, name, 4, &end)?;
        self.cluster_unit_changed(host, name)?;
        Err(failure::failed(
            name,
            format!("{name} failed to start on {host}: {message}"),
            Some(code),
            &format!("{message}\n{end}"),
        ))
    }

    /// Makes an active unit inactive; false: it was not active.
    fn end_unit(&mut self, host: &str, name: &str) -> Result<bool, Failure> {
        let mut unit = self.loaded(host, name)?;
        if !unit.is_active() {
            return Ok(false);
        }
        unit.active = "inactive".to_owned();
        unit.outcome = "success".to_owned();
        unit.since = Some(self.now);
        self.set_unit(host, name, &unit)?;
        self.journal_line(host, name, 6, &format!("Stopped {name}."))?;
        self.unit_moment(host, name, UnitMoment::Stop)?;
        self.cluster_unit_changed(host, name)?;
        Ok(true)
    }

    /// Sets a unit's active-state and nothing else.
    pub(crate) fn force_unit(&mut self, host: &str, name: &str, active: &str) -> Result<(), Failure> {
        let mut unit = self.loaded(host, name)?;
        if unit.active != active {
            unit.active = active.to_owned();
            unit.outcome = if active == "failed" { "exit-code" } else { "success" }.to_owned();
            unit.since = Some(self.now);
            self.set_unit(host, name, &unit)?;
            self.cluster_unit_changed(host, name)?;
        }
        Ok(())
    }

    /// Applies the behaviours of a moment; answers message and exit code of one that fails.
    pub(crate) fn unit_moment(
        &mut self,
        host: &str,
        name: &str,
        moment: UnitMoment,
    ) -> Result<Option<(String, i32)>, Failure> {
        let rules = self.rules;
        let matching = rules.behaviours.iter().flat_map(|behaviours| {
            let of_component = behaviours.units.iter();
            of_component.map(move |event| (behaviours.component.as_str(), event))
        });
        let matching: Vec<(&str, &UnitEvent)> =
            matching.filter(|(_, event)| event.on.contains(&moment) && glob(&event.unit, name)).collect();
        for (component, event) in matching {
            let mut scope = Scope::on(component, Some(host));
            scope.set("unit_name", name);
            if !self.when(&scope, event.when.as_deref())? {
                continue;
            }
            if let Some(message) = &event.fails {
                let message = self.render(&scope, message)?;
                return Ok(Some((message, event.exit)));
            }
            self.nested(name, |model| model.apply_changes(&scope, &event.sets))?;
        }
        Ok(None)
    }

    /// Adds a line to the system journal.
    pub(crate) fn journal_line(&mut self, host: &str, unit: &str, priority: u8, text: &str) -> Result<(), Failure> {
        let key = keys::journal(host, unit);
        let mut lines: Vec<JournalLine> = self.tx.get(&key)?.unwrap_or_default();
        lines.push(JournalLine { time: self.now, priority, text: text.to_owned() });
        if lines.len() > LINES {
            lines.drain(..lines.len() - LINES);
        }
        self.tx.set(&key, &lines)
    }
}
