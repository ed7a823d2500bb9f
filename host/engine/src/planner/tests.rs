//! What planning refuses, as the operator reads it.

use std::sync::Arc;

use runner_types::{Digest, Manifest};
use serde_json::json;

use super::*;
use crate::testing::inventory;

/// A world of the components `p` (whose operations know `size` and `name`) and `c` (which verifies nothing), and these
/// workflows.
fn world(workflows: &[(&str, &Value)]) -> World {
    let parameters = json!({"type": "object", "additionalProperties": false, "properties": {
        "size": {"type": "integer", "default": 1}, "name": {"type": "string"}, "wipe": {"type": "boolean"},
    }});
    let operation = |scope: &str| json!({"scope": scope, "parameters": parameters});
    let prompt = |key: &str, more: Value| {
        let mut prompt = json!({"key": key, "operations": ["update"], "message": "m"});
        prompt.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        prompt
    };
    let plugin = |name: &str, operations: Value| {
        let manifest: Manifest = serde_json::from_value(json!({
            "name": name, "version": "1.0.0", "api": "0.1.0", "description": "d", "operations": operations,
            "prompts": [
                prompt("sure", json!({})), prompt("wait", json!({"kind": "pause"})),
                prompt("which", json!({"kind": "choose", "options": ["one", "two"]})),
                prompt("any", json!({"kind": "choose"})),
                prompt("wiping", json!({"enabled-by": "wipe"})),
            ],
        }))
        .unwrap();
        (name.to_owned(), (Arc::new(manifest), Digest::zero()))
    };
    let all = json!({"update": operation("host"), "backout": operation("host"), "backup": operation("cluster"),
        "verify": operation("cluster"), "maintenance": operation("host")});
    let loaded = |(name, workflow): &(&str, &Value)| {
        let text = serde_json::to_string_pretty(workflow).unwrap();
        ((*name).to_owned(), runner_types::load(&text, name).unwrap_or_else(|error| panic!("{error}")))
    };
    World {
        inventory: inventory().resolve(),
        clusters: Vec::new(),
        components: IndexMap::new(),
        plugins: [plugin("p", all), plugin("c", json!({"backup": operation("cluster")}))].into(),
        workflows: workflows.iter().map(loaded).collect(),
        scope: Scope::default(),
    }
}

fn planned(world: &World) -> Result<Plan, String> {
    let inputs = world.workflows["w.json"].value().input_values(&[]).map_err(|error| error.to_string())?;
    plan(world, "w.json", &inputs).map_err(|error| error.to_string())
}

/// A workflow with these fields beside a look at `p`.
fn with(fields: Value) -> Value {
    let mut workflow =
        json!({"name": "w", "inputs": {"n": {"type": "integer", "default": 3}}, "steps": [look(json!({}))]});
    workflow.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap());
    workflow
}

fn look(extra: Value) -> Value {
    let mut step = json!({"name": "look", "component": "p", "operation": "verify"});
    step.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
    step
}

/// The same with a rolling block alone, of these fields.
fn rolling(fields: Value) -> Value {
    let mut block = json!({"over": "ab", "steps": [{"name": "one", "component": "p", "operation": "update"}]});
    block.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap());
    with(json!({"steps": [{"name": "nodes", "rolling": block}]}))
}

/// What is said of a workflow; each expected text stands in it, beside nothing else.
fn refused(workflow: &Value, expected: &[&str]) {
    let found = planned(&world(&[("w.json", workflow)])).map(|_| "planned".to_owned()).unwrap_or_else(|error| error);
    let lines: Vec<&str> = found.lines().filter(|line| !line.starts_with("  help")).collect();
    assert_eq!(lines.len(), expected.len(), "{found}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with("w.json:") && line.contains(expected), "{found}\nwanted: {expected}");
    }
}

fn accepted(workflow: &Value) -> Plan {
    planned(&world(&[("w.json", workflow)])).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_text_that_is_evaluated_must_compile() {
    let broken = "${inputs.n +}";
    let prompt = json!({"message": broken});
    let cases = [
        (with(json!({"steps": [look(json!({"with": {"name": ["x", broken]}}))]})), "$.steps[0].with.name[1]"),
        (with(json!({"steps": [look(json!({"when": "inputs.n +"}))]})), "$.steps[0].when"),
        (with(json!({"vars": {"v": broken}})), "$.vars.v"),
        (with(json!({"confirm": {"heading": broken, "message": "Go?"}})), "$.confirm.heading"),
        (with(json!({"confirm": prompt})), "$.confirm.message"),
        (with(json!({"confirm": {"message": "Go?", "when": "inputs.n ="}})), "$.confirm.when"),
        (
            with(json!({"preconditions": [{"name": "a", "component": "p", "with": {"name": broken}}]})),
            "$.preconditions[0].with.name",
        ),
        (with(json!({"preconditions": [{"name": "a", "check": "1 <", "message": "m"}]})), "$.preconditions[0].check"),
        (
            with(json!({"preconditions": [{"name": "a", "check": "true", "message": broken}]})),
            "$.preconditions[0].message",
        ),
        (rolling(json!({"vars": {"v": broken}})), "$.steps[0].rolling.vars.v"),
        (
            rolling(json!({"maintenance": [{"component": "p", "with": {"name": broken}}]})),
            "$.steps[0].rolling.maintenance[0].with.name",
        ),
        (rolling(json!({"pause": {"before": prompt}})), "$.steps[0].rolling.pause.before.message"),
        (
            rolling(json!({"health": [{"component": "p", "with": {"name": broken}}]})),
            "$.steps[0].rolling.health[0].with.name",
        ),
        (rolling(json!({"health": [{"component": "p", "when": "1 <"}]})), "$.steps[0].rolling.health[0].when"),
    ];
    for (workflow, place) in cases {
        refused(&workflow, &[&format!(" {place}: this is no expression: ")]);
    }
}

#[test]
fn every_name_is_known_where_it_is_used() {
    let step = |when: &str, more: Value| {
        let mut step = look(json!({"name": "second", "when": when}));
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with(json!({"vars": {"v": 1}, "steps": [look(json!({"name": "first"})), step]}))
    };
    let gate = |gate: Value| rolling(json!({"vars": {"mine": "${host.name}"}, "health": [gate]}));
    let cases = [
        (
            step("inputz.n > 1", json!({})),
            "$.steps[1].when",
            "nothing is known as `inputz` here; did you mean \"inputs\"?",
        ),
        (step("inputs.m > 1", json!({})), "$.steps[1].when", "no input \"m\"; did you mean \"n\"?"),
        (step("vars.w > 1", json!({})), "$.steps[1].when", "no var \"w\"; did you mean \"v\"?"),
        (step("host.name == 'a'", json!({})), "$.steps[1].when", "nothing is known as `host` here"),
        (step("steps.fist.changed", json!({})), "$.steps[1].when", "no step \"fist\"; did you mean \"first\"?"),
        (
            step("steps.first.changed", json!({"needs": []})),
            "$.steps[1].when",
            "the step \"first\" need not have ended by then",
        ),
        (
            step("true", json!({"with": {"name": "x ${[1].exists(one, one == two)}"}})),
            "$.steps[1].with.name",
            "nothing is known as `two` here",
        ),
        (
            gate(json!({"component": "p", "when": "host.name == 'a'"})),
            "$.steps[0].rolling.health[0].when",
            "nothing is known as `host` here",
        ),
        (
            gate(json!({"component": "p", "with": {"name": "${vars.mine}"}})),
            "$.steps[0].rolling.health[0].with.name",
            "no var \"mine\"",
        ),
        (
            with(json!({"preconditions": [{"name": "a", "check": "steps.first.ok", "message": "m"}]})),
            "$.preconditions[0].check",
            "nothing is known as `steps` here",
        ),
    ];
    for (workflow, place, reason) in cases {
        refused(&workflow, &[&format!(" {place}: ")]);
        refused(&workflow, &[reason]);
    }
    for when in [
        "steps.first.changed",
        "has(inputs.m) && inputs.m > 1 && has(vars.w)",
        "vars.v == 1 && type(inputs.n) == int",
        "[1].exists(one, one == inputs.n) || {'a': 1}.all(key, key == 'a')",
        "components.p.failed.exists(text, text.contains('x')) || 'p' in backups",
    ] {
        accepted(&step(when, json!({})));
    }
    accepted(&rolling(
        json!({"vars": {"mine": "${host.name}"}, "pause": {"before": {"message": "${vars.mine} ${host.name}"}}}),
    ));
}

#[test]
fn a_file_that_several_steps_name_is_said_to_be_wrong_once() {
    let part = json!({"name": "part", "steps": [look(json!({"with": {"size": "${1 +}"}}))]});
    let step = |name: &str| json!({"name": name, "workflow": "part.json", "inputs": {}});
    let whole = with(json!({"steps": [step("a"), step("b")]}));
    let error = planned(&world(&[("w.json", &whole), ("part.json", &part)])).unwrap_err();
    assert_eq!(error.matches("part.json:").count(), 1, "{error}");
    let inputs = json!({"x": "${1 +}"});
    let whole = with(json!({"steps": [{"name": "a", "workflow": "part.json", "inputs": inputs}]}));
    let part = json!({"name": "part", "inputs": {"x": {"type": "integer"}}, "steps": [look(json!({}))]});
    let error = planned(&world(&[("w.json", &whole), ("part.json", &part)])).unwrap_err();
    assert_eq!(error.matches("w.json:").count(), 1, "{error}");
}

#[test]
fn parameters_of_all_that_is_called_are_held_against_its_schema() {
    let wrong = json!({"sise": 1});
    refused(
        &rolling(json!({"maintenance": [{"component": "p", "with": wrong}]})),
        &[
            "$.steps[0].rolling.maintenance[0].with: parameters of p maintenance do not fit: Additional properties are not allowed ('sise' was unexpected)",
        ],
    );
    refused(
        &rolling(json!({"health": [{"component": "p", "with": {"size": "${inputs.n > 1}"}}]})),
        &["$.steps[0].rolling.health[0].with: parameters of p verify do not fit: /size: true is not of type"],
    );
    refused(
        &with(json!({"preconditions": [{"name": "a", "component": "*", "with": {"size": "${component}"}}]})),
        &["$.preconditions[0].with: parameters of p verify do not fit: /size: \"p\" is not of type"],
    );
    refused(
        &with(json!({"preconditions": [{"name": "a", "component": "p", "with": {"size": "${inputs.n / 0}"}}]})),
        &["$.preconditions[0].with.size: `inputs.n / 0`: "],
    );
    // What is only known on the way is held against the names.
    let later = json!({"maintenance": [{"component": "p", "with": {"name": "${host.name}", "sise": 1}}]});
    refused(&rolling(later), &["$.steps[0].rolling.maintenance[0].with: parameters of p maintenance do not fit"]);
    accepted(&rolling(json!({"maintenance": [{"component": "p", "with": {"name": "${host.name}"}}]})));
    // Nobody looks there.
    accepted(&with(json!({"preconditions": [{"name": "a", "component": "p", "with": wrong, "when": "inputs.n > 3"}]})));
}

#[test]
fn a_precondition_of_all_components_needs_all_to_verify() {
    let steps = json!([look(json!({})), {"name": "keep", "component": "c", "operation": "backup"}]);
    refused(
        &with(json!({"steps": steps, "preconditions": [{"name": "a", "component": "*"}]})),
        &["$.preconditions[0].component: c has no operation `verify`; it has backup"],
    );
}

#[test]
fn values_of_each_host_are_not_those_of_the_workflow() {
    let steps = json!([{"name": "one", "component": "p", "operation": "update", "with": {"name": "${vars.version}"}}]);
    let of_hosts = json!({"vars": {"version": "${host.name}"}, "steps": steps,
        "maintenance": [{"component": "p", "with": {"name": "${vars.version}"}}]});
    accepted(&rolling(of_hosts.clone()));
    // The block's win: what the workflow calls so is not what the step gets.
    let mut both = rolling(of_hosts);
    both["vars"] = json!({"version": 5, "wipe": false});
    accepted(&both);
    let mut none = rolling(json!({"steps": steps}));
    none["vars"] = json!({"other": 5});
    refused(&none, &["$.steps[0].rolling.steps[0].with.name: `vars.version`: "]);

    let steps = json!([{"name": "one", "component": "p", "operation": "update", "with": {"wipe": "${vars.wipe}"}}]);
    let mut wiping = rolling(json!({"vars": {"wipe": "${host.name == 'a'}"}, "steps": steps}));
    wiping["vars"] = json!({"wipe": false});
    let prompts = accepted(&wiping).prompts(&world(&[("w.json", &wiping)]));
    assert!(prompts.iter().any(|prompt| prompt.key == "wiping"), "{prompts:?}");
}

#[test]
fn an_answer_in_advance_is_one_that_answers() {
    let workflow = |key: &str, input: Value| {
        with(json!({
            "inputs": {"answer": input},
            "answers": {format!("p/{key}"): {"input": "answer"}},
            "steps": [{"name": "one", "component": "p", "operation": "update"}],
        }))
    };
    let answered = |key: &str, input: Value| {
        let workflow = workflow(key, input);
        let prompts = accepted(&workflow).prompts(&world(&[("w.json", &workflow)]));
        prompts.into_iter().find(|prompt| prompt.key == key).unwrap().answered
    };
    let boolean = |value: Value| json!({"type": "boolean", "default": value, "optional": true});
    let text = |value: Value| json!({"type": "string", "default": value, "optional": true});
    for (key, input, is_answered) in [
        ("sure", boolean(json!(true)), true),
        ("sure", boolean(json!(false)), true),
        ("sure", boolean(json!(null)), false),
        ("wait", boolean(json!(true)), true),
        ("wait", boolean(json!(false)), false),
        ("which", text(json!("two")), true),
        ("which", text(json!(null)), false),
    ] {
        assert_eq!(answered(key, input.clone()), is_answered, "{key} {input}");
    }
    let place = "$.answers[\"p/";
    for (key, input, wrong) in [
        ("sure", text(json!("yes")), "a value of type boolean answers p/sure, and input \"answer\" is of type string"),
        ("wait", json!({"type": "integer", "default": 1}), "a value of type boolean answers p/wait, and"),
        ("which", boolean(json!(true)), "a value of type string answers p/which, and"),
        ("which", text(json!("three")), "\"three\", the value of input \"answer\", is no option of p/which"),
        ("any", text(json!("three")), "\"three\", the value of input \"answer\", is no option of p/any"),
    ] {
        refused(&workflow(key, input), &[&format!("{place}{key}\"].input: {wrong}")]);
    }
}

#[test]
fn a_workflow_that_names_itself_is_not_planned() {
    let steps: Vec<Value> = (0..12).map(|n| json!({"name": format!("s{n}"), "workflow": "w.json"})).collect();
    refused(
        &with(json!({"steps": steps})),
        &["$.steps[0].workflow: this workflow is a part of itself: w.json -> w.json"],
    );
}

#[test]
fn a_part_is_named_from_the_file_that_names_it() {
    let step = |file: &str| json!([{"name": "a", "workflow": file}]);
    let part = |steps: Value| json!({"name": "part", "steps": steps});
    let (whole, a) = (with(json!({"steps": step("parts/a.json")})), part(step("./b.json")));
    let (b, other) = (part(json!([look(json!({}))])), part(json!([look(json!({})), look(json!({"name": "more"}))])));
    let world = world(&[("w.json", &whole), ("parts/a.json", &a), ("parts/b.json", &b), ("b.json", &other)]);
    let steps: Vec<String> = planned(&world).unwrap().outline().into_iter().map(|step| step.step).collect();
    assert_eq!(steps, ["a", "a/a", "a/a/look"]);
}
