//! What the types of a policy and of requests cannot say.

use std::collections::HashSet;

use super::{Field, Grant, Patterns, Policy, decides_code};
use crate::{Document, JsonPath, Mistakes, did_you_mean};

/// Interfaces that grants can be about.
const INTERFACES: [&str; 8] = ["systemd", "packages", "files", "exec", "host", "kubernetes", "http", "artifacts"];
/// Interfaces whose functions every plugin may call.
const FREE: [&str; 5] = ["log", "progress", "clock", "random", "operator"];

impl Document for Policy {
    const KIND: &'static str = "policy";

    fn check(&self, mistakes: &mut Mistakes) {
        let mut seen: HashSet<&Grant> = HashSet::new();
        for (index, grant) in self.grants.iter().enumerate() {
            let at = JsonPath::root().key("grants").index(index);
            if grant.plugin.is_empty() || grant.plugin.contains('*') {
                mistakes.add_with_help(
                    &at.key("plugin"),
                    format!("{:?} names no plugin", grant.plugin),
                    "a grant is for one plugin, by its component's name",
                );
            }
            check_line(&at, "allow", &grant.capability, &grant.patterns, false, mistakes);
            if !seen.insert(grant) {
                mistakes.add_with_help(&at, "this grant stands here twice", "remove one of them");
            }
        }
    }
}

/// Checks what requests and grants have in common. Only requests may name parameters.
pub(crate) fn check_line(
    at: &JsonPath,
    capability_key: &str,
    capability: &str,
    patterns: &Patterns,
    parameters: bool,
    mistakes: &mut Mistakes,
) {
    let capability_at = at.key(capability_key);
    let Some((interface, function)) = capability.split_once('.').filter(|(_, f)| !f.is_empty()) else {
        mistakes.add_with_help(
            &capability_at,
            format!("{capability:?} names no capability"),
            "a capability is INTERFACE.FUNCTION, for example \"systemd.stop\"",
        );
        return;
    };
    if FREE.contains(&interface) {
        mistakes.add_with_help(
            &capability_at,
            format!("{interface:?} needs no request and no grant"),
            "remove this line",
        );
        return;
    }
    let Some(fields) = Field::of_interface(interface) else {
        let near = did_you_mean(interface, INTERFACES.iter().chain(&["secrets"]).copied());
        mistakes.add_with_help(
            &capability_at,
            format!("no interface {interface:?}{near}"),
            format!("one of: {}, secrets", INTERFACES.join(", ")),
        );
        return;
    };
    if !function.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        let message = format!("{function:?} cannot be the name of a function");
        mistakes.add_with_help(&capability_at, message, "one line is about one function; there are no patterns here");
    }
    for (field, texts) in &patterns.0 {
        let field_at = at.key(field.as_str());
        if !fields.contains(field) {
            let known: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
            mistakes.add_with_help(
                &field_at,
                format!("`{}` says nothing about {capability}", field.as_str()),
                format!("it can be narrowed by: {}", known.join(", ")),
            );
        }
        if texts.is_empty() {
            let message = format!("an empty `{}` covers nothing", field.as_str());
            mistakes.add_with_help(&field_at, message, "give at least one pattern, or leave it out");
        }
        for (index, text) in texts.iter().enumerate() {
            check_pattern(&field_at.index(index), *field, index + 1 == texts.len(), text, parameters, mistakes);
        }
    }
    if let Some(needed) = needed(interface, function)
        && patterns.get(needed).is_none()
    {
        mistakes.add_with_help(
            at,
            format!("{capability} without `{}` covers nothing", needed.as_str()),
            format!("add `{}`", needed.as_str()),
        );
    }
}

fn check_pattern(at: &JsonPath, field: Field, last: bool, text: &str, parameters: bool, mistakes: &mut Mistakes) {
    if text.is_empty() && field != Field::Argv {
        mistakes.add(at, "an empty pattern covers nothing");
    }
    if text.contains("${") {
        if !parameters {
            mistakes.add_with_help(
                at,
                format!("{text:?} is text of a manifest"),
                "a policy holds what the parameters' values make of it: see `runner plugin grants`",
            );
        } else if !text.split("${").skip(1).all(|rest| rest.starts_with("parameters.") && rest.contains('}')) {
            mistakes.add_with_help(
                at,
                format!("{text:?} is no pattern"),
                "only `${parameters.NAME}` is replaced in a request",
            );
        }
    }
    match field {
        Field::Paths | Field::Directories if !text.starts_with('/') && !text.starts_with("${") => {
            mistakes.add(at, format!("{text:?} is no absolute path"));
        }
        Field::Paths | Field::Directories if text.split('/').any(|segment| matches!(segment, "." | "..")) => {
            mistakes.add(at, format!("{text:?} holds `.` or `..` and would cover nothing"));
        }
        Field::Environment if decides_code(text) => {
            mistakes.add_with_help(
                at,
                format!("{text:?} is never given to a command"),
                "it decides which code any command runs",
            );
        }
        Field::Argv if text == "**" && !last => {
            mistakes.add_with_help(
                at,
                "`**` stands for all further arguments and is the last token",
                "`*` stands for one argument",
            );
        }
        Field::Effects if !["read", "write-idempotent", "write-once"].contains(&text) => {
            let near = did_you_mean(text, ["read", "write-idempotent", "write-once"]);
            mistakes.add_with_help(
                at,
                format!("no effect class {text:?}{near}"),
                "one of: read, write-idempotent, write-once",
            );
        }
        Field::Methods if text != text.to_uppercase() => {
            mistakes.add(at, format!("methods are written {:?}", text.to_uppercase()));
        }
        Field::Hosts
        | Field::Clusters
        | Field::Units
        | Field::Packages
        | Field::Repositories
        | Field::Paths
        | Field::Argv
        | Field::Environment
        | Field::Users
        | Field::Directories
        | Field::Effects
        | Field::Kinds
        | Field::Namespaces
        | Field::Names
        | Field::Urls
        | Field::Methods
        | Field::Secrets => {}
    }
}

/// The field without which a function's line covers nothing.
fn needed(interface: &str, function: &str) -> Option<Field> {
    match (interface, function) {
        ("systemd", "daemon-reload")
        | ("packages", "repositories" | "refresh")
        | ("artifacts", "put-data" | "get-data")
        | ("kubernetes", "servers")
        | ("host", _) => None,
        ("systemd", _) => Some(Field::Units),
        ("packages", "set-repository") => Some(Field::Repositories),
        ("packages", _) => Some(Field::Packages),
        ("files" | "artifacts", _) => Some(Field::Paths),
        ("exec", _) => Some(Field::Argv),
        ("kubernetes", _) => Some(Field::Kinds),
        ("http", _) => Some(Field::Urls),
        ("secrets", _) => Some(Field::Secrets),
        // An interface that is not known is reported as such.
        (_, _) => None,
    }
}
