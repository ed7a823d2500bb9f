//! Verify: readiness, targets that are up, a query with a result.

use runner_plugin_sdk::api::clock;
use runner_plugin_sdk::api::http::Response;
use runner_plugin_sdk::http::{body_json, get};
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::{Checks, Depth, Failure, FailureKind, Inputs, Invocation, Place, Problem, Verification, parse};
use serde_json::Value;

use crate::found::Found;
use crate::parameters::Verify;
use crate::prometheus::{self, BUILD, READY, TARGETS, build_version, is_settling, same_version, targets};

/// Milliseconds between two rounds of questions.
const INTERVAL: u32 = 5_000;

pub(crate) fn run(invocation: &Invocation, depth: Depth) -> Result<Verification, Problem> {
    let parameters: Verify = parse(invocation)?;
    let cluster = Place::Cluster(invocation.cluster()?.to_owned());
    let found = Found::read(invocation, parameters.place())?;
    let mut checks = Checks::new();
    let version = found.version();
    if let Some(version) = version {
        checks.version(cluster.clone(), "prometheus", version);
    }
    if let Some(expected) = &parameters.versions {
        let observed = version.unwrap_or("not installed");
        let good = same_version(&expected.prometheus, observed);
        checks.check("version", cluster.clone(), expected.prometheus.as_str(), observed, good);
    }
    if depth == Depth::Health {
        match found.workload() {
            Some(workload) => {
                rollout(&mut checks, &cluster, workload);
                answers(&mut checks, &cluster, &parameters, version)?;
            }
            None => {
                checks.check("installed", cluster, "Prometheus", "not installed", false);
            }
        }
    }
    Ok(checks.finish())
}

fn rollout(checks: &mut Checks, cluster: &Place, workload: &Value) {
    let wanted = workload.number("/spec/replicas").unwrap_or(1);
    let ready = workload.number("/status/readyReplicas").unwrap_or(0);
    let newest = workload.text("/status/currentRevision") == workload.text("/status/updateRevision");
    let seen = workload.number("/status/observedGeneration") >= workload.number("/metadata/generation");
    let state = if newest && seen { "" } else { ", a rollout is under way" };
    let observed = format!("{ready} of {wanted} ready{state}");
    checks.check(
        "rollout",
        cluster.clone(),
        format!("{wanted} of {wanted} ready"),
        observed,
        ready == wanted && wanted > 0 && newest && seen,
    );
}

/// Asks Prometheus itself, everything in one call, and again while it has just started.
fn answers(checks: &mut Checks, cluster: &Place, parameters: &Verify, version: Option<&str>) -> Result<(), Problem> {
    let begun = clock::elapsed();
    let patience = parameters.settle_seconds.saturating_mul(1000);
    loop {
        let said = Said::ask(parameters)?;
        let settling = said.targets.as_ref().is_ok_and(is_settling);
        if !settling || clock::elapsed().saturating_sub(begun) >= patience {
            said.check(checks, cluster, parameters, version);
            return Ok(());
        }
        clock::sleep(INTERVAL);
    }
}

/// What Prometheus said to each question, or why it did not.
struct Said {
    ready: Result<u16, String>,
    version: Result<String, String>,
    targets: Result<Value, String>,
    result: Result<Value, String>,
}

impl Said {
    fn ask(parameters: &Verify) -> Result<Self, Failure> {
        let query = prometheus::query(&parameters.query);
        let paths = [READY, BUILD, TARGETS, query.as_str()];
        let found = get(paths.map(|path| prometheus::get(parameters.place(), path)));
        let mut found = found.into_iter().map(answered);
        let mut next = || found.next().unwrap_or_else(|| Ok(Err("no answer".to_owned())));
        Ok(Self {
            ready: next()?.map(|response| response.status),
            version: next()?.and_then(|response| build_version(BUILD, &response).map_err(|failure| failure.message)),
            targets: json(TARGETS, next()?),
            result: json(&query, next()?),
        })
    }

    fn check(self, checks: &mut Checks, cluster: &Place, parameters: &Verify, version: Option<&str>) {
        let observed = match &self.ready {
            Ok(status) => format!("status {status}"),
            Err(why) => why.clone(),
        };
        let ready = self.ready == Ok(200);
        checks.check("ready", cluster.clone(), "status 200", observed, ready);
        running(checks, cluster, version, self.version);
        up(checks, cluster, parameters.tolerated_down, self.targets);
        result(checks, cluster, &parameters.query, self.result);
    }
}

/// A denial ends verify; any other failure is what was observed.
fn answered(answer: Result<Response, Failure>) -> Result<Result<Response, String>, Failure> {
    match answer {
        Ok(response) => Ok(Ok(response)),
        Err(failure) if matches!(failure.kind, FailureKind::Denied(_)) => Err(failure),
        Err(failure) => Ok(Err(failure.message)),
    }
}

fn json(path: &str, answer: Result<Response, String>) -> Result<Value, String> {
    answer.and_then(|response| body_json(path, &response).map_err(|failure| failure.message))
}

fn running(checks: &mut Checks, cluster: &Place, version: Option<&str>, said: Result<String, String>) {
    let expected = version.unwrap_or("a version");
    match said {
        Ok(running) => {
            let good = version.is_none_or(|version| same_version(version, &running));
            checks.check("running-version", cluster.clone(), expected, running, good)
        }
        Err(why) => checks.unknown("running-version", cluster.clone(), expected, why),
    };
}

fn up(checks: &mut Checks, cluster: &Place, tolerated: u32, said: Result<Value, String>) {
    let expected = match tolerated {
        0 => "every target up".to_owned(),
        some => format!("at most {some} targets down"),
    };
    match said.map(|body| targets(&body)) {
        Ok((up, down)) => {
            let all = up + down.len();
            let which = if down.is_empty() { String::new() } else { format!(", down: {}", down.join(", ")) };
            let good = all > 0 && down.len() <= tolerated as usize;
            checks.check("targets-up", cluster.clone(), expected, format!("{up} of {all} up{which}"), good)
        }
        Err(why) => checks.unknown("targets-up", cluster.clone(), expected, why),
    };
}

fn result(checks: &mut Checks, cluster: &Place, query: &str, said: Result<Value, String>) {
    let expected = format!("a result of {query}");
    match said {
        Ok(body) => {
            let count = body.items("/data/result").len();
            checks.check("query", cluster.clone(), expected, format!("{count} results"), count > 0)
        }
        Err(why) => checks.unknown("query", cluster.clone(), expected, why),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_plugin_sdk::Verdict;
    use serde_json::json;

    fn verdicts(look: impl FnOnce(&mut Checks, &Place)) -> Vec<(String, Verdict)> {
        let mut checks = Checks::new();
        look(&mut checks, &Place::Runner);
        checks.finish().checks.into_iter().map(|check| (check.observed, check.verdict)).collect()
    }

    #[test]
    fn a_target_that_is_down_fails_unless_it_is_tolerated() {
        let body = json!({"data": {"activeTargets": [{"health": "up"}, {"health": "down", "labels": {"job": "a", "instance": "b"}}]}});
        let ask = |tolerated, body: &Value| verdicts(|checks, place| up(checks, place, tolerated, Ok(body.clone())));
        assert_eq!(ask(0, &body), [("1 of 2 up, down: a b".to_owned(), Verdict::Fail)]);
        assert_eq!(ask(1, &body)[0].1, Verdict::Pass);
        assert_eq!(ask(0, &json!({})), [("0 of 0 up".to_owned(), Verdict::Fail)]);
    }

    #[test]
    fn what_was_not_answered_is_no_pass() {
        let silent = || Err("silent".to_owned());
        assert_eq!(verdicts(|checks, place| up(checks, place, 0, silent()))[0].1, Verdict::Unknown);
        assert_eq!(verdicts(|checks, place| result(checks, place, "up", silent()))[0].1, Verdict::Unknown);
        assert_eq!(verdicts(|checks, place| running(checks, place, None, Err("silent".into())))[0].1, Verdict::Unknown);
        assert_eq!(verdicts(|checks, place| result(checks, place, "up", Ok(json!({}))))[0].1, Verdict::Fail);
    }

    #[test]
    fn a_rollout_under_way_or_a_stopped_workload_is_no_pass() {
        let ask = |replicas: i64, ready: i64, current: &str| {
            let workload = json!({"metadata": {"generation": 2}, "spec": {"replicas": replicas},
                "status": {"observedGeneration": 2, "readyReplicas": ready, "currentRevision": current, "updateRevision": "b"}});
            verdicts(|checks, place| rollout(checks, place, &workload))[0].1
        };
        assert_eq!(ask(1, 1, "b"), Verdict::Pass);
        assert_eq!(ask(1, 1, "a"), Verdict::Fail);
        assert_eq!(ask(1, 0, "b"), Verdict::Fail);
        assert_eq!(ask(0, 0, "b"), Verdict::Fail);
    }

    #[test]
    fn another_running_version_than_the_image_s_fails() {
        let ask = |said: &str| verdicts(|checks, place| running(checks, place, Some("v2.42.0"), Ok(said.into())))[0].1;
        assert_eq!(ask("2.42.0"), Verdict::Pass);
        assert_eq!(ask("2.53.0"), Verdict::Fail);
    }
}
