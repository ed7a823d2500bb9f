//! Objects of Kubernetes as JSON: what every backend reads from them, and how it names them to people.

use serde_json::{Map, Value};

use super::failure;
use crate::contract::Failure;
use crate::contract::kubernetes::{Eviction, Identity, ServedKind, Subject, WaitOrder};

/// Annotation of what is created: the id of the effect that did it.
pub(crate) const EFFECT: &str = "/metadata/annotations/runner~1effect";

/// Characters of an object that a message shows.
const SHOWN: usize = 600;

/// Conditions that one call waits for at a cluster: each is a watch and holds what it watches.
const MOST_WAITS: usize = 256;

/// Name of the kind that is waited for.
pub(crate) fn waited_for(order: &WaitOrder) -> &str {
    match &order.subject {
        Subject::Object(at) => &at.kind.name,
        Subject::Selection(selection) => &selection.kind.name,
    }
}

/// Refuses the item with this index where a call waits for too many.
///
/// # Errors
/// `too-large`.
pub(crate) fn check_waits(index: usize, order: &WaitOrder) -> Result<(), Failure> {
    if index < MOST_WAITS {
        return Ok(());
    }
    let message = format!("a call waits for {MOST_WAITS} conditions at most; make one of a selection");
    Err(failure::too_large(waited_for(order), message))
}

/// A text field of an object.
pub(crate) fn text<'o>(object: &'o Value, pointer: &str) -> &'o str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number field of an object.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// Name of an object.
pub(crate) fn name_of(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Namespace of an object; empty when it is in none.
pub(crate) fn namespace_of(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// The namespace that an object of a kind is in; empty: none. One that is not given would be chosen behind the back of
/// whoever granted namespaces: it is refused.
pub(crate) fn namespace_in<'n>(kind: &ServedKind, given: Option<&'n str>, name: &str) -> Result<&'n str, Failure> {
    match (kind.namespaced, given.unwrap_or_default()) {
        (false, _) => Ok(""),
        (true, "") => {
            let name = title(&kind.kind.name, "", name);
            Err(failure::invalid(&name, format!("{name} is given without the namespace that its kind needs")))
        }
        (true, given) => Ok(given),
    }
}

/// Uid of an object.
pub(crate) fn uid_of(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Whether somebody asked for its end.
pub(crate) fn is_ending(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// A field that is set, its containers made.
pub(crate) fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut target = object;
    for segment in pointer.split('/').skip(1) {
        if !target.is_object() {
            *target = Value::Object(Map::new());
        }
        let segment = segment.replace("~1", "/").replace("~0", "~");
        let Value::Object(fields) = target else {
            return;
        };
        target = fields.entry(segment).or_insert(Value::Null);
    }
    *target = value;
}

/// A field that is removed.
pub(crate) fn unset(object: &mut Value, pointer: &str) {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(Value::Object(fields)) = object.pointer_mut(parent)
    {
        fields.shift_remove(&name.replace("~1", "/").replace("~0", "~"));
    }
}

/// A condition of an object's status: `True`, `False`, `Unknown`; empty when it has none of that type.
pub(crate) fn condition<'o>(object: &'o Value, kind: &str) -> &'o str {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .and_then(|list| list.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(kind)))
        .and_then(|condition| condition.get("status"))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Which object it is, and in which state.
pub(crate) fn identity(object: &Value) -> Identity {
    let namespace = namespace_of(object);
    Identity {
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: name_of(object).to_owned(),
        uid: uid_of(object).to_owned(),
        resource_version: text(object, "/metadata/resourceVersion").to_owned(),
    }
}

/// Title of an object for people.
pub(crate) fn title(kind: &str, namespace: &str, name: &str) -> String {
    match namespace.is_empty() {
        true => format!("{kind} {name}"),
        false => format!("{kind} {namespace}/{name}"),
    }
}

/// What of an object tells most about its state.
fn shorten(object: &Value) -> String {
    if object.is_null() {
        return "nothing".to_owned();
    }
    let told = object.get("status").unwrap_or(object).to_string();
    match told.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &told[..end]),
        None => told,
    }
}

/// What tells most about one of many objects.
fn outline(object: &Value) -> String {
    let phase = text(object, "/status/phase");
    let ready = condition(object, "Ready");
    let mut told = name_of(object).to_owned();
    for (what, value) in [("phase", phase), ("ready", ready)] {
        if !value.is_empty() {
            told = format!("{told} {what}={value}");
        }
    }
    told
}

/// The end of a wait whose condition did not come true; `last` is what was there at last, of one object or of many.
pub(crate) fn not_come_true(subject: &str, condition: &str, milliseconds: u32, one: bool, last: &[Value]) -> Failure {
    let shown = match one {
        true => shorten(last.first().unwrap_or(&Value::Null)),
        false => last.iter().map(outline).collect::<Vec<_>>().join("; "),
    };
    failure::timed_out(
        subject,
        format!("{subject}: `{condition}` did not come true in {milliseconds} ms; there was last: {shown}"),
    )
}

/// Milliseconds as people say them.
fn seconds(milliseconds: u32) -> String {
    format!("{} s", milliseconds.div_ceil(1000))
}

/// The end of the time for an eviction: a budget did not allow it, or the Pod was evicted and is not gone.
pub(crate) fn not_evicted(item: &Eviction, budget: Option<String>) -> Failure {
    let title = title("Pod", &item.namespace, &item.name);
    match budget {
        Some(budget) => failure::conflict(
            &title,
            format!("{title} cannot be evicted: {budget} did not allow it within {}", seconds(item.time_out)),
            vec![budget],
            None,
        ),
        None => failure::timed_out(
            &title,
            format!(
                "{title} was evicted, but is not gone after {}: its grace period is longer, or the kubelet of its node \
                 does not end it",
                seconds(item.time_out)
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::FailureKind;
    use crate::contract::kubernetes::ObjectKind;

    #[test]
    fn a_namespace_is_given_and_not_chosen() {
        let kind = |namespaced| ServedKind {
            kind: ObjectKind { api_version: "apps/v1".to_owned(), name: "StatefulSet".to_owned() },
            plural: "statefulsets".to_owned(),
            namespaced,
        };
        assert_eq!(namespace_in(&kind(true), Some("monitoring"), "x"), Ok("monitoring"));
        for absent in [None, Some("")] {
            let failure = namespace_in(&kind(true), absent, "x").unwrap_err();
            assert_eq!((failure.kind, failure.subject.as_str()), (FailureKind::Invalid, "StatefulSet x"));
            assert_eq!(namespace_in(&kind(false), absent, "x"), Ok(""));
        }
    }
}
