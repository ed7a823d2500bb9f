//! Units of systemd.

use crate::api::systemd::{self, RestartOrder, UnitOrder, UnitRef, UnitStatus};
use crate::{Answers, Failure};

/// Status of units on hosts, host by host.
pub fn status(hosts: &[String], units: &[&str]) -> Result<Vec<(String, UnitStatus)>, Failure> {
    let refs = refs(hosts, units);
    let found = systemd::status(&refs).all()?;
    Ok(refs.into_iter().map(|unit| unit.host).zip(found).collect())
}

/// Every unit on every host.
pub fn refs(hosts: &[String], units: &[&str]) -> Vec<UnitRef> {
    hosts
        .iter()
        .flat_map(|host| units.iter().map(|unit| UnitRef { host: host.clone(), unit: (*unit).to_owned() }))
        .collect()
}

/// Starts units in order; true: something changed.
pub fn start(host: &str, units: &[&str], seconds: u32) -> Result<bool, Failure> {
    changed(systemd::start(&orders(host, units, seconds)))
}

/// Stops units in order; true: something changed.
pub fn stop(host: &str, units: &[&str], seconds: u32) -> Result<bool, Failure> {
    changed(systemd::stop(&orders(host, units, seconds)))
}

/// Restarts units in order. The key says what makes the restart necessary, such as the hash of a configuration.
pub fn restart(host: &str, units: &[&str], key: &str, seconds: u32) -> Result<bool, Failure> {
    let orders: Vec<RestartOrder> = units
        .iter()
        .map(|unit| RestartOrder {
            host: host.to_owned(),
            unit: (*unit).to_owned(),
            key: if key.is_empty() { String::new() } else { format!("{host}/{unit}/{key}") },
            time_out: seconds.saturating_mul(1000),
        })
        .collect();
    changed(systemd::restart(&orders))
}

fn orders(host: &str, units: &[&str], seconds: u32) -> Vec<UnitOrder> {
    units
        .iter()
        .map(|unit| UnitOrder {
            host: host.to_owned(),
            unit: (*unit).to_owned(),
            time_out: seconds.saturating_mul(1000),
        })
        .collect()
}

fn changed(answers: Vec<Result<systemd::UnitChange, Failure>>) -> Result<bool, Failure> {
    Ok(answers.all()?.iter().any(|change| change.changed))
}

/// Whether a unit runs.
pub fn is_active(status: &UnitStatus) -> bool {
    status.active_state == "active"
}

/// Whether a unit exists at all.
pub fn exists(status: &UnitStatus) -> bool {
    status.load_state != "not-found"
}
