//! Quantities of resources.

use std::ops::{Add, AddAssign};

use sdk::json::At;
use serde_json::Value;

/// What a Pod asks of a node, or a node has: thousandths of a processor and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Resources {
    pub(crate) cpu: u64,
    pub(crate) memory: u64,
}

impl Resources {
    /// `cpu` and `memory` of a ResourceList; what is missing counts as nothing.
    pub(crate) fn of(list: Option<&Value>) -> Self {
        let amount = |name: &str| list.and_then(|list| list.get(name)).and_then(parse).unwrap_or(0);
        Self { cpu: amount("cpu"), memory: amount("memory") / 1000 }
    }

    /// What a Pod's containers ask for together, as the scheduler counts it: init containers run one after the other
    /// and before the rest, unless they stay as side cars.
    pub(crate) fn of_pod(spec: &Value) -> Self {
        let requests = |container: &Value| Self::of(container.pointer("/resources/requests"));
        let mut running: Self = spec.items("/containers").iter().map(requests).fold(Self::default(), Add::add);
        let mut sidecars = Self::default();
        let mut peak = Self::default();
        for container in spec.items("/initContainers") {
            if container.text("/restartPolicy") == Some("Always") {
                sidecars += requests(container);
                peak = peak.max_each(sidecars);
            } else {
                peak = peak.max_each(sidecars + requests(container));
            }
        }
        running += sidecars;
        running.max_each(peak) + Self::of(spec.pointer("/overhead"))
    }

    /// Whether so much is there.
    pub(crate) fn covers(self, wanted: Self) -> bool {
        self.cpu >= wanted.cpu && self.memory >= wanted.memory
    }

    /// What is left.
    pub(crate) fn without(self, taken: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(taken.cpu), memory: self.memory.saturating_sub(taken.memory) }
    }

    fn max_each(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }
}

impl Add for Resources {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::fmt::Display for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cpu {}m, memory {} MiB", self.cpu, self.memory.div_ceil(1024 * 1024))
    }
}

/// A quantity in thousandths, rounded up: `2` is 2000, `500m` is 500, `1Ki` is 1024000. Numbers are taken too.
pub(crate) fn parse(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_f64().and_then(|number| scaled(number, 1000.0)),
        Value::String(text) => {
            let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let (number, suffix) = text.split_at(digits);
            let number: f64 = number.parse().ok()?;
            scaled(number, factor(suffix)?)
        }
        _ => None,
    }
}

fn factor(suffix: &str) -> Option<f64> {
    let thousandths = match suffix {
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "P" => 1e18,
        "Ki" => 1e3 * 1024.0,
        "Mi" => 1e3 * 1024.0 * 1024.0,
        "Gi" => 1e3 * 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1e3 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        other => {
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            1e3 * 10f64.powi(exponent)
        }
    };
    Some(thousandths)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked, and casts saturate")]
fn scaled(number: f64, factor: f64) -> Option<u64> {
    let product = (number * factor).ceil();
    (product.is_finite() && product >= 0.0).then_some(product as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_in_every_notation() {
        for (text, thousandths) in [
            ("2", 2000),
            ("500m", 500),
            ("0.5", 500),
            ("1500u", 2),
            ("1Ki", 1_024_000),
            ("1M", 1_000_000_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
        ] {
            assert_eq!(parse(&json!(text)), Some(thousandths), "{text}");
        }
        assert_eq!(parse(&json!(2)), Some(2000));
        for text in ["", "x", "1Xi", "-1", "1..2"] {
            assert_eq!(parse(&json!(text)), None, "{text}");
        }
    }

    #[test]
    fn init_containers_count_by_their_peak() {
        let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}});
        let sidecar = json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}});
        let pod = json!({"containers": [asks("100m"), asks("200m")], "initContainers": [asks("250m")]});
        assert_eq!(Resources::of_pod(&pod), Resources { cpu: 300, memory: 128 << 20 });
        let pod = json!({"containers": [asks("100m")], "initContainers": [asks("400m")], "overhead": {"cpu": "10m"}});
        assert_eq!(Resources::of_pod(&pod).cpu, 410);
        let pod = json!({"containers": [asks("100m")], "initContainers": [sidecar, asks("120m")]});
        assert_eq!(Resources::of_pod(&pod).cpu, 170);
        assert_eq!(Resources::of_pod(&json!({})), Resources::default());
    }

    #[test]
    fn room_is_per_resource() {
        let room = Resources { cpu: 1000, memory: 10 };
        assert!(room.covers(Resources { cpu: 1000, memory: 10 }));
        assert!(!room.covers(Resources { cpu: 1, memory: 11 }));
        assert_eq!(room.without(Resources { cpu: 2000, memory: 4 }), Resources { cpu: 0, memory: 6 });
        assert_eq!(Resources { cpu: 5, memory: 1 }.to_string(), "cpu 5m, memory 1 MiB");
    }
}
