//! Server-side apply: fields have owners, and conflict when another one holds another value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fields::{get, leaves, put, remove_all, within};
use super::objects::{kind_of, name_of, namespace_of, set, text, unset};
use crate::backend::failure;
use crate::backend::simulated::model::Model;
use crate::contract::Failure;

const MANAGED: &str = "/metadata/managedFields";

/// Owners of an object's fields.
pub(crate) type Owners = BTreeMap<String, BTreeSet<String>>;

/// The owners that an object notes.
pub(crate) fn owners(object: &Value) -> Owners {
    let list = object.pointer(MANAGED).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|entry| {
            let fields = entry.get("fields").and_then(Value::as_array);
            let paths = fields.into_iter().flatten().filter_map(Value::as_str);
            (text(entry, "/manager").to_owned(), paths.map(str::to_owned).collect())
        })
        .collect()
}

/// Notes owners in an object.
pub(crate) fn set_owners(object: &mut Value, owners: &Owners) {
    let list: Vec<Value> = owners
        .iter()
        .filter(|(_, paths)| !paths.is_empty())
        .map(|(manager, paths)| json!({"manager": manager, "fields": paths}))
        .collect();
    match list.is_empty() {
        true => unset(object, MANAGED),
        false => set(object, MANAGED, list.into()),
    }
}

/// Gives `manager` what differs between two states of an object.
pub(crate) fn own_changes(before: &Value, after: &mut Value, kind: &str, manager: &str) {
    let paths = leaves(after, kind);
    let changed: BTreeSet<String> =
        paths.iter().filter(|path| get(before, kind, path) != get(after, kind, path)).cloned().collect();
    let gone: BTreeSet<String> = leaves(before, kind).difference(&paths).cloned().collect();
    if changed.is_empty() && gone.is_empty() {
        return;
    }
    let mut all = owners(before);
    for owned in all.values_mut() {
        owned.retain(|path| !changed.contains(path) && !gone.contains(path));
    }
    all.entry(manager.to_owned()).or_default().extend(changed);
    set_owners(after, &all);
}

/// What an apply asks for.
pub(crate) struct Apply<'a> {
    pub(crate) body: &'a Value,
    pub(crate) manager: &'a str,
    pub(crate) force: bool,
    pub(crate) take_over: &'a [String],
}

/// The object that an apply makes of what is there.
pub(crate) fn merged(live: &Value, apply: &Apply<'_>) -> Result<Value, Failure> {
    let kind = kind_of(apply.body);
    let wanted = leaves(apply.body, &kind);
    let mut all = owners(live);
    let mut ours = all.remove(apply.manager).unwrap_or_default();
    for manager in apply.take_over {
        ours.extend(all.remove(manager).unwrap_or_default());
    }
    let differs = |path: &String| get(live, &kind, path) != get(apply.body, &kind, path);
    let touches = |a: &str, b: &str| within(a, b) || within(b, a);
    let mut conflicts = Vec::new();
    for path in wanted.iter().filter(|path| differs(path)) {
        for (manager, owned) in &all {
            if owned.iter().any(|other| touches(other, path)) {
                conflicts.push((manager.clone(), path.clone()));
            }
        }
    }
    if !conflicts.is_empty() && !apply.force {
        let named: Vec<String> =
            conflicts.iter().map(|(manager, path)| format!("{manager}: {}", readable(path))).collect();
        let title = format!("{} {}/{}", text(apply.body, "/kind"), namespace_of(apply.body), name_of(apply.body));
        return Err(failure::conflict(
            &title,
            format!("apply of {title} conflicts with fields of other managers: {}", named.join(", ")),
            named,
            None,
        ));
    }
    for (manager, path) in conflicts {
        if let Some(owned) = all.get_mut(&manager) {
            owned.retain(|other| !touches(other, &path));
        }
    }
    let mut object = live.clone();
    let kept = |path: &str| {
        let of_others = all.values().flatten();
        wanted.iter().chain(of_others).any(|other| touches(other, path))
    };
    let gone: Vec<&String> = ours.iter().filter(|path| !kept(path)).collect();
    remove_all(&mut object, &kind, gone);
    // Again, now that whole items are gone: a list may have lost its last one.
    for path in &wanted {
        if get(&object, &kind, path) != get(apply.body, &kind, path) {
            let value = get(apply.body, &kind, path).cloned().unwrap_or_default();
            put(&mut object, &kind, path, value);
        }
    }
    set(&mut object, "/apiVersion", text(apply.body, "/apiVersion").into());
    all.insert(apply.manager.to_owned(), wanted);
    set_owners(&mut object, &all);
    Ok(object)
}

/// A path as Kubernetes writes it: `.spec.replicas`.
fn readable(path: &str) -> String {
    path.split('/')
        .skip(1)
        .map(|segment| match segment.strip_prefix('=') {
            Some(key) => format!("[{}]", key.trim_matches(['[', ']'])),
            None => segment.replace("~1", "/").replace("~0", "~"),
        })
        .collect()
}

impl Model<'_> {
    /// A new object as its first applier leaves it.
    pub(crate) fn owned_object(body: &Value, manager: &str) -> Value {
        let mut object = body.clone();
        unset(&mut object, "/status");
        unset(&mut object, MANAGED);
        let owners = Owners::from([(manager.to_owned(), leaves(&object, &kind_of(&object)))]);
        set_owners(&mut object, &owners);
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn apply(live: &Value, body: &Value, manager: &str, force: bool, take_over: &[&str]) -> Result<Value, Failure> {
        let take_over: Vec<String> = take_over.iter().map(|name| (*name).to_owned()).collect();
        merged(live, &Apply { body, manager, force, take_over: &take_over })
    }

    fn config(data: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
    }

    #[test]
    fn what_is_no_longer_applied_goes_away() -> Result<(), Failure> {
        let live = Model::owned_object(&config(&json!({"a": "1", "b": "2"})), "one");
        let next = apply(&live, &config(&json!({"a": "1"})), "one", false, &[])?;
        assert_eq!(next.get("data"), Some(&json!({"a": "1"})));
        Ok(())
    }

    #[test]
    fn another_value_conflicts_and_names_the_manager() {
        let live = Model::owned_object(&config(&json!({"a": "1"})), "kubectl");
        let failed = apply(&live, &config(&json!({"a": "2"})), "runner", false, &[]).expect_err("a conflict");
        assert!(failed.message.contains("kubectl: .data.a"), "{}", failed.message);
        let same = apply(&live, &config(&json!({"a": "1"})), "runner", false, &[]).expect("no conflict");
        assert_eq!(owners(&same).len(), 2);
    }

    #[test]
    fn force_takes_the_field_and_leaves_the_others() -> Result<(), Failure> {
        let live = Model::owned_object(&config(&json!({"a": "1", "b": "1"})), "kubectl");
        let next = apply(&live, &config(&json!({"a": "2"})), "runner", true, &[])?;
        assert_eq!(next.get("data"), Some(&json!({"a": "2", "b": "1"})));
        let all = owners(&next);
        assert!(!all["kubectl"].contains("/.data/.a"));
        assert!(all["kubectl"].contains("/.data/.b"));
        Ok(())
    }

    #[test]
    fn take_over_lets_go_of_what_the_old_manager_had() -> Result<(), Failure> {
        let live = Model::owned_object(&config(&json!({"a": "1", "b": "1"})), "kubectl-client-side-apply");
        let next = apply(&live, &config(&json!({"a": "2"})), "runner", true, &["kubectl-client-side-apply"])?;
        assert_eq!(next.get("data"), Some(&json!({"a": "2"})));
        assert_eq!(owners(&next).len(), 1);
        Ok(())
    }

    #[test]
    fn containers_are_told_apart_by_name() -> Result<(), Failure> {
        let pod = |containers: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": containers}}}});
        let live =
            Model::owned_object(&pod(json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}])), "runner");
        let next = apply(
            &live,
            &pod(json!([{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}])),
            "runner",
            false,
            &[],
        )?;
        assert_eq!(
            next.pointer("/spec/template/spec/containers"),
            Some(&json!([{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]))
        );
        Ok(())
    }

    fn data() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-c]", "[xy]", 0..3).prop_map(|map| json!(map))
    }

    proptest! {
        #[test]
        fn a_second_apply_changes_nothing(first in data(), second in data(), third in data()) {
            let live = Model::owned_object(&config(&first), "kubectl");
            let other = apply(&live, &config(&second), "helm", true, &[]).expect("forced");
            let once = apply(&other, &config(&third), "runner", true, &[]).expect("forced");
            let twice = apply(&once, &config(&third), "runner", false, &[]).expect("ours already");
            prop_assert_eq!(&once, &twice);
            let wanted = config(&third);
            for path in leaves(&wanted, "ConfigMap") {
                prop_assert_eq!(get(&twice, "ConfigMap", &path), get(&wanted, "ConfigMap", &path));
            }
        }
    }
}
