//! Verify: a ready Pod wherever the DaemonSet wants one, and HTTP through every node that has one.

use runner_plugin_sdk::api::http::Response;
use runner_plugin_sdk::http::{Get, get};
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::nodes::Node;
use runner_plugin_sdk::{
    Answers, Checks, Depth, Failure, HostInfo, Inputs, Invocation, Place, Problem, Verification, parse,
};
use serde_json::Value;

use crate::found::{self, Found, version};
use crate::parameters::{Address, From, Request, Verify};

pub(crate) fn run(invocation: &Invocation, depth: Depth) -> Result<Verification, Problem> {
    let parameters: Verify = parse(invocation)?;
    let cluster = Place::Cluster(invocation.cluster()?.to_owned());
    let mut checks = Checks::new();
    let workload = found::daemon_set(invocation, &parameters.namespace)?;
    let running = workload.as_ref().and_then(version);
    if let Some(version) = running {
        checks.version(cluster.clone(), "traefik", version);
    }
    if let Some(expected) = &parameters.versions {
        checks.equal("version", cluster.clone(), expected.traefik.as_str(), running.unwrap_or("not installed"));
    }
    if depth == Depth::Versions {
        return Ok(checks.finish());
    }
    let Some(workload) = workload else {
        checks.check("installed", cluster, "Traefik", "not installed", false);
        return Ok(checks.finish());
    };
    let found = Found::read(invocation, &parameters.namespace, &parameters.ingress_class)?;
    let class = found.objects.find("IngressClass", &parameters.ingress_class);
    let observed = if class.is_some() { parameters.ingress_class.as_str() } else { "none" };
    checks.equal("ingress-class", cluster.clone(), parameters.ingress_class.as_str(), observed);
    rollout(&mut checks, &cluster, &workload);
    let serving = found.serving();
    for (node, ready) in &serving {
        let observed = if *ready { "ready" } else { "no ready Pod" };
        checks.check("traefik-pod", place(node, &cluster), format!("ready on {}", node.name), observed, *ready);
    }
    let nodes: Vec<&Node> = serving.into_iter().map(|(node, _)| node).collect();
    requests(&mut checks, &parameters, &cluster, &nodes, &invocation.target.hosts)?;
    Ok(checks.finish())
}

fn place(node: &Node, cluster: &Place) -> Place {
    node.host.clone().map_or_else(|| cluster.clone(), Place::Host)
}

fn rollout(checks: &mut Checks, cluster: &Place, workload: &Value) {
    let count = |field: &str| workload.number(&format!("/status/{field}")).unwrap_or(0);
    let seen = count("observedGeneration") >= workload.number("/metadata/generation").unwrap_or(0);
    let desired = count("desiredNumberScheduled");
    let ready = if seen { count("updatedNumberScheduled").min(count("numberReady")) } else { 0 };
    let expected = format!("{desired} Pods up to date and ready");
    checks.check(
        "rollout",
        cluster.clone(),
        expected,
        format!("{ready} Pods up to date and ready"),
        ready == desired && desired > 0,
    );
}

fn requests(
    checks: &mut Checks,
    parameters: &Verify,
    cluster: &Place,
    nodes: &[&Node],
    hosts: &[HostInfo],
) -> Result<(), Problem> {
    let mut asked: Vec<(&Node, &Request)> = Vec::new();
    let mut gets: Vec<Get> = Vec::new();
    for node in nodes {
        let Some(address) = address(node, parameters.address, hosts) else {
            checks.unknown("http", place(node, cluster), "an answer", format!("Node {} has no address", node.name));
            continue;
        };
        for request in &parameters.requests {
            match (parameters.from, &node.host) {
                (From::Runner, _) => gets.push(question(request, address, parameters.port)),
                (From::Node, Some(host)) => gets.push(question(request, address, parameters.port).via(host)),
                (From::Node, None) => {
                    let why = format!("Node {} is no host of this step", node.name);
                    checks.unknown("http", place(node, cluster), expected(request), why);
                    continue;
                }
            }
            asked.push((node, request));
        }
    }
    let answers = get(gets).unless_denied()?;
    for ((node, request), answer) in asked.into_iter().zip(answers) {
        let (observed, good) = judge(request, answer.as_ref());
        checks.check("http", place(node, cluster), expected(request), observed, good);
    }
    Ok(())
}

fn address<'a>(node: &'a Node, address: Address, hosts: &'a [HostInfo]) -> Option<&'a str> {
    match address {
        Address::InternalIp => node.internal_ip.as_deref(),
        Address::Inventory => {
            let host = hosts.iter().find(|host| node.host.as_deref() == Some(host.name.as_str()))?;
            Some(host.address.as_str())
        }
    }
}

fn question(request: &Request, address: &str, port: u16) -> Get {
    // IPv6 addresses stand in brackets in a URL.
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let get = Get::new(format!("http://{address}:{port}{}", request.path));
    match &request.host {
        Some(host) => get.header("Host", host.as_str()),
        None => get,
    }
}

fn expected(request: &Request) -> String {
    let of = request.host.as_ref().map(|host| format!(" of {host}")).unwrap_or_default();
    let with = request.contains.as_ref().map(|text| format!(" with {text:?}")).unwrap_or_default();
    format!("{}{of}: {}{with}", request.path, request.status)
}

fn judge(request: &Request, answer: Result<&Response, &Failure>) -> (String, bool) {
    match answer {
        Ok(response) => {
            let text = request.contains.as_ref();
            let there = text.is_none_or(|text| String::from_utf8_lossy(&response.body).contains(text.as_str()));
            let without = if there { "" } else { ", without the text" };
            (format!("{}{without}", response.status), response.status == request.status && there)
        }
        Err(failure) => (failure.message.clone(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_plugin_sdk::{FailureKind, Verdict, failure};
    use serde_json::json;

    fn request(contains: Option<&str>) -> Request {
        Request {
            host: Some("shop.example".into()),
            path: "/x".into(),
            status: 200,
            contains: contains.map(Into::into),
        }
    }

    fn response(status: u16, body: &str) -> Response {
        Response { status, headers: vec![], body: body.into(), dropped: 0 }
    }

    #[test]
    fn status_and_text_must_be_as_expected() {
        assert!(judge(&request(None), Ok(&response(200, ""))).1);
        assert!(!judge(&request(None), Ok(&response(502, ""))).1);
        assert!(judge(&request(Some("hello")), Ok(&response(200, "say hello"))).1);
        assert_eq!(judge(&request(Some("hello")), Ok(&response(200, "no"))), ("200, without the text".into(), false));
        let silent = failure(FailureKind::Unreachable, "http://x/", "connection refused");
        assert_eq!(judge(&request(None), Err(&silent)), ("connection refused".into(), false));
        assert_eq!(expected(&request(Some("hello"))), "/x of shop.example: 200 with \"hello\"");
    }

    #[test]
    fn a_request_names_node_port_and_host() {
        let asked = question(&request(None), "10.0.0.2", 8000).request();
        assert_eq!(asked.url, "http://10.0.0.2:8000/x");
        assert_eq!(asked.headers[0].name, "Host");
        assert_eq!(question(&request(None), "fd00::2", 80).request().url, "http://[fd00::2]:80/x");
    }

    #[test]
    fn a_daemon_set_without_pods_does_not_pass() {
        let verdict = |status: Value| {
            let mut checks = Checks::new();
            let workload = json!({"metadata": {"generation": 2}, "status": status});
            rollout(&mut checks, &Place::Runner, &workload);
            checks.finish().checks[0].verdict
        };
        let counts = |seen: u8, ready: u8| json!({"observedGeneration": seen, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": ready});
        assert_eq!(verdict(counts(2, 2)), Verdict::Pass);
        assert_eq!(verdict(counts(2, 1)), Verdict::Fail);
        assert_eq!(verdict(counts(1, 2)), Verdict::Fail);
        assert_eq!(verdict(json!({"observedGeneration": 2})), Verdict::Fail);
    }
}
