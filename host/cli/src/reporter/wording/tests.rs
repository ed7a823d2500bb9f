//! Events as people read them.

use super::*;
use crate::reporter::tally::tests::{at, attempt, begun, call, failed_run, item, step_ended};
use runner_types::{Operator, Place};

fn shown(events: &[Event], verbosity: u8) -> String {
    let wording = Wording::new(verbosity, Paint::default(), false);
    let mut tally = Tally::default();
    let mut text = String::new();
    for event in events {
        text.push_str(&wording.event(event, &tally).unwrap_or_default());
        tally.take(event);
    }
    text
}

#[test]
fn a_run_in_plain_lines() {
    assert_eq!(
        shown(&failed_run(), 0),
        "*** SIMULATED PLATFORM: no real host is touched. `runner platform show` shows it, `runner platform reset` begins anew. ***\n\
         run         run-1: workflow update-all, 2 operations\n\
         start       nodes/node-1/kubernetes [node-1]: update kubernetes\n\
         info        nodes/node-1/kubernetes [node-1]: draining node-1\n\
         failed      nodes/node-1/kubernetes [node-1]: PodDisruptionBudget web/db allows no eviction (1 min 0 s)\n\
         skipped     metrics: nodes did not succeed\n"
    );
}

#[test]
fn effects_are_shown_on_demand() {
    let text = shown(&failed_run(), 1);
    assert!(
        text.contains("write       nodes/node-1/kubernetes [node-1]: systemd.stop node-1: kubelet.service\n"),
        "{text}"
    );
    assert!(text.contains("systemd.stop failed\n              node-1: job timed out\n"), "{text}");
}

#[test]
fn a_good_step_says_what_it_did_and_how_long_it_took() {
    assert_eq!(
        shown(&[begun(0, 2), step_ended(14, 2, StepOutcome::Changed)], 0),
        "start       nodes/node-1/kubernetes [node-1]: update kubernetes, attempt 2\n\
         changed     nodes/node-1/kubernetes [node-1]: kubelet 1.34.4 (14 s)\n"
    );
}

#[test]
fn an_effect_on_many_things_stays_one_line() {
    let items = vec![
        item("a"),
        item("b"),
        EffectItem { place: Place::Host("node-2".to_owned()), subject: "a".to_owned() },
        item("c"),
        item("d"),
    ];
    let event =
        EventKind::EffectBegun { call: call(), function: "files.read".to_owned(), class: EffectClass::Read, items };
    assert!(shown(&[at(0, event.clone())], 1).ends_with(": files.read node-1: a, b; node-2: a and 2 more\n"));
    assert_eq!(shown(&[at(0, event)], 0), "");
}

#[test]
fn who_answered_is_said() {
    let by =
        AnsweredBy::Operator { who: Operator { user: "ann".to_owned(), host: "bastion".to_owned() }, terminal: None };
    let answered = |by| EventKind::Decided {
        step: None,
        target: None,
        what: Decision::Answered {
            prompt: "confirm".to_owned(),
            message: String::new(),
            answer: Value::Bool(true),
            by,
        },
    };
    assert_eq!(shown(&[at(0, answered(by))], 0), "answer      confirm: yes, by ann@bastion\n");
    let by = AnsweredBy::Input { name: "no_interactive".to_owned() };
    assert_eq!(shown(&[at(0, answered(by))], 0), "answer      confirm: not asked, -e no_interactive=True\n");
}

#[test]
fn a_message_of_several_lines_stays_under_its_own() {
    let event = EventKind::Log { attempt: attempt(1), level: LogLevel::Warn, message: "one\ntwo".to_owned() };
    assert_eq!(shown(&[at(0, event)], 0), "warning     nodes/node-1/kubernetes [node-1]: one\n              two\n");
}
