//! Who owns which field: taking fields over from other managers before an apply.

use serde_json::{Map, Value, json};

use crate::backend::objects::text;

const MANAGED: &str = "/metadata/managedFields";

/// The entries of `managedFields` once the fields of `take_over` are `manager`'s by apply; none: nothing to take.
///
/// As `kubectl apply --server-side` does it for its own older self (k8s.io/client-go, util/csaupgrade). Fields of
/// subresources stay: they are their controllers'.
pub(super) fn taken_over(
    live: &Value,
    manager: &str,
    api_version: &str,
    take_over: &[String],
    now: &str,
) -> Option<Value> {
    let entries = live.pointer(MANAGED).and_then(Value::as_array)?;
    let of_object = |entry: &Value| text(entry, "/subresource").is_empty();
    let is_taken = |entry: &&Value| of_object(entry) && take_over.iter().any(|name| name == text(entry, "/manager"));
    let is_ours =
        |entry: &&Value| of_object(entry) && text(entry, "/manager") == manager && text(entry, "/operation") == "Apply";
    if !entries.iter().any(|entry| is_taken(&entry)) {
        return None;
    }
    let mut fields = Value::Object(Map::new());
    for entry in entries.iter().filter(|entry| is_taken(entry) || is_ours(entry)) {
        if let Some(more) = entry.get("fieldsV1") {
            unite(&mut fields, more);
        }
    }
    let mut left: Vec<Value> = entries.iter().filter(|entry| !is_taken(entry) && !is_ours(entry)).cloned().collect();
    left.push(json!({
        "manager": manager, "operation": "Apply", "apiVersion": api_version, "time": now,
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }));
    Some(Value::Array(left))
}

/// Both sets of fields.
fn unite(all: &mut Value, more: &Value) {
    if let (Value::Object(all), Value::Object(more)) = (all, more) {
        for (name, value) in more {
            unite(all.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Value {
        json!({"metadata": {"managedFields": [
            {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}}}},
            {"manager": "kubectl", "operation": "Update", "subresource": "status", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:status": {"f:replicas": {}}}},
            {"manager": "runner-x", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:spec": {"f:paused": {}}}},
        ]}})
    }

    #[test]
    fn fields_of_the_object_are_taken_and_those_of_its_status_stay() {
        let names = ["kubectl-client-side-apply", "kubectl"].map(str::to_owned);
        let taken = taken_over(&live(), "runner-x", "apps/v1", &names, "t").expect("something to take");
        let taken = taken.as_array().expect("entries");
        assert_eq!(taken.len(), 2);
        assert_eq!(text(&taken[0], "/subresource"), "status");
        assert_eq!(text(&taken[1], "/manager"), "runner-x");
        let fields = json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}, "f:paused": {}}});
        assert_eq!(taken[1].get("fieldsV1"), Some(&fields));
    }

    #[test]
    fn nothing_is_taken_from_managers_that_own_nothing() {
        assert_eq!(taken_over(&live(), "runner-x", "apps/v1", &["helm".to_owned()], "t"), None);
        assert_eq!(taken_over(&live(), "runner-x", "apps/v1", &[], "t"), None);
        assert_eq!(taken_over(&json!({}), "runner-x", "apps/v1", &["kubectl".to_owned()], "t"), None);
    }
}
