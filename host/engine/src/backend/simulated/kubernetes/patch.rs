//! JSON merge patch and Kubernetes' strategic merge patch.

use serde_json::{Map, Value};

/// JSON merge patch (RFC 7386): null removes.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else {
        return;
    };
    for (name, value) in fields {
        if value.is_null() {
            object.shift_remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The fields by which the items of a list are told apart; none: the list is one value. `parent` is what the list's
/// owner stands under: Kubernetes' lists are told apart by their place, not by their name alone.
pub(crate) fn list_keys(kind: &str, parent: &str, name: &str) -> &'static [&'static str] {
    match (parent, name) {
        (_, "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets") => {
            &["name"]
        }
        (_, "volumeMounts") => &["mountPath"],
        (_, "conditions" | "addresses") => &["type"],
        (_, "ownerReferences") => &["uid"],
        (_, "hostAliases") => &["ip"],
        (_, "topologySpreadConstraints") => &["topologyKey", "whenUnsatisfiable"],
        ("spec", "ports") if kind == "Service" => &["port", "protocol"],
        (_, "ports") if kind != "NetworkPolicy.networking.k8s.io" && kind != "EndpointSlice.discovery.k8s.io" => {
            &["containerPort", "protocol"]
        }
        (_, "secrets") if kind == "ServiceAccount" => &["name"],
        ("spec", "taints") if kind == "Node" => &["key", "effect"],
        _ => &[],
    }
}

/// What an item's key fields hold; a port without a protocol is TCP.
pub(crate) fn item_key(item: &Value, keys: &[&str]) -> Option<Vec<Value>> {
    keys.iter()
        .map(|key| match item.get(key) {
            Some(value) => Some(value.clone()),
            None if *key == "protocol" => Some(Value::from("TCP")),
            None => None,
        })
        .collect()
}

/// Strategic merge patch: as merge, but lists with keys are merged item by item. Understands `$patch: delete` and
/// `$patch: replace`.
pub(crate) fn strategic(target: &mut Value, patch: &Value, kind: &str) {
    strategic_at(target, patch, kind, "");
}

fn strategic_at(target: &mut Value, patch: &Value, kind: &str, parent: &str) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    let replace = fields.get("$patch").and_then(Value::as_str) == Some("replace");
    if !target.is_object() || replace {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else {
        return;
    };
    for (name, value) in fields {
        if name.starts_with('$') {
            continue;
        }
        match value {
            Value::Null => {
                object.shift_remove(name);
            }
            Value::Array(items) => {
                let keys = list_keys(kind, parent, name);
                let list = object.entry(name.clone()).or_insert(Value::Null);
                strategic_list(list, items, keys, kind, name);
            }
            value => {
                let inner = object.entry(name.clone()).or_insert(Value::Null);
                strategic_at(inner, value, kind, name);
            }
        }
    }
}

fn strategic_list(target: &mut Value, items: &[Value], keys: &[&str], kind: &str, name: &str) {
    let plain =
        |items: &[Value]| Value::Array(items.iter().filter(|item| directive(item).is_none()).cloned().collect());
    let replaced = items.iter().any(|item| directive(item) == Some("replace"));
    let Value::Array(list) = target else {
        *target = plain(items);
        return;
    };
    if keys.is_empty() || replaced {
        *target = plain(items);
        return;
    }
    for item in items {
        let key = item_key(item, keys);
        let place = list.iter().position(|there| key.is_some() && item_key(there, keys) == key);
        match (place, directive(item)) {
            (Some(place), Some("delete")) => {
                list.remove(place);
            }
            (None, Some("delete")) => {}
            (Some(place), _) => strategic_at(&mut list[place], item, kind, name),
            (None, _) => list.push(item.clone()),
        }
    }
}

fn directive(item: &Value) -> Option<&str> {
    item.get("$patch").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn merge_patches() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        merge(&mut target, &json!({"a": {"b": null, "d": {"e": null}}, "l": [3]}));
        assert_eq!(target, json!({"a": {"c": 2, "d": {}}, "l": [3]}));
    }

    #[test]
    fn strategic_patches_merge_lists_by_key() {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "a:1", "args": ["x"]}, {"name": "b"}]}});
        let patch = json!({"spec": {"containers": [{"name": "a", "image": "a:2", "args": ["y"]}, {"name": "b", "$patch": "delete"}, {"name": "c"}]}});
        strategic(&mut pod, &patch, "Pod");
        assert_eq!(pod, json!({"spec": {"containers": [{"name": "a", "image": "a:2", "args": ["y"]}, {"name": "c"}]}}));
        let mut node =
            json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure"}]}});
        strategic(&mut node, &json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}), "Node");
        assert_eq!(node.pointer("/status/conditions/0/status"), Some(&json!("Unknown")));
        assert_eq!(node.pointer("/status/conditions/1/type"), Some(&json!("DiskPressure")));
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3i64).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("name|containers|ports|conditions|type|a", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_second_time_changes_nothing(target in json_value(), patch in json_value()) {
            let mut once = target.clone();
            merge(&mut once, &patch);
            let mut twice = once.clone();
            merge(&mut twice, &patch);
            prop_assert_eq!(&once, &twice);
        }

        #[test]
        fn strategic_never_panics(target in json_value(), patch in json_value()) {
            let mut target = target;
            strategic(&mut target, &patch, "Service");
        }
    }
}
