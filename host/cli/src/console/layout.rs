//! How questions look on the terminal. Operators know these shapes by heart: they are those of the playbook that runner
//! replaces, to the character.

use runner_engine::gate::{Asked, Reply, Wanted};

use crate::out::printable;

/// Ruler around a question that is answered with `y`.
const CONFIRM_RULER: &str = "==============================================================";
/// Ruler around a message that waits for the Enter key.
const PAUSE_RULER: &str = "======================================================";
/// Heading of a y/n question that brings none of its own.
const CONFIRM_HEADING: &str = "[Please confirm]";
/// What a y/n question names as its answers.
const YES_OR_NO: &str = "(y/n)";

/// The question as it is shown; the cursor stays behind it.
pub(super) fn question(asked: &Asked) -> String {
    // A plugin words its question, and must not be able to draw another one over it.
    printable(&framed(asked)).into_owned()
}

fn framed(asked: &Asked) -> String {
    let mut lines: Vec<String> = Vec::new();
    match &asked.wanted {
        Wanted::Confirm { destroys } => {
            lines.push(asked.heading.clone().unwrap_or_else(|| CONFIRM_HEADING.to_owned()));
            lines.push(CONFIRM_RULER.to_owned());
            let message = asked.message.trim_end();
            lines.push(if message.contains(YES_OR_NO) { message.to_owned() } else { format!("{message} {YES_OR_NO}") });
            explain(&mut lines, &asked.why);
            if !destroys.is_empty() {
                lines.push(format!("A yes destroys: {}", destroys.trim_end()));
            }
            lines.push(CONFIRM_RULER.to_owned());
            lines.push(" : ".to_owned());
            lines.join("\n")
        }
        Wanted::Pause => {
            lines.extend(asked.heading.clone());
            lines.push(PAUSE_RULER.to_owned());
            lines.push(asked.message.trim_end().to_owned());
            lines.push(PAUSE_RULER.to_owned());
            // Below the frame, whose content is the original's.
            explain(&mut lines, &asked.why);
            lines.push(String::new());
            lines.join("\n")
        }
        Wanted::Choose { options, default } => {
            lines.extend(asked.heading.clone());
            lines.push(PAUSE_RULER.to_owned());
            lines.push(asked.message.trim_end().to_owned());
            explain(&mut lines, &asked.why);
            for (index, option) in options.iter().enumerate() {
                let mark = if *default == Some(index) { "  (the Enter key)" } else { "" };
                lines.push(format!("  {}. {option}{mark}", index + 1));
            }
            lines.push(PAUSE_RULER.to_owned());
            lines.push(format!("1-{} : ", options.len()));
            lines.join("\n")
        }
    }
}

fn explain(lines: &mut Vec<String>, why: &str) {
    if !why.trim().is_empty() {
        lines.push(why.trim_end().to_owned());
    }
}

/// What a typed line answers, or what to say before it is asked again.
pub(super) fn reply(wanted: &Wanted, line: &str) -> Result<Reply, String> {
    let line = line.trim_end_matches(['\n', '\r']);
    match wanted {
        // Nothing but the one letter is a yes: a slip must never start a backout.
        Wanted::Confirm { .. } => Ok(if line == "y" { Reply::Yes } else { Reply::No }),
        Wanted::Pause if line.trim().is_empty() => Ok(Reply::Entered),
        Wanted::Pause => Err("Press the Enter key alone to go on, or Ctrl-C to stop.\n".to_owned()),
        Wanted::Choose { options, default } => {
            let text = line.trim();
            let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let chosen = match (text.is_empty(), number) {
                (true, _) => *default,
                (false, Some(index)) => Some(index),
                (false, None) => options.iter().position(|option| option == text),
            };
            chosen
                .filter(|index| *index < options.len())
                .map(Reply::Chosen)
                .ok_or_else(|| format!("Type a number from 1 to {}.\n1-{0} : ", options.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(heading: Option<&str>, message: &str, wanted: Wanted) -> Asked {
        Asked {
            step: String::new(),
            component: None,
            key: "k".to_owned(),
            heading: heading.map(str::to_owned),
            message: message.to_owned(),
            why: String::new(),
            wanted,
        }
    }

    fn confirm() -> Wanted {
        Wanted::Confirm { destroys: String::new() }
    }

    /// The originals came down with their line breaks turned into blanks.
    fn flat(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_backout_is_confirmed_in_the_words_of_the_original() {
        let original = "[Please confirm] ============================================================== [WARNING] Do you want to backout? (y/n) ============================================================== :";
        let shown = question(&asked(Some("[Please confirm]"), "[WARNING] Do you want to backout? (y/n)", confirm()));
        assert_eq!(flat(&shown), original);
        assert_eq!(
            shown,
            "[Please confirm]\n\
             ==============================================================\n\
             [WARNING] Do you want to backout? (y/n)\n\
             ==============================================================\n \
             : "
        );
    }

    #[test]
    fn the_update_is_confirmed_in_the_words_of_the_original() {
        let original = "[Please confirm] ============================================================== [WARNING] Do you want to update Container Management? (y/n) ============================================================== :";
        let shown = question(&asked(None, "[WARNING] Do you want to update Container Management? (y/n)", confirm()));
        assert_eq!(flat(&shown), original);
    }

    #[test]
    fn the_load_balancer_pauses_are_those_of_the_original() {
        let original = "[backout/container_mng/k8s_cluster : confirm] ====================================================== [WARNING] Backout the version of the kubernetes node [172.16.0.11] to 1.33.13. Please stop routing requests to the kubernetes node [172.16.0.11] from the load balancer. If you have stopped routing requests, please press the enter key. ======================================================";
        let message = "[WARNING] Backout the version of the kubernetes node [172.16.0.11] to 1.33.13.\nPlease stop routing requests to the kubernetes node [172.16.0.11] from the load balancer.\nIf you have stopped routing requests, please press the enter key.";
        let shown = question(&asked(Some("[backout/container_mng/k8s_cluster : confirm]"), message, Wanted::Pause));
        assert_eq!(flat(&shown), original);
        assert!(shown.starts_with("[backout/container_mng/k8s_cluster : confirm]\n=====") && shown.ends_with("=\n"));
    }

    #[test]
    fn the_volume_pause_is_that_of_the_original() {
        let original = "====================================================== [WARNING] Please delete the files in Persistent Volume used by metrics. Press enter key after deleting data. ======================================================";
        let message = "[WARNING] Please delete the files in Persistent Volume used by metrics. Press enter key after deleting data.";
        let mut asked = asked(None, message, Wanted::Pause);
        assert_eq!(flat(&question(&asked)), original);
        asked.why = "The volume is on storage-1.".to_owned();
        let shown = question(&asked);
        assert!(flat(&shown).starts_with(original), "{shown}");
        assert!(shown.ends_with("=\nThe volume is on storage-1.\n"), "{shown}");
    }

    #[test]
    fn a_plugin_s_question_says_what_a_yes_destroys() {
        let mut asked = asked(None, "Remove all images?", Wanted::Confirm { destroys: "12 images".to_owned() });
        asked.why = "The engine cannot read the new storage.".to_owned();
        let shown = question(&asked);
        assert!(shown.contains("\nRemove all images? (y/n)\nThe engine cannot"), "{shown}");
        assert!(shown.contains("\nA yes destroys: 12 images\n"), "{shown}");
    }

    #[test]
    fn a_plugin_cannot_draw_over_its_question() {
        let shown = question(&asked(None, "Go on?\x1b[2A\rHarmless", confirm()));
        assert!(!shown.contains(['\x1b', '\r']), "{shown:?}");
    }

    #[test]
    fn only_y_is_yes() {
        assert_eq!(reply(&confirm(), "y\n"), Ok(Reply::Yes));
        assert_eq!(reply(&confirm(), "y\r\n"), Ok(Reply::Yes));
        for line in ["\n", "n\n", "Y\n", "yes\n", " y\n", "y \n", "yy\n", "y;\n"] {
            assert_eq!(reply(&confirm(), line), Ok(Reply::No), "{line:?}");
        }
    }

    #[test]
    fn a_pause_wants_the_enter_key_alone() {
        assert_eq!(reply(&Wanted::Pause, "\n"), Ok(Reply::Entered));
        assert!(reply(&Wanted::Pause, "no\n").is_err());
    }

    #[test]
    fn a_choice_is_a_number_a_name_or_the_default() {
        let wanted = Wanted::Choose { options: vec!["wait".to_owned(), "restore".to_owned()], default: Some(0) };
        assert_eq!(reply(&wanted, "\n"), Ok(Reply::Chosen(0)));
        assert_eq!(reply(&wanted, "2\n"), Ok(Reply::Chosen(1)));
        assert_eq!(reply(&wanted, "restore\n"), Ok(Reply::Chosen(1)));
        for line in ["0\n", "3\n", "x\n", "-1\n"] {
            assert!(reply(&wanted, line).is_err(), "{line:?}");
        }
        let Wanted::Choose { options, .. } = wanted else { unreachable!("made above") };
        assert!(reply(&Wanted::Choose { options, default: None }, "\n").is_err());
    }
}
