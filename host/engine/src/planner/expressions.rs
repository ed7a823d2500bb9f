//! Expressions that can never be evaluated, found before anything begins.

use runner_types::{Known, Segment, Workflow, did_you_mean, segments};

use crate::expression::{Reference, Scope, references};

/// Why an expression can never be evaluated at its place, and what to do.
pub(super) struct Unsound {
    pub(super) message: String,
    pub(super) help: String,
}

/// What every expression may name.
const EVERYWHERE: &[&str] = &["inventory", "releases", "inputs", "vars"];

/// Whether an expression is CEL and names what is there when its turn comes.
pub(super) fn sound(text: &str, workflow: &Workflow, known: &Known<'_>, scope: &Scope) -> Result<(), Unsound> {
    let program = scope.compiled(text).map_err(|error| Unsound {
        message: format!("this is no expression: {error}"),
        help: "expressions are CEL, for example `inputs.release == '2.0'`".to_owned(),
    })?;
    for reference in references(&program) {
        named(text, reference, workflow, known)?;
    }
    Ok(())
}

fn named(text: &str, reference: Reference<'_>, workflow: &Workflow, known: &Known<'_>) -> Result<(), Unsound> {
    let Reference { name, field } = reference;
    let values = || EVERYWHERE.iter().chain(known.values).copied();
    if !values().any(|value| value == name) {
        let near = did_you_mean(name, values());
        let message = format!("`{text}`: nothing is known as `{name}` here{near}");
        return Err(Unsound { message, help: format!("known here: {}", values().collect::<Vec<_>>().join(", ")) });
    }
    let Some(field) = field else {
        return Ok(());
    };
    let fields: Vec<&str> = match name {
        "inputs" => workflow.inputs.keys().map(String::as_str).collect(),
        "vars" => {
            let of_block = known.vars.into_iter().flat_map(|vars| vars.keys());
            workflow.vars.keys().chain(of_block).map(String::as_str).collect()
        }
        "steps" => workflow.steps.iter().map(|step| step.name.as_str()).collect(),
        _ => return Ok(()),
    };
    let is_there = fields.contains(&field);
    if is_there && (name != "steps" || known.has_ended(field)) {
        return Ok(());
    }
    if is_there {
        let message = format!("`{text}`: the step {field:?} need not have ended by then");
        return Err(Unsound { message, help: format!("name it in \"needs\" of this step: \"needs\": [{field:?}]") });
    }
    let (what, near) = (name.trim_end_matches('s'), did_you_mean(field, fields.iter().copied()));
    Err(Unsound { message: format!("`{text}`: no {what} {field:?}{near}"), help: listed(name, &fields) })
}

fn listed(what: &str, names: &[&str]) -> String {
    match names {
        [] => format!("there are no {what} here"),
        names if names.len() > 20 => format!("there are {} {what}", names.len()),
        names => format!("{what}: {}", names.join(", ")),
    }
}

/// The expressions of a text that may hold `${…}`; one whose braces are wrong was refused when it was read.
pub(super) fn expressions_of(text: &str) -> Vec<&str> {
    segments(text)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|segment| match segment {
            Segment::Expr(expression) => Some(expression),
            Segment::Text(_) => None,
        })
        .collect()
}
