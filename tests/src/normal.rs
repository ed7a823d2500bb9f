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
        // Names of runs and backup sets: 20261121-075146-backout-all-1f3a
        (
            r"\b\d{8}[-T]\d{6}Z?(-[a-z][a-z0-9]*)*-[0-9a-f]{4,}\b",
            "<id>",
        ),
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
        assert_eq!(RULES.len(), 7, "a pattern is no regular expression");
        let state = Path::new("/tmp/x");
        let text = "run 20261121-075146-backout-all-1f3a took 12.5 s, see /tmp/x/runs at 2026-11-21T07:51:46.123Z";
        assert_eq!(
            normalised(text, state),
            "run <id> took <span>, see <state>/runs at <time>"
        );
        assert_eq!(
            normalised("node-1 : ok=12 changed=3 failed=0", state),
            "node-1 : ok=<n> changed=<n> failed=0"
        );
    }
}
