//! Label selectors and node selector terms.

use std::collections::BTreeMap;

use sdk::json::At;
use serde_json::Value;

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// A map of text, such as labels or a node selector.
pub(crate) fn text_map(body: &Value, pointer: &str) -> Labels {
    body.pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Whether a LabelSelector selects these labels. No selector selects nothing, an empty one everything.
pub(crate) fn selects(selector: Option<&Value>, labels: &Labels) -> bool {
    let Some(selector) = selector.filter(|selector| selector.is_object()) else {
        return false;
    };
    text_map(selector, "/matchLabels").iter().all(|(name, value)| labels.get(name) == Some(value))
        && selector.items("/matchExpressions").iter().all(|expression| holds(expression, labels))
}

/// Whether a required node affinity admits a node: one of its terms must hold, and none of them none.
pub(crate) fn node_terms_admit(required: &Value, name: &str, labels: &Labels) -> bool {
    required.items("/nodeSelectorTerms").iter().any(|term| {
        let (expressions, fields) = (term.items("/matchExpressions"), term.items("/matchFields"));
        let by_name = Labels::from([("metadata.name".to_owned(), name.to_owned())]);
        !(expressions.is_empty() && fields.is_empty())
            && expressions.iter().all(|expression| holds(expression, labels))
            && fields.iter().all(|expression| holds(expression, &by_name))
    })
}

fn holds(expression: &Value, labels: &Labels) -> bool {
    let Some(key) = expression.text("/key") else {
        return false;
    };
    let found = labels.get(key);
    let values = expression.items("/values");
    let listed = |value: &String| values.iter().any(|listed| listed.as_str() == Some(value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let compared = |good: fn(&i64, &i64) -> bool| {
        let limit = number(values.first().and_then(Value::as_str));
        number(found.map(String::as_str)).zip(limit).is_some_and(|(found, limit)| good(&found, &limit))
    };
    match expression.text("/operator") {
        Some("In") => found.is_some_and(listed),
        Some("NotIn") => !found.is_some_and(listed),
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        Some("Gt") => compared(i64::gt),
        Some("Lt") => compared(i64::lt),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_selector_wants_all_of_its_terms() {
        let web = labels(&[("app", "web"), ("tier", "front")]);
        for (selector, selected) in [
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "db"}}), false),
            (json!({"matchLabels": {"app": "web", "more": "x"}}), false),
            (json!({}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}), false),
            (json!({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["x"]}]}), true),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "Exists"}, {"key": "old", "operator": "DoesNotExist"}]}),
                true,
            ),
            (json!({"matchExpressions": [{"key": "app", "operator": "Sounds"}]}), false),
        ] {
            assert_eq!(selects(Some(&selector), &web), selected, "{selector}");
        }
        assert!(!selects(None, &web));
        assert!(!selects(Some(&Value::Null), &web));
    }

    #[test]
    fn one_term_of_a_node_affinity_is_enough() {
        let node = labels(&[("zone", "a"), ("cores", "8")]);
        let admits = |terms: Value| node_terms_admit(&json!({"nodeSelectorTerms": terms}), "n1", &node);
        let zone = |zone: &str| json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]});
        assert!(admits(json!([zone("b"), zone("a")])));
        assert!(!admits(json!([zone("b")])));
        assert!(!admits(json!([{}])));
        assert!(admits(json!([{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}])));
        assert!(!admits(json!([{"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["4"]}]}])));
        let named =
            |name: &str| json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]);
        assert!(admits(named("n1")));
        assert!(!admits(named("n2")));
    }
}
