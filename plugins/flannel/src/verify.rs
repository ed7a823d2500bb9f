//! Verify: a ready Pod on every node, the subnet file and the routes on every host, and Pods reached from node to node.

use runner_plugin_sdk::json::At;
use runner_plugin_sdk::kubernetes::Object;
use runner_plugin_sdk::nodes::Node;
use runner_plugin_sdk::rollout::is_ready;
use runner_plugin_sdk::{
    Answers, Checks, Command, Depth, Failure, Inputs, Invocation, Place, Problem, Verification, exec, files, parse,
};
use serde_json::Value;

use crate::found::{self, DAEMON_SET, Found, version};
use crate::parameters::Verify;
use crate::reach::{self, Answer, Asked};
use crate::routes::{self, Routes};

pub(crate) fn run(invocation: &Invocation, depth: Depth) -> Result<Verification, Problem> {
    let parameters: Verify = parse(invocation)?;
    let cluster = Place::Cluster(invocation.cluster()?.to_owned());
    let mut checks = Checks::new();
    let workload = found::daemon_set(invocation, &parameters.namespace)?;
    let running = workload.as_ref().and_then(version);
    if let Some(version) = running {
        checks.version(cluster.clone(), "flannel", version);
    }
    if let Some(expected) = &parameters.versions {
        checks.equal("version", cluster.clone(), expected.flannel.as_str(), running.unwrap_or("not installed"));
    }
    if depth == Depth::Versions {
        return Ok(checks.finish());
    }
    let Some(workload) = workload else {
        checks.check("installed", cluster, "flannel", "not installed", false);
        return Ok(checks.finish());
    };
    let found = Found::read(invocation, &parameters.namespace)?;
    let keep =
        ["/metadata/ownerReferences", "/spec/nodeName", "/spec/hostNetwork", "/status/podIP", "/status/conditions"];
    let pods = found.cluster.list(found.cluster.select("v1", "Pod", None, ""), &keep)?;
    rollout(&mut checks, &cluster, &workload);
    ready_pods(&mut checks, &cluster, &found, &pods);
    for stranger in found.strangers() {
        checks.unknown("node-host", cluster.clone(), "a host of the inventory", stranger.message);
    }
    let cni = found.config().and_then(|config| config.pointer("/data")?.get("cni-conf.json")?.as_str());
    hosts(&mut checks, &parameters, &found.nodes, &pods, cni)?;
    Ok(checks.finish())
}

fn rollout(checks: &mut Checks, cluster: &Place, workload: &Value) {
    let count = |field: &str| workload.number(&format!("/status/{field}")).unwrap_or(0);
    let seen = count("observedGeneration") >= workload.number("/metadata/generation").unwrap_or(0);
    let desired = count("desiredNumberScheduled");
    let updated = if seen { count("updatedNumberScheduled") } else { 0 };
    checks.equal(
        "rollout",
        cluster.clone(),
        format!("{desired} Pods up to date"),
        format!("{updated} Pods up to date"),
    );
}

fn ready_pods(checks: &mut Checks, cluster: &Place, found: &Found<'_>, pods: &[Object]) {
    let own = |pod: &&Object| {
        let mut owners = pod.body.items("/metadata/ownerReferences").iter();
        owners.any(|owner| owner.text("/kind") == Some("DaemonSet") && owner.text("/name") == Some(DAEMON_SET))
    };
    let ready: Vec<&str> = pods
        .iter()
        .filter(own)
        .filter(|pod| is_ready(&pod.body))
        .filter_map(|pod| pod.body.text("/spec/nodeName"))
        .collect();
    for node in &found.nodes {
        let observed = if ready.contains(&node.name.as_str()) { "ready" } else { "no ready Pod" };
        let place = node.host.clone().map_or_else(|| cluster.clone(), Place::Host);
        checks.check("flannel-pod", place, format!("ready on {}", node.name), observed, observed == "ready");
    }
}

/// Nodes with their hosts: what can be looked at.
struct Seen<'a> {
    node: &'a Node,
    host: &'a str,
}

impl<'a> Seen<'a> {
    fn of(node: &'a Node) -> Option<Self> {
        let host = node.host.as_deref()?;
        Some(Self { node, host })
    }
}

fn hosts(
    checks: &mut Checks,
    parameters: &Verify,
    nodes: &[Node],
    pods: &[Object],
    cni: Option<&str>,
) -> Result<(), Problem> {
    let seen: Vec<Seen<'_>> = nodes.iter().filter_map(Seen::of).collect();
    let paths = [&parameters.subnet_file, &parameters.cni_config];
    let refs: Vec<_> = paths.iter().flat_map(|path| seen.iter().map(|seen| files::at(seen.host, path))).collect();
    let texts = files::read_text_each(&refs).unless_denied()?;
    let (subnets, configs) = texts.split_at(seen.len());
    for ((seen, subnet), config) in seen.iter().zip(subnets).zip(configs) {
        subnet_file(checks, seen, subnet.as_ref().map(Option::as_deref));
        cni_config(checks, seen, config.as_ref().map(Option::as_deref), cni);
    }
    let tables = exec::run(
        seen.iter().map(|seen| Command::read(seen.host, routes::COMMAND).reads(["routes"]).output_limit(1024 * 1024)),
    )
    .unless_denied()?;
    let tables: Vec<Result<String, Failure>> = tables.into_iter().map(|table| exec::stdout(&table?)).collect();
    for (seen, table) in seen.iter().zip(&tables) {
        let others: Vec<&Node> = nodes.iter().filter(|node| node.name != seen.node.name).collect();
        routes_of(checks, seen, &others, table.as_deref());
    }
    reached(checks, parameters, nodes, &seen, &tables, pods)
}

fn subnet_file(checks: &mut Checks, seen: &Seen<'_>, text: Result<Option<&str>, &Failure>) {
    let place = Place::Host(seen.host.to_owned());
    let expected = seen.node.pod_cidr.as_deref().unwrap_or("a subnet");
    match text {
        Ok(text) => {
            let line = |line: &'_ str| line.strip_prefix("FLANNEL_SUBNET=").map(|found| found.trim().to_owned());
            let found = text.and_then(|text| text.lines().find_map(line));
            // The file names the first address of the subnet, not the subnet.
            let same = found.as_deref().is_some_and(|found| within(found, expected));
            checks.check("subnet-file", place, expected, found.unwrap_or("no subnet file".into()), same)
        }
        Err(failure) => checks.unknown("subnet-file", place, expected, failure.message.as_str()),
    };
}

fn cni_config(checks: &mut Checks, seen: &Seen<'_>, text: Result<Option<&str>, &Failure>, wanted: Option<&str>) {
    let place = Place::Host(seen.host.to_owned());
    let expected = "as in the ConfigMap";
    match text {
        Ok(text) => {
            let observed = match text {
                Some(text) if Some(text) == wanted => expected,
                Some(_) => "another text",
                None => "no file",
            };
            checks.equal("cni-config", place, expected, observed)
        }
        Err(failure) => checks.unknown("cni-config", place, expected, failure.message.as_str()),
    };
}

/// Whether an address with prefix length is the first of that subnet.
fn within(address: &str, subnet: &str) -> bool {
    let parts = |text: &str| {
        let (address, length) = text.split_once('/')?;
        Some((u32::from(address.parse::<std::net::Ipv4Addr>().ok()?), length.to_owned()))
    };
    match (parts(address), parts(subnet)) {
        (Some((address, length)), Some((base, wanted))) => length == wanted && address.checked_sub(1) == Some(base),
        _ => false,
    }
}

fn routes_of(checks: &mut Checks, seen: &Seen<'_>, others: &[&Node], table: Result<&str, &Failure>) {
    let place = Place::Host(seen.host.to_owned());
    let expected = format!("routes to the Pods of {} other nodes", others.len());
    match table {
        Ok(text) => {
            let missing = Routes::read(text).missing(others);
            let observed =
                if missing.is_empty() { expected.clone() } else { format!("none to {}", missing.join(", ")) };
            checks.equal("routes", place, expected, observed);
        }
        Err(failure) => {
            checks.unknown("routes", place, expected, failure.message.as_str());
        }
    }
}

fn reached(
    checks: &mut Checks,
    parameters: &Verify,
    nodes: &[Node],
    seen: &[Seen<'_>],
    tables: &[Result<String, Failure>],
    pods: &[Object],
) -> Result<(), Problem> {
    let targets = reach::addresses(nodes, pods);
    let mut questions: Vec<(usize, &Asked)> = Vec::new();
    let mut commands: Vec<Command> = Vec::new();
    for (index, (seen, table)) in seen.iter().zip(tables).enumerate() {
        let own = seen.node.pod_cidr.as_deref().and_then(|cidr| Routes::read(table.as_ref().ok()?).own_address(cidr));
        let Some(from) = own.or(seen.node.internal_ip.as_deref()) else {
            continue;
        };
        let Some(at) = nodes.iter().position(|node| node.name == seen.node.name) else {
            continue;
        };
        for partner in reach::partners(at, nodes.len(), parameters.mesh) {
            if let Some(asked) = targets.iter().find(|asked| asked.node == nodes[partner].name) {
                questions.push((index, asked));
                commands.push(reach::question(seen.host, from, &asked.address));
            }
        }
    }
    let answers = exec::run(commands).unless_denied()?;
    for ((index, asked), answer) in questions.into_iter().zip(&answers) {
        let what = if asked.pod { "a Pod" } else { "the Pod network" };
        let expected = format!("{what} of {} at {} answers", asked.node, asked.address);
        let place = Place::Host(seen[index].host.to_owned());
        match (reach::judge(answer.as_ref()), answer) {
            (Answer::Reached, _) => checks.check("pod-to-pod", place, expected, "it answers", true),
            // Without a Pod there may be nothing on that node that could answer.
            (Answer::Silent, _) if !asked.pod => {
                checks.unknown("pod-to-pod", place, expected, format!("no answer, and no Pod on {}", asked.node))
            }
            (Answer::Silent, _) => checks.check("pod-to-pod", place, expected, "no answer", false),
            (Answer::Unasked, Err(failure)) => checks.unknown("pod-to-pod", place, expected, failure.message.as_str()),
            (Answer::Unasked, Ok(_)) => {
                checks.unknown("pod-to-pod", place, expected, "the host has no address to ask from")
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::tests::node;
    use runner_plugin_sdk::Verdict;

    #[test]
    fn the_subnet_file_names_the_node_s_subnet() {
        assert!(within("10.244.1.1/24", "10.244.1.0/24"));
        assert!(!within("10.244.2.1/24", "10.244.1.0/24"));
        assert!(!within("10.244.1.1/25", "10.244.1.0/24"));
        assert!(!within("nonsense", "10.244.1.0/24"));
    }

    #[test]
    fn what_is_missing_on_a_host_is_named() {
        let (one, two) = (node(1), node(2));
        let seen = Seen { node: &one, host: "node-1" };
        let mut checks = Checks::new();
        subnet_file(&mut checks, &seen, Ok(None));
        cni_config(&mut checks, &seen, Ok(Some("{}")), Some("{ }"));
        routes_of(&mut checks, &seen, &[&two], Ok("10.244.2.0/24 via 10.0.0.9 dev eth0"));
        routes_of(&mut checks, &seen, &[&two], Ok("10.244.2.0/24 via 10.0.0.2 dev eth0"));
        let checks = checks.finish().checks;
        let seen: Vec<_> = checks.iter().map(|check| (check.observed.as_str(), check.verdict)).collect();
        assert_eq!(
            seen,
            [
                ("no subnet file", Verdict::Fail),
                ("another text", Verdict::Fail),
                ("none to node-2", Verdict::Fail),
                ("routes to the Pods of 1 other nodes", Verdict::Pass)
            ]
        );
    }
}
