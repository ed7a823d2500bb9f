//! Where and when faults strike.

pub(crate) use runner_types::simulated::{ApiStatus, Fault, FaultKind, Faults};

use super::pattern::glob;

/// What is about to happen, as faults see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion<'a> {
    /// `interface.function`; empty inside an effect.
    pub(crate) function: &'a str,
    /// The host it is on.
    pub(crate) host: Option<&'a str>,
    /// The cluster it is on.
    pub(crate) cluster: Option<&'a str>,
}

/// Whether a fault is of this kind and about this place and function.
pub(crate) fn fits(fault: &Fault, kind: FaultKind, occasion: Occasion<'_>) -> bool {
    let place = |pattern: &Option<String>, name: Option<&str>| match (pattern, name) {
        (None, _) => true,
        (Some(pattern), Some(name)) => glob(pattern, name),
        (Some(_), None) => false,
    };
    fault.fault == kind
        && place(&fault.host, occasion.host)
        && place(&fault.cluster, occasion.cluster)
        && (occasion.function.is_empty() || place(&fault.function, Some(occasion.function)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let fault =
            Fault { host: Some("node-*".to_owned()), function: Some("packages.*".to_owned()), ..Fault::default() };
        let on = |kind, host, function| {
            let occasion = Occasion { function, host: Some(host), cluster: None };
            fits(&fault, kind, occasion)
        };
        assert!(on(FaultKind::Unreachable, "node-1", "packages.install"));
        assert!(!on(FaultKind::Unreachable, "master-1", "packages.install"));
        assert!(!on(FaultKind::Unreachable, "node-1", "systemd.stop"));
        assert!(!on(FaultKind::Slow, "node-1", ""));
    }
}
