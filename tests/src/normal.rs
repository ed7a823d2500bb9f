//! Output without what differs from run to run.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::root;

/// What is replaced, in this order.
static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        // 2026-11-21T07:51:46.123Z
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        // Names of runs, which begin those of backup sets: 2026-11-21T10-44-18-update-all-ae87
        (r"\b\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(-[a-z]+)+-[0-9a-f]{4}\b", "<run>"),
        // Where Pods are is the scheduler's affair.
        (r"Pods by node: .*", "Pods by node: <placement>"),
        (r"\b\d+ Pods evicted", "<n> Pods evicted"),
        (r"\b[0-9a-f]{64}\b", "<digest>"),
        (r"\b\d+(\.\d+)?\s?(ms|s|min)\b", "<span>"),
        (r"\b\d+m\s?\d+s\b", "<span>"),
        (r"(ok|changed)=\d+", "$1=<n>"),
        (r"[ \t]+\n", "\n"),
    ]
    .into_iter()
    .filter_map(|(pattern, with)| Some((Regex::new(pattern).ok()?, with)))
    .collect()
});

/// The text with times, names of runs, digests, spans and places of this machine replaced.
#[must_use]
pub fn normalised(text: &str, state: &Path) -> String {
    let mut text = text.replace("\r\n", "\n");
    for (path, name) in [(state.to_owned(), "<state>"), (root(), "<root>")] {
        text = text.replace(&path.display().to_string(), name);
    }
    for (pattern, with) in RULES.iter() {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_replaced() {
        assert_eq!(RULES.len(), 9, "a pattern is no regular expression");
        let state = Path::new("/tmp/x");
        let text = "run 2026-11-21T07-51-46-backout-all-1f3a took 12.5 s, see /tmp/x/runs at 2026-11-21T07:51:46.123Z";
        assert_eq!(normalised(text, state), "run <run> took <span>, see <state>/runs at <time>");
        assert_eq!(normalised("node-1 : ok=12 changed=3 failed=0", state), "node-1 : ok=<n> changed=<n> failed=0");
    }
}
