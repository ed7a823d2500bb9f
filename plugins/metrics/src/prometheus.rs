//! Prometheus' own HTTP interface.

use runner_plugin_sdk::api::http::{self as api, Response, Submission};
use runner_plugin_sdk::api::types::EffectClass;
use runner_plugin_sdk::http::{Get, body_json};
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::wait::{Patience, until};
use runner_plugin_sdk::{Answers, Failure, FailureKind, Problem, failure, refused};
use serde_json::Value;

use crate::parameters::Place;

/// Path that says whether Prometheus is ready.
pub(crate) const READY: &str = "/-/ready";
/// Path that says which Prometheus runs.
pub(crate) const BUILD: &str = "/api/v1/status/buildinfo";
/// Path that says whom it asks.
pub(crate) const TARGETS: &str = "/api/v1/targets?state=active";
/// Path of a query, but for the query itself.
const QUERY: &str = "/api/v1/query?query=";
/// Path that makes a snapshot.
const SNAPSHOT: &str = "/api/v1/admin/tsdb/snapshot";

/// A question to Prometheus.
pub(crate) fn get(place: Place<'_>, path: &str) -> Get {
    let get = Get::new(format!("{}{path}", place.url)).body_limit(1 << 20);
    match place.via {
        Some(host) => get.via(host),
        None => get,
    }
}

/// Path of a query.
pub(crate) fn query(query: &str) -> String {
    let mut path = QUERY.to_owned();
    for byte in query.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// Waits until Prometheus says that it is ready, and gives the version that it says it is. Kubernetes calls a Pod ready
/// a little before its Service leads there.
pub(crate) fn ready_version(place: Place<'_>) -> Result<String, Failure> {
    let at = format!("{}{READY}", place.url);
    until(&at, Patience::seconds(120, 2), || {
        Ok(match get(place, READY).send() {
            Ok(response) if response.status == 200 => Ok(()),
            Ok(response) => Err(format!("status {}", response.status)),
            Err(failure) if matches!(failure.kind, FailureKind::Unreachable | FailureKind::TimedOut) => {
                Err(failure.message)
            }
            Err(failure) => return Err(failure),
        })
    })?;
    let at = format!("{}{BUILD}", place.url);
    build_version(&at, &get(place, BUILD).send()?)
}

/// The version in an answer to [`BUILD`].
pub(crate) fn build_version(at: &str, response: &Response) -> Result<String, Failure> {
    let body = body_json(at, response)?;
    body.text("/data/version").map(str::to_owned).ok_or_else(|| {
        let kind = FailureKind::Other("unexpected-answer".into());
        failure(kind, at, "it names no version")
    })
}

/// Versions are the same with and without the leading v of tags and what a distribution adds to a build's.
pub(crate) fn same_version(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

fn plain(version: &str) -> &str {
    let version = version.split(['+', '~']).next().unwrap_or(version);
    version.trim_start_matches('v')
}

/// Whether a target was not asked yet, as all are for one interval after a start.
pub(crate) fn is_settling(body: &Value) -> bool {
    let targets = body.items("/data/activeTargets");
    targets.is_empty() || targets.iter().any(|target| target.text("/health") == Some("unknown"))
}

/// Targets that are up, and names of those that are not.
pub(crate) fn targets(body: &Value) -> (usize, Vec<String>) {
    let mut up = 0;
    let mut down = Vec::new();
    for target in body.items("/data/activeTargets") {
        if target.text("/health") == Some("up") {
            up += 1;
            continue;
        }
        let job = target.text("/labels/job").unwrap_or("?");
        let instance = target.text("/labels/instance").unwrap_or("?");
        down.push(format!("{job} {instance}"));
    }
    (up, down)
}

/// Has Prometheus make a snapshot of its database, head included; gives the snapshot's name. Once more makes one more:
/// that costs a directory of hard links, which whoever asked removes.
pub(crate) fn snapshot(place: Place<'_>) -> Result<String, Problem> {
    let request = get(place, SNAPSHOT).seconds(300).request();
    let at = request.url.clone();
    let submission = Submission {
        request,
        method: "POST".to_owned(),
        body: Vec::new(),
        effect: EffectClass::WriteIdempotent,
        key: String::new(),
    };
    let response = api::send(&[submission]).one()?;
    snapshot_name(&response).map_err(|why| {
        let message = format!(
            "{at} made no snapshot: {why}. Turn the admin API on (--web.enable-admin-api), or give `backup-method` as \
             scale-down"
        );
        refused("no-snapshot", at.as_str(), message)
    })
}

/// The name in an answer to the request for a snapshot. It becomes part of a path, so it is held to its form.
pub(crate) fn snapshot_name(response: &Response) -> Result<String, String> {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
    if !(200..300).contains(&response.status) {
        let why = body.text("/error").unwrap_or("no reason given");
        return Err(format!("status {}, {why}", response.status));
    }
    let name = body.text("/data/name").unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("the answer names no snapshot".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn response(status: u16, body: &Value) -> Response {
        Response { status, headers: vec![], body: body.to_string().into_bytes(), dropped: 0 }
    }

    #[test]
    fn a_snapshots_name_is_held_to_its_form() {
        let named = |name: &str| snapshot_name(&response(200, &json!({"status": "success", "data": {"name": name}})));
        assert_eq!(named("20261121T075146Z-4cf33a6e2d8f6b1a").as_deref(), Ok("20261121T075146Z-4cf33a6e2d8f6b1a"));
        assert!(named("../../etc").is_err());
        assert!(named("").is_err());
        let off =
            response(503, &json!({"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"}));
        assert_eq!(snapshot_name(&off), Err("status 503, admin APIs disabled".to_owned()));
    }

    #[test]
    fn a_query_survives_as_part_of_a_url() {
        assert_eq!(query("up"), "/api/v1/query?query=up");
        assert_eq!(query("sum(up{job=\"a b\"})"), "/api/v1/query?query=sum%28up%7Bjob%3D%22a%20b%22%7D%29");
    }

    #[test]
    fn targets_that_are_down_are_named() {
        let body = json!({"data": {"activeTargets": [
            {"health": "up", "labels": {"job": "a", "instance": "1"}},
            {"health": "down", "labels": {"job": "b", "instance": "2"}},
            {"health": "unknown", "labels": {"job": "c", "instance": "3"}},
        ]}});
        assert_eq!(targets(&body), (1, vec!["b 2".to_owned(), "c 3".to_owned()]));
    }

    #[test]
    fn targets_settle_when_each_was_asked_once() {
        let body = |health: &[&str]| {
            let targets: Vec<Value> = health.iter().map(|health| json!({"health": health})).collect();
            json!({"data": {"activeTargets": targets}})
        };
        assert!(is_settling(&body(&[])));
        assert!(is_settling(&body(&["up", "unknown"])));
        assert!(!is_settling(&body(&["up", "down"])));
    }

    #[test]
    fn a_tags_v_makes_no_other_version() {
        assert!(same_version("v2.53.0", "2.53.0"));
        assert!(!same_version("v2.53.0", "2.53.1"));
        assert!(same_version("2.42.0", "2.42.0+ds"));
        assert!(!same_version("2.53.0-rc.1", "2.53.0"));
        let build = response(200, &json!({"data": {"version": "2.53.0"}}));
        assert_eq!(build_version("u", &build).ok().as_deref(), Some("2.53.0"));
        assert!(build_version("u", &response(200, &json!({}))).is_err());
    }
}
