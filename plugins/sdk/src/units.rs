//! Units of systemd.

use crate::api::systemd::{self, RestartOrder, UnitOrder, UnitRef, UnitStatus};
use crate::{Answers, Failure};

/// Milliseconds for which a unit that systemd started again by itself must run to count as running.
const SETTLE: u32 = 3000;

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

/// Which start of a unit runs: another id, another start.
fn invocation(status: &UnitStatus) -> &str {
    status.more.iter().find(|label| label.name == "invocation-id").map_or("", |label| label.value.as_str())
}

/// Watches units after a change. A unit that ends and is started again by systemd, over and over, is active in many a
/// moment: active does not mean that it runs.
#[derive(Debug, Default)]
pub struct Watch {
    /// The starts seen last, and since when, if that was not the one after the change.
    seen: Option<(Vec<String>, Option<u32>)>,
}

impl Watch {
    /// Watches units that were just restarted from what they are now.
    pub fn from(found: &[(String, UnitStatus)]) -> Self {
        Self { seen: Some((invocations(found), None)) }
    }

    /// Judges them at a moment, in milliseconds of [`crate::api::clock::elapsed`]; an error says what is not yet so.
    /// Units that were not restarted only have to be active.
    pub fn judge(&mut self, found: &[(String, UnitStatus)], now: u32) -> Result<(), String> {
        let down: Vec<String> = found
            .iter()
            .filter(|(_, status)| !is_active(status))
            .map(|(_, status)| format!("{} is {} ({})", status.unit, status.active_state, status.sub_state))
            .collect();
        if !down.is_empty() {
            return Err(down.join(", "));
        }
        let Some((known, since)) = &mut self.seen else {
            return Ok(());
        };
        let starts = invocations(found);
        if *known != starts {
            let again: Vec<&str> = found
                .iter()
                .zip(known.iter().zip(&starts))
                .filter(|(_, (before, after))| before != after)
                .map(|((_, status), _)| status.unit.as_str())
                .collect();
            let message = format!("{} ended and was started again", again.join(", "));
            (*known, *since) = (starts, Some(now));
            return Err(message);
        }
        match since {
            Some(since) if now.saturating_sub(*since) < SETTLE => Err("they were started again just now".to_owned()),
            Some(_) | None => Ok(()),
        }
    }
}

fn invocations(found: &[(String, UnitStatus)]) -> Vec<String> {
    found.iter().map(|(_, status)| invocation(status).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Label;

    fn unit(state: &str, start: &str) -> Vec<(String, UnitStatus)> {
        let status = UnitStatus {
            unit: "kube-proxy.service".into(),
            load_state: "loaded".into(),
            active_state: state.into(),
            sub_state: "auto-restart".into(),
            file_state: "enabled".into(),
            outcome: "success".into(),
            since: None,
            needs_daemon_reload: false,
            drop_ins: Vec::new(),
            more: vec![Label { name: "invocation-id".into(), value: start.into() }],
        };
        vec![("node-1".into(), status)]
    }

    #[test]
    fn a_unit_that_ends_and_comes_back_does_not_run() {
        let mut watch = Watch::from(&unit("active", "1"));
        assert_eq!(watch.judge(&unit("active", "1"), 0), Ok(()), "nothing was started again");
        assert_eq!(
            watch.judge(&unit("activating", "1"), 500).unwrap_err(),
            "kube-proxy.service is activating (auto-restart)"
        );
        assert_eq!(
            watch.judge(&unit("active", "2"), 1000).unwrap_err(),
            "kube-proxy.service ended and was started again"
        );
        assert!(watch.judge(&unit("active", "2"), 3999).is_err());
        assert!(watch.judge(&unit("active", "3"), 4000).is_err());
        assert!(watch.judge(&unit("active", "3"), 6999).is_err());
        assert_eq!(watch.judge(&unit("active", "3"), 7000), Ok(()), "it has run for a while");
    }

    #[test]
    fn what_was_not_restarted_has_only_to_be_active() {
        let mut watch = Watch::default();
        assert_eq!(watch.judge(&unit("active", "1"), 0), Ok(()));
        assert_eq!(watch.judge(&unit("active", "2"), 1), Ok(()));
        assert!(watch.judge(&unit("failed", "2"), 2).is_err());
    }
}
