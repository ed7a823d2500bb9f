//! Who owns which field: paths of leaves, as server-side apply sees an object.
//!
//! A path is `/.field` and, for an item of a list with keys, `/=["key",…]`; `/` and `~` in names are escaped as in JSON
//! pointers. A list without keys is one leaf.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::kinds::group_of;
use super::patch::{item_key, list_keys};

/// Fields that nobody owns: they say which object it is, or are the API server's.
const NOBODYS: [&str; 11] = [
    "/.apiVersion",
    "/.kind",
    "/.metadata/.name",
    "/.metadata/.namespace",
    "/.metadata/.generateName",
    "/.metadata/.uid",
    "/.metadata/.resourceVersion",
    "/.metadata/.generation",
    "/.metadata/.creationTimestamp",
    "/.metadata/.managedFields",
    "/.status",
];

fn keys_of(kind: &str, parent: &str, name: &str) -> &'static [&'static str] {
    let group = group_of(kind);
    let built_in = matches!(group, "" | "apps" | "batch" | "policy" | "autoscaling") || group.ends_with(".k8s.io");
    match built_in {
        true => list_keys(kind, parent, name),
        false => &[],
    }
}

/// The leaves of an object that somebody can own.
pub(crate) fn leaves(object: &Value, kind: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(object, String::new(), kind, "", "", &mut found);
    found.retain(|path| !NOBODYS.iter().any(|nobodys| within(path, nobodys)));
    found
}

/// Whether a path is another one or below it.
pub(crate) fn within(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

fn collect(value: &Value, path: String, kind: &str, parent: &str, name: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                collect(value, format!("{path}/.{}", escape(field)), kind, name, field, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let keys = keys_of(kind, parent, name);
            let all: Option<Vec<Vec<Value>>> = items.iter().map(|item| item_key(item, keys)).collect();
            match all {
                Some(all) if !keys.is_empty() => {
                    for (item, key) in items.iter().zip(all) {
                        let key = escape(&Value::Array(key).to_string());
                        collect(item, format!("{path}/={key}"), kind, parent, name, found);
                    }
                }
                _ => {
                    found.insert(path);
                }
            }
        }
        _ => {
            found.insert(path);
        }
    }
}

/// Walks to where a path leads.
fn segments(path: &str) -> impl Iterator<Item = (char, String)> + '_ {
    path.split('/').skip(1).filter_map(|segment| {
        let kind = segment.chars().next()?;
        Some((kind, unescape(&segment[kind.len_utf8()..])))
    })
}

struct Place<'k> {
    kind: &'k str,
    parent: String,
    name: String,
}

impl<'k> Place<'k> {
    fn root(kind: &'k str) -> Self {
        Self { kind, parent: String::new(), name: String::new() }
    }

    fn enter(&mut self, field: &str) {
        self.parent = std::mem::replace(&mut self.name, field.to_owned());
    }

    /// The index of the item with this key.
    fn find(&self, items: &[Value], key: &str) -> Option<usize> {
        let wanted: Vec<Value> = serde_json::from_str(key).ok()?;
        let keys = keys_of(self.kind, &self.parent, &self.name);
        items.iter().position(|item| item_key(item, keys).as_ref() == Some(&wanted))
    }
}

/// The value at a path.
pub(crate) fn get<'o>(object: &'o Value, kind: &str, path: &str) -> Option<&'o Value> {
    let mut place = Place::root(kind);
    let mut value = object;
    for (sort, segment) in segments(path) {
        value = match sort {
            '.' => {
                place.enter(&segment);
                value.get(&segment)?
            }
            _ => {
                let items = value.as_array()?;
                items.get(place.find(items, &segment)?)?
            }
        };
    }
    Some(value)
}

/// Puts a value at a path; what is on the way is made, list items with their keys.
pub(crate) fn put(object: &mut Value, kind: &str, path: &str, new: Value) {
    let mut place = Place::root(kind);
    let mut value = object;
    for (sort, segment) in segments(path) {
        if sort == '.' {
            if !value.is_object() {
                *value = Value::Object(Map::new());
            }
            let Value::Object(fields) = value else { return };
            place.enter(&segment);
            value = fields.entry(segment).or_insert(Value::Null);
        } else {
            if !value.is_array() {
                *value = Value::Array(Vec::new());
            }
            let Value::Array(items) = value else { return };
            let index = match place.find(items, &segment) {
                Some(index) => index,
                None => {
                    let keys = keys_of(kind, &place.parent, &place.name);
                    let held: Vec<Value> = serde_json::from_str(&segment).unwrap_or_default();
                    // A protocol that nobody wrote is TCP without being written.
                    let written = |(key, value): &(String, Value)| key != "protocol" || value != "TCP";
                    let named = keys.iter().map(|key| (*key).to_owned());
                    let item: Map<String, Value> = named.zip(held).filter(written).collect();
                    items.push(Value::Object(item));
                    items.len() - 1
                }
            };
            value = &mut items[index];
        }
    }
    *value = new;
}

/// Removes what is at each path, and containers that it leaves empty. What tells items apart goes last: by it the other
/// fields are found.
pub(crate) fn remove_all<'p>(object: &mut Value, kind: &str, paths: impl IntoIterator<Item = &'p String>) {
    const TELLING: [&str; 12] = [
        ".name",
        ".containerPort",
        ".port",
        ".protocol",
        ".mountPath",
        ".type",
        ".uid",
        ".ip",
        ".key",
        ".topologyKey",
        ".whenUnsatisfiable",
        ".effect",
    ];
    let mut paths: Vec<&String> = paths.into_iter().collect();
    paths.sort_by_key(|path| {
        let mut segments = path.rsplit('/');
        let last = segments.next().unwrap_or_default();
        let of_item = segments.next().is_some_and(|above| above.starts_with('='));
        let telling = of_item && TELLING.contains(&last);
        (telling, std::cmp::Reverse(path.matches('/').count()))
    });
    for path in paths {
        remove(object, kind, path);
    }
}

/// Removes what is at a path, and containers that it leaves empty.
fn remove(object: &mut Value, kind: &str, path: &str) {
    let segments: Vec<(char, String)> = segments(path).collect();
    remove_at(object, &mut Place::root(kind), &segments);
}

fn remove_at(value: &mut Value, place: &mut Place<'_>, segments: &[(char, String)]) {
    let Some(((sort, segment), rest)) = segments.split_first() else {
        return;
    };
    if *sort == '.' {
        place.enter(segment);
        let Value::Object(fields) = value else { return };
        if let Some(inner) = fields.get_mut(segment) {
            remove_at(inner, place, rest);
            if rest.is_empty() || is_empty(inner) {
                fields.shift_remove(segment);
            }
        }
        return;
    }
    let Value::Array(items) = value else { return };
    if let Some(index) = place.find(items, segment) {
        let keys = keys_of(place.kind, &place.parent, &place.name);
        remove_at(&mut items[index], place, rest);
        // What is left of an item are the keys that told it apart: it is gone.
        let bare = items[index]
            .as_object()
            .is_none_or(|fields| fields.keys().all(|field| keys.contains(&field.as_str()) && removed_key(rest, keys)));
        if rest.is_empty() || bare {
            items.remove(index);
        }
    }
}

/// Whether the path removed is one of the item's keys.
fn removed_key(rest: &[(char, String)], keys: &[&str]) -> bool {
    matches!(rest, [(_, field)] if keys.contains(&field.as_str()))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "labels": {"a/b": "1"}},
            "spec": {"template": {"spec": {"containers": [
                {"name": "a", "image": "a:1", "ports": [{"containerPort": 80}], "args": ["x", "y"]}
            ]}}},
            "status": {"replicas": 1}
        })
    }

    #[test]
    fn leaves_are_found_read_removed_and_put_back() {
        let kind = "Deployment.apps";
        let object = deployment();
        let paths = leaves(&object, kind);
        assert!(paths.contains("/.metadata/.labels/.a~1b"));
        assert!(paths.contains("/.spec/.template/.spec/.containers/=[\"a\"]/.args"));
        assert!(!paths.iter().any(|path| path.starts_with("/.status")), "{paths:?}");
        let mut copy = json!({});
        for path in &paths {
            put(&mut copy, kind, path, get(&object, kind, path).cloned().unwrap_or_default());
        }
        assert_eq!(leaves(&copy, kind), paths);
        remove_all(&mut copy, kind, &paths);
        assert_eq!(copy, json!({}));
    }

    #[test]
    fn an_item_stays_while_something_of_it_stays() {
        let kind = "Deployment.apps";
        let mut object = deployment();
        remove(&mut object, kind, "/.spec/.template/.spec/.containers/=[\"a\"]/.args");
        assert_eq!(object.pointer("/spec/template/spec/containers/0/image"), Some(&json!("a:1")));
        assert_eq!(object.pointer("/spec/template/spec/containers/0/args"), None);
    }

    #[test]
    fn lists_of_unknown_kinds_are_whole() {
        let object = json!({"spec": {"containers": [{"name": "a"}]}});
        assert_eq!(leaves(&object, "Route.example.com").into_iter().collect::<Vec<_>>(), ["/.spec/.containers"]);
    }
}
