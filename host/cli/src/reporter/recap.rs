//! The recap at the end of a run, in the form that operators and their scripts know from Ansible.

use std::fmt::Write as _;

use runner_types::Recap;

/// The line above the hosts.
const HEADING: &str = "PLAY RECAP *********************************************************************";

/// The recap as text.
pub(crate) fn recap(recap: &Recap) -> String {
    let mut text = format!("{HEADING}\n");
    for (host, counts) in &recap.0 {
        let line = format!(
            "{host:<26} : ok={:<4} changed={:<4} unreachable={:<4} failed={}",
            counts.ok, counts.changed, counts.unreachable, counts.failed
        );
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_types::HostRecap;

    #[test]
    fn the_recap_is_that_of_the_original() {
        // XX and YY of the original are any numbers; its line breaks came down as blanks.
        let original = "PLAY RECAP ********************************************************************* 127.0.0.1 : ok=41 changed=17 unreachable=0 failed=0";
        let counts = HostRecap { ok: 41, changed: 17, skipped: 3, ..HostRecap::default() };
        let shown = recap(&Recap([("127.0.0.1".to_owned(), counts)].into_iter().collect()));
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>().join(" "), original);
        assert_eq!(
            shown,
            "PLAY RECAP *********************************************************************\n\
             127.0.0.1                  : ok=41   changed=17   unreachable=0    failed=0\n"
        );
    }
}
