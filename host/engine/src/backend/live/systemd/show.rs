//! What `systemctl show` says.

use chrono::NaiveDateTime;
use runner_types::Timestamp;

use crate::backend::units::INVOCATION;
use crate::contract::systemd::UnitStatus;
use crate::contract::types::Label;

/// Properties that are asked for.
pub(super) const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,UnitFileState,Result,ActiveEnterTimestamp,\
    ActiveExitTimestamp,InactiveEnterTimestamp,InactiveExitTimestamp,NeedDaemonReload,DropInPaths,InvocationID,\
    ExecMainCode,ExecMainStatus";

/// Kinds of units (systemd.unit(5)).
const SUFFIXES: [&str; 11] =
    ["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];

/// A unit as `systemctl show` prints it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    pub(super) status: UnitStatus,
    /// Exit code and signal with which its main process ended last.
    pub(super) main_exit: (Option<i32>, Option<i32>),
}

impl Shown {
    pub(super) fn invocation(&self) -> Option<&str> {
        self.status.more.iter().find(|label| label.name == INVOCATION).map(|label| label.value.as_str())
    }
}

/// Whether systemctl would take a name for that of one unit. It reads others as patterns or paths, or adds a suffix.
pub(super) fn is_unit(name: &str) -> bool {
    let known = name.rsplit_once('.').is_some_and(|(stem, suffix)| {
        !stem.is_empty() && !stem.ends_with('@') && !stem.starts_with('-') && SUFFIXES.contains(&suffix)
    });
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    known && name.len() < 256 && name.chars().all(allowed)
}

/// Units in the order in which they were asked for: blocks of `NAME=VALUE`, an empty line between them.
pub(super) fn parse(text: &str) -> Vec<Shown> {
    text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()).map(unit).collect()
}

fn unit(block: &str) -> Shown {
    let value = |name: &str| {
        let mut lines = block.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| *key == name).map_or("", |(_, value)| value.trim())
    };
    let owned = |name: &str, default: &str| match value(name) {
        "" => default.to_owned(),
        found => found.to_owned(),
    };
    let active_state = owned("ActiveState", "inactive");
    // systemd notes the moment of each change between active and inactive, and of each beginning of one.
    let since = match active_state.as_str() {
        "active" | "reloading" | "refreshing" => "ActiveEnterTimestamp",
        "activating" => "InactiveExitTimestamp",
        "deactivating" => "ActiveExitTimestamp",
        _ => "InactiveEnterTimestamp",
    };
    let invocation = value("InvocationID");
    let status = UnitStatus {
        unit: owned("Id", ""),
        load_state: owned("LoadState", "not-found"),
        sub_state: owned("SubState", "dead"),
        file_state: owned("UnitFileState", ""),
        outcome: owned("Result", "success"),
        since: moment(value(since)),
        needs_daemon_reload: value("NeedDaemonReload") == "yes",
        drop_ins: value("DropInPaths").split_whitespace().map(str::to_owned).collect(),
        more: match invocation {
            "" => Vec::new(),
            id => vec![Label { name: INVOCATION.to_owned(), value: id.to_owned() }],
        },
        active_state,
    };
    // CLD_EXITED, CLD_KILLED and CLD_DUMPED of sigaction(2).
    let number = value("ExecMainStatus").parse().ok();
    let main_exit = match value("ExecMainCode") {
        "1" => (number, None),
        "2" | "3" => (None, number),
        _ => (None, None),
    };
    Shown { status, main_exit }
}

/// `Sat 2026-11-21 12:01:02 UTC`, as systemctl writes a moment where the time zone is UTC.
fn moment(text: &str) -> Option<String> {
    let time = NaiveDateTime::parse_from_str(text, "%a %Y-%m-%d %H:%M:%S UTC").ok()?;
    Some(Timestamp::from_unix_millis(time.and_utc().timestamp_millis()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::units::unknown;

    // systemd 252 (Debian 12).
    const SHOWN: &str = "Id=ssh.service\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n\
        Result=success\nActiveEnterTimestamp=Sat 2026-11-21 12:01:02 UTC\nActiveExitTimestamp=\nInactiveEnterTimestamp=\n\
        InactiveExitTimestamp=Sat 2026-11-21 12:01:01 UTC\nNeedDaemonReload=no\n\
        DropInPaths=/etc/systemd/system/ssh.service.d/10-a.conf /etc/systemd/system/ssh.service.d/20-b.conf\n\
        InvocationID=5f2d0c1e9b7a4c33a1d2e3f405162738\nExecMainCode=0\nExecMainStatus=0\n\n\
        Id=nothing.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nResult=success\n\
        ActiveEnterTimestamp=\nActiveExitTimestamp=\nInactiveEnterTimestamp=\nInactiveExitTimestamp=\nNeedDaemonReload=no\n\
        DropInPaths=\nInvocationID=\nExecMainCode=0\nExecMainStatus=0\n\n\
        Id=broken.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nUnitFileState=disabled\n\
        Result=exit-code\nInactiveEnterTimestamp=Sat 2026-11-21 12:03:04 UTC\nNeedDaemonReload=yes\nDropInPaths=\n\
        InvocationID=0123456789abcdef0123456789abcdef\nExecMainCode=1\nExecMainStatus=3\n";

    #[test]
    fn units_are_read() {
        let shown = parse(SHOWN);
        assert_eq!(shown.len(), 3);
        let ssh = &shown[0].status;
        assert_eq!((ssh.active_state.as_str(), ssh.file_state.as_str()), ("active", "enabled"));
        assert_eq!(ssh.since.as_deref(), Some("2026-11-21T12:01:02.000Z"));
        assert_eq!(ssh.drop_ins.len(), 2);
        assert_eq!(shown[0].invocation(), Some("5f2d0c1e9b7a4c33a1d2e3f405162738"));
        assert_eq!(shown[1].status, unknown("nothing.service"));
        let broken = &shown[2];
        assert_eq!((broken.status.outcome.as_str(), broken.main_exit), ("exit-code", (Some(3), None)));
        assert!(broken.status.needs_daemon_reload);
        assert_eq!(broken.status.since.as_deref(), Some("2026-11-21T12:03:04.000Z"));
    }

    #[test]
    fn names_of_one_unit() {
        for name in ["kubelet.service", "getty@tty1.service", "dev-disk-by\\x2duuid.device", "a.b.timer"] {
            assert!(is_unit(name), "{name}");
        }
        for name in ["kubelet", "kube*.service", "a b.service", ".service", "getty@.service", "-x.service", "/a.mount"]
        {
            assert!(!is_unit(name), "{name}");
        }
    }
}
