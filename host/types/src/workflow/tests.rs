use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Diagnostics, load};

const GOOD: &str = r#"{
  "$schema": "schema/workflow.schema.json",
  "name": "backout-all",
  "description": "Backs out everything.",
  "inputs": {
    "no_interactive": {"type": "boolean", "default": false},
    "stop_containers": {"type": "boolean", "default": null, "optional": true},
    "release": {"type": "string", "default": "2.0", "enum": ["1.0", "2.0"]},
    "who": {"type": "string"},
    "sizes": {"type": "list", "default": []}
  },
  "vars": {"title": "[${inputs.release}]"},
  "confirm": {"heading": "[Please confirm]", "message": "[WARNING] Do you want to backout? (y/n)",
    "skip-when": {"input": "no_interactive", "equals": true}},
  "answers": {"docker/stop-containers": {"input": "stop_containers"}},
  "preconditions": [{"name": "updated", "component": "*", "verify": "versions",
    "check": "components.size() > 0", "message": "not updated: ${components}"}],
  "requires": {"backup": {"max-age": "12h"}},
  "steps": [
    {"name": "flannel", "workflow": "backout-flannel.json", "inputs": {"x": "${inputs.who}"}},
    {"name": "metrics", "component": "metrics", "operation": "backout", "with": {"a": ["${vars.title}"]},
     "targets": ["storage", "!node-9"], "retry": {"attempts": 3, "delay": "5s"}, "timeout": "30m",
     "on-failure": "back-out"},
    {"name": "nodes", "needs": ["flannel"], "when": "inputs.sizes.size() == 0", "rolling": {
      "over": "nodes", "batch": [1, "50%"], "canaries": 1, "max-failures": "10%", "soak": "30s",
      "maintenance": ["kubernetes", {"component": "lb", "with": {"pool": "${host.name}"}}],
      "pause": {"before": {"message": "stop ${host.internal_ip}", "when": "true"}},
      "health": [{"component": "kubernetes", "with": {"node": "${host.node}"}}],
      "vars": {"version": "${host.name}"},
      "steps": [{"name": "docker", "component": "docker", "operation": "backout"}]}},
    {"name": "check", "component": "etcd", "operation": "verify", "depth": "versions", "needs": [],
     "when": "steps.metrics.changed && steps.docker.changed"}
  ]
}"#;

fn read(text: &str) -> Result<Workflow, Diagnostics> {
    load::<Workflow>(text, "w.json").map(|located| located.into_parts().0)
}

fn mistakes(text: &str) -> Vec<String> {
    match read(text) {
        Ok(workflow) => panic!("read as {workflow:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The good workflow with one text replaced by another.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    mistakes(&GOOD.replacen(from, to, 1))
}

#[test]
fn a_whole_workflow_is_read_and_written_back() {
    let workflow = read(GOOD).unwrap();
    let StepAction::Rolling(nodes) = &workflow.steps[2].action else { panic!("no rolling block") };
    assert_eq!(nodes.batch.sizes(5), [1, 2, 2]);
    assert_eq!(nodes.maintenance[1].component, "lb");
    assert_eq!(workflow.steps[0].needs, None);
    assert_eq!(workflow.requires.backup.max_age, TimeSpan::from_secs(12 * 3600));
    assert_eq!(workflow.component_steps().len(), 3);
    let again = serde_json::to_string_pretty(&workflow).unwrap();
    assert_eq!(read(&again).unwrap(), workflow);
}

#[test]
fn mistakes_are_named_with_place_and_next_step() {
    let cases = [
        (
            r#""needs": ["flannel"]"#,
            r#""needs": ["flanel"]"#,
            "w.json:24:33: $.steps[2].needs[0]: no step \"flanel\"; did you mean \"flannel\"?\n  \
             help: `needs` names steps of the same list",
        ),
        (r#""needs": []"#, r#""needs": ["check"]"#, "w.json:31:98: $.steps[3].needs[0]: step \"check\" needs itself"),
        (
            r#""name": "flannel", "workflow""#,
            r#""name": "flannel", "needs": ["nodes"], "workflow""#,
            "w.json:20:34: $.steps[0].needs: these steps wait for each other: flannel -> nodes -> flannel",
        ),
        (
            r#""name": "metrics", "component""#,
            r#""name": "flannel", "component""#,
            "w.json:21:14: $.steps[1].name: step 0 of this list is named \"flannel\" already",
        ),
        (
            r#""input": "no_interactive""#,
            r#""input": "no_interactiv""#,
            "w.json:14:28: $.confirm.skip-when.input: no input \"no_interactiv\"; did you mean \"no_interactive\"?",
        ),
        (
            r#""equals": true"#,
            r#""equals": "yes""#,
            "w.json:14:56: $.confirm.skip-when.equals: input \"no_interactive\" is of type boolean and never \"yes\"",
        ),
        (
            r#""docker/stop-containers""#,
            r#""stop-containers""#,
            "w.json:15:34: $.answers.stop-containers: \"stop-containers\" does not name a prompt",
        ),
        (
            r#""default": "2.0""#,
            r#""default": "3.0""#,
            "w.json:8:46: $.inputs.release.default: \"3.0\" is not one of \"1.0\", \"2.0\"",
        ),
        (
            r#""default": false"#,
            r#""default": "no""#,
            "w.json:6:54: $.inputs.no_interactive.default: \"no\" is not of the input's type, boolean",
        ),
        (
            r#""default": null, "optional": true"#,
            r#""default": null"#,
            "w.json:7:55: $.inputs.stop_containers.default: a default of null for an input of type boolean",
        ),
        (
            r#""who": {"#,
            r#""who-else": {"#,
            "w.json:9:17: $.inputs.who-else: \"who-else\" cannot be used in expressions",
        ),
        (
            "\"[${inputs.release}]\"",
            "\"[${inputs.release]\"",
            "w.json:12:21: $.vars.title: `${` at character 2 is never closed by `}`",
        ),
        (
            "\"when\": \"true\"",
            "\"when\": \"${true}\"",
            "w.json:27:75: $.steps[2].rolling.pause.before.when: this is an expression already",
        ),
        (
            r#""depth": "versions""#,
            r#""depth": "version""#,
            "w.json:31:76: $.steps[3].depth: \"version\" is not known here; did you mean \"versions\"?",
        ),
        (
            r#""operation": "verify", "depth""#,
            r#""operation": "update", "depth""#,
            "w.json:31:5: $.steps[3]: step \"check\": `depth` belongs to the operation verify, not to update",
        ),
        (
            r#""operation": "backout", "with""#,
            r#""operation": "rollback", "with""#,
            "w.json:21:62: $.steps[1].operation: \"rollback\" is not known here",
        ),
        (
            r#""batch": [1, "50%"]"#,
            r#""batch": [1, "50 %"]"#,
            "w.json:25:37: $.steps[2].rolling.batch[1]: \"50 %\" is neither a count",
        ),
        (
            r#""batch": [1, "50%"]"#,
            r#""batch": 0"#,
            "w.json:25:33: $.steps[2].rolling.batch: a batch has at least one host",
        ),
        (r#""soak": "30s""#, r#""soak": 30"#, "w.json:25:91: $.steps[2].rolling.soak: expected a text, found `30`"),
        (r#""attempts": 3"#, r#""attempts": 0"#, "w.json:22:63: $.steps[1].retry.attempts: attempts are 1 to 100"),
        (
            r#""component": "docker", "operation": "backout"}"#,
            r#""workflow": "x.json"}"#,
            "w.json:30:17: $.steps[2].rolling.steps[0]: step \"docker\" cannot be within a rolling block",
        ),
        (
            r#""component": "docker", "operation": "backout"}"#,
            r#""component": "docker", "operation": "backout", "on-failure": "back-out"}"#,
            "w.json:30:97: $.steps[2].rolling.steps[0].on-failure: what follows a failure is said of the rolling block",
        ),
        (
            r#""component": "docker", "operation": "backout"}"#,
            r#""component": "docker", "operation": "backout", "needs": []}"#,
            "w.json:30:92: $.steps[2].rolling.steps[0].needs: the steps of a rolling block follow each other",
        ),
        (
            r#""component": "docker", "operation": "backout"}"#,
            r#""component": "docker", "operation": "backout", "forks": 2}"#,
            "w.json:30:92: $.steps[2].rolling.steps[0].forks: a step of a rolling block works on one host",
        ),
        (
            r#""component": "docker", "operation": "backout"}"#,
            r#""component": "docker"}"#,
            "w.json:30:17: $.steps[2].rolling.steps[0]: step \"docker\" has `component` and needs `operation`",
        ),
        (
            r#""component": "docker", "operation": "backout"}"#,
            r#""operation": "backout"}"#,
            "w.json:30:17: $.steps[2].rolling.steps[0]: step \"docker\" must have exactly one of",
        ),
        (
            r#""workflow": "backout-flannel.json","#,
            r#""workflow": "backout-flannel.json", "targets": "all","#,
            "w.json:20:5: $.steps[0]: step \"flannel\": `targets` belongs to a `component` step",
        ),
        (
            r#""maintenance": ["kubernetes""#,
            r#""maintenance": [5"#,
            "w.json:26:23: $.steps[2].rolling.maintenance[0]: expected a component's name or an object",
        ),
        (
            r#""with": {"pool""#,
            r#""wiht": {"pool""#,
            "w.json:26:57: $.steps[2].rolling.maintenance[1].wiht: unknown field \"wiht\"; did you mean \"with\"?",
        ),
        (
            r#""check": "components.size() > 0", "message": "not updated: ${components}""#,
            r#""check": """#,
            "w.json:16:21: $.preconditions[0]: precondition \"updated\" has a `check` and no `message`",
        ),
    ];
    let mut missed = String::new();
    for (from, to, wanted) in cases {
        let found = changed(from, to);
        if !found.iter().any(|message| message.starts_with(wanted)) {
            missed += &format!("{to}:\n{}\nwanted:\n{wanted}\n\n", found.join("\n"));
        }
    }
    assert!(missed.is_empty(), "{missed}");
}

#[test]
fn all_mistakes_come_at_once() {
    let text = r#"{"name": "w", "steps": [
        {"name": "a", "component": "x", "operation": "update", "needs": ["b", "q"], "timeout": "0s"},
        {"name": "a", "component": "x y", "operation": "update", "with": {"p": "${"}}]}"#;
    assert_eq!(mistakes(text).len(), 6, "{:#?}", mistakes(text));
}

#[test]
fn a_cycle_over_the_implicit_order_is_found() {
    assert_eq!(check::cycle(&[vec![1], vec![2], vec![0]]), Some(vec![0, 1, 2, 0]));
    assert_eq!(check::cycle(&[vec![], vec![0], vec![1, 0]]), None);
    let long: Vec<Vec<usize>> = (0..200_000usize).map(|n| n.checked_sub(1).into_iter().collect()).collect();
    assert_eq!(check::cycle(&long), None);
}

fn values(arguments: &[&str]) -> Result<serde_json::Value, String> {
    let workflow = read(GOOD).unwrap();
    let extras = arguments
        .iter()
        .map(|argument| Extra::parse(argument))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|errors| errors.to_string())?;
    workflow.input_values(&extras).map(|values| json!(values)).map_err(|errors| errors.to_string())
}

#[test]
fn values_of_the_command_line_are_read_by_type() {
    let all = |no_interactive, who: &str| {
        Ok(json!({"no_interactive": no_interactive, "stop_containers": null, "release": "2.0",
            "who": who, "sizes": []}))
    };
    for text in ["True", "true", "yes", "on", "1", "y", "YES"] {
        assert_eq!(values(&["who=me", &format!("no_interactive={text}")]), all(true, "me"), "{text}");
    }
    for text in ["False", "no", "off", "0"] {
        assert_eq!(values(&["who=me", &format!("no_interactive={text}")]), all(false, "me"), "{text}");
    }
    assert_eq!(values(&["no_interactive=True who='you and me'"]), all(true, "you and me"));
    assert_eq!(values(&["who=a", "who=b"]), all(false, "b"), "later wins");
    assert_eq!(values(&[r#"{"who": "x=y", "no_interactive": "yes"}"#]), all(true, "x=y"));
    assert_eq!(values(&["who=", "sizes=1,two"]).unwrap()["sizes"], json!(["1", "two"]));
    assert_eq!(values(&["who=", "sizes=[1]", "stop_containers=no"]).unwrap()["sizes"], json!([1]));
    assert_eq!(values(&["who=x", "stop_containers=null"]), all(false, "x"));
}

#[test]
fn wrong_values_of_the_command_line_are_named() {
    let cases: [(&[&str], &str); 8] = [
        (&[], "-e: input \"who\" (string) is missing\n  help: give it with -e who=VALUE"),
        (
            &["who=x", "no_interactiv=True"],
            "-e no_interactiv: no input \"no_interactiv\"; did you mean \"no_interactive\"?\n  help: inputs of workflow \"backout-all\": no_interactive, stop_containers",
        ),
        (&["who=x", "no_interactive=maybe"], "-e no_interactive: expected true or false"),
        (&["who=x", "release=3"], "-e release: \"3\" is not one of \"1.0\", \"2.0\""),
        (&["who"], "-e: \"who\" is not of the form NAME=VALUE"),
        (&["who='x"], "-e: a quote in"),
        (&["{\"who\": 5}"], "-e:1:9: $.who: expected a value of type string, found 5"),
        (&["{\"who\": "], "-e:1:8: $.who: expected a value"),
    ];
    for (arguments, wanted) in cases {
        let found = values(arguments).unwrap_err();
        assert!(found.starts_with(wanted), "{arguments:?}:\n{found}");
    }
    assert!(matches!(Extra::parse("@vars.json"), Ok(Extra::File(path)) if path == "vars.json"));
    assert!(Extra::parse("@").is_err());
}

#[test]
fn a_secret_input_is_not_repeated_in_messages() {
    let spec: InputSpec = serde_json::from_value(json!({"type": "integer", "secret": true})).unwrap();
    assert!(!spec.parse("hunter2").unwrap_err().contains("hunter2"));
    assert!(!spec.accept(&json!("hunter2")).unwrap_err().contains("hunter2"));
    for argument in ["pw=my hunter2", "pw='hunter2", "pw= hunter2"] {
        let message = Extra::parse(argument).unwrap_err().to_string();
        assert!(message.contains("pw=…") && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn pauses_grow_up_to_their_limit() {
    let retry: Retry =
        serde_json::from_value(json!({"attempts": 5, "delay": "10s", "backoff": 3.0, "max-delay": "1m"})).unwrap();
    let seconds: Vec<_> = (1..=5).map(|n| retry.delay_after(n).map(|d| d.get().as_secs())).collect();
    assert_eq!(seconds, [Some(10), Some(30), Some(60), Some(60), None]);
}

proptest! {
    #[test]
    fn no_cut_or_changed_workflow_panics(cut in 0..GOOD.len(), at in 0..GOOD.len(), with in any::<char>()) {
        if let Some(text) = GOOD.get(..cut) {
            prop_assert!(read(text).is_err());
        }
        if let (Some(before), Some(after)) = (GOOD.get(..at), GOOD.get(at + 1..)) {
            let _ = read(&format!("{before}{with}{after}"));
        }
    }

    #[test]
    fn no_argument_panics(argument in ".{0,60}") {
        let _ = values(&[&argument]);
    }
}

/// A workflow of so many steps, whose needs and conditions name other steps.
fn large(steps: usize, wrong: &str) -> String {
    let step = |number: usize| {
        let other = number.saturating_sub(1);
        format!(
            r#"{{"name": "s{number}", "component": "c", "operation": "update", "needs": [{}],
                "when": "steps.s{other}{wrong}.changed"}}"#,
            if number == 0 { String::new() } else { format!("\"s{other}{wrong}\"") }
        )
    };
    let steps: Vec<String> = (0..steps).map(step).collect();
    format!(r#"{{"name": "w", "steps": [{}]}}"#, steps.join(","))
}

#[test]
fn large_files_are_judged_too() {
    assert_eq!(read(&large(10_000, "")).unwrap().steps.len(), 10_000);
    let found = mistakes(&large(10_000, "x"));
    assert!(found.len() <= 60, "{}", found.len());
    assert!(found.last().is_some_and(|last| last.contains("more like these")), "{found:?}");
}
