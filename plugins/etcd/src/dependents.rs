//! What uses etcd and must not run while it is restored.

use runner_plugin_sdk::api::systemd::{self, UnitStatus};
use runner_plugin_sdk::{Answers, Failure, Finding, Problem, finding, units};

use crate::parameters::Dependents;

/// Seconds that a unit may take to start or stop.
const SECONDS: u32 = 120;

/// Units of dependents that exist on their hosts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Units {
    stop: Vec<(String, String)>,
    restart: Vec<(String, String)>,
}

impl Units {
    pub(crate) fn find(dependents: &Dependents) -> Result<Self, Problem> {
        let units: Vec<&str> = dependents.stop.iter().chain(&dependents.restart).map(String::as_str).collect();
        let found = units::status(&dependents.hosts, &units)?;
        Self::among(dependents, &found).map_err(Problem::Refused)
    }

    /// Those that are meant to run. One that is on no host at all is a mistake in the parameter.
    fn among(dependents: &Dependents, found: &[(String, UnitStatus)]) -> Result<Self, Vec<Finding>> {
        let meant = |status: &UnitStatus| units::is_active(status) || status.file_state == "enabled";
        let of = |names: &[String]| -> Vec<(String, String)> {
            let found_of = |name: &String| {
                let of_name = found.iter().filter(move |(_, status)| status.unit == *name && meant(status)).cloned();
                of_name.map(|(host, status)| (host, status.unit)).collect::<Vec<_>>()
            };
            names.iter().flat_map(found_of).collect()
        };
        let exists = |name: &&String| found.iter().any(|(_, status)| status.unit == **name && units::exists(status));
        let absent: Vec<Finding> = dependents
            .stop
            .iter()
            .chain(&dependents.restart)
            .filter(|name| !exists(name))
            .map(|name| {
                let message = format!(
                    "unit {name} of parameter dependents is on none of the hosts {}",
                    dependents.hosts.join(", ")
                );
                finding("dependent-unknown", name.as_str(), message)
            })
            .collect();
        if absent.is_empty() {
            Ok(Self { stop: of(&dependents.stop), restart: of(&dependents.restart) })
        } else {
            Err(absent)
        }
    }

    pub(crate) fn stop(&self) -> Result<(), Failure> {
        systemd::stop(&orders(&self.stop)).all().map(|_| ())
    }

    /// A restart is needed because of this restore, and so that is what its key says.
    pub(crate) fn start(&self, key: &str) -> Result<(), Failure> {
        systemd::start(&orders(&self.stop)).all()?;
        let restarts: Vec<_> = self
            .restart
            .iter()
            .map(|(host, unit)| systemd::RestartOrder {
                host: host.clone(),
                unit: unit.clone(),
                key: format!("{key}/{host}/{unit}"),
                time_out: SECONDS * 1000,
            })
            .collect();
        systemd::restart(&restarts).all().map(|_| ())
    }
}

fn orders(units: &[(String, String)]) -> Vec<systemd::UnitOrder> {
    let order = |(host, unit): &(String, String)| systemd::UnitOrder {
        host: host.clone(),
        unit: unit.clone(),
        time_out: SECONDS * 1000,
    };
    units.iter().map(order).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(unit: &str, load: &str, active: &str, file: &str) -> UnitStatus {
        UnitStatus {
            unit: unit.into(),
            load_state: load.into(),
            active_state: active.into(),
            sub_state: String::new(),
            file_state: file.into(),
            outcome: String::new(),
            since: None,
            needs_daemon_reload: false,
            drop_ins: vec![],
            more: vec![],
        }
    }

    fn dependents(stop: &[&str], restart: &[&str]) -> Dependents {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Dependents { hosts: vec!["a".into(), "b".into()], stop: names(stop), restart: names(restart) }
    }

    fn pair(host: &str, unit: &str) -> (String, String) {
        (host.into(), unit.into())
    }

    #[test]
    fn units_count_where_they_are_and_are_meant_to_run() {
        let found = [
            ("a".to_owned(), status("api", "loaded", "inactive", "enabled")),
            ("a".to_owned(), status("kubelet", "not-found", "inactive", "")),
            ("b".to_owned(), status("api", "loaded", "inactive", "disabled")),
            ("b".to_owned(), status("kubelet", "loaded", "active", "disabled")),
        ];
        let units = Units::among(&dependents(&["api"], &["kubelet"]), &found);
        let expected = Units { stop: vec![pair("a", "api")], restart: vec![pair("b", "kubelet")] };
        assert_eq!(units.ok(), Some(expected));
    }

    #[test]
    fn a_unit_that_is_nowhere_is_a_mistake() {
        let found = [("a".to_owned(), status("apii", "not-found", "inactive", ""))];
        let findings = Units::among(&dependents(&["apii"], &[]), &found).unwrap_err();
        assert_eq!(findings[0].code, "dependent-unknown");
        assert!(findings[0].message.contains("a, b"));
        let nothing = Units::among(&Dependents::default(), &[]);
        assert!(nothing.is_ok());
    }
}
