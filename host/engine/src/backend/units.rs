//! Units of systemd as every backend tells of them.

use crate::contract::systemd::UnitStatus;

/// Name of the evidence of a start, among what a status has more.
pub(super) const INVOCATION: &str = "invocation-id";

/// Status of a unit that is not there, in systemd's words.
pub(super) fn unknown(unit: &str) -> UnitStatus {
    UnitStatus {
        unit: unit.to_owned(),
        load_state: "not-found".to_owned(),
        active_state: "inactive".to_owned(),
        sub_state: "dead".to_owned(),
        file_state: String::new(),
        outcome: "success".to_owned(),
        since: None,
        needs_daemon_reload: false,
        drop_ins: Vec::new(),
        more: Vec::new(),
    }
}
