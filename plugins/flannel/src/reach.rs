//! Whether Pods of every node are reached from every other one.
//!
//! A small host has neither `ping` nor a tool that enters a Pod's network, but it has `curl`. It asks a Pod of the other
//! node on the discard port, from the asking host's own address in the Pod network: so the question travels from one
//! node's Pod network to the other's, and the answer all the way back. "Connection refused" is an answer: the Pod's own
//! network stack gave it, whatever the Pod serves.

use std::collections::BTreeMap;

use runner_plugin_sdk::api::exec::Output;
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::kubernetes::Object;
use runner_plugin_sdk::nodes::Node;
use runner_plugin_sdk::rollout::is_ready;
use runner_plugin_sdk::{Command, Failure};

/// Exit codes of curl that tell something about the other side.
const TELLING: [i32; 6] = [7, 28, 45, 52, 55, 56];

/// What is asked on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) node: String,
    pub(crate) address: String,
    /// A Pod; otherwise the node's end of its Pod network, which need not be there before its first Pod.
    pub(crate) pod: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Reached,
    Silent,
    /// The question could not be asked.
    Unasked,
}

/// The address to ask on each node: that of a ready Pod in the Pod network, the same one each time.
pub(crate) fn addresses(nodes: &[Node], pods: &[Object]) -> Vec<Asked> {
    let mut by_node: BTreeMap<&str, &str> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| is_ready(&pod.body) && !pod.body.is_true("/spec/hostNetwork")) {
        if let (Some(node), Some(address)) = (pod.body.text("/spec/nodeName"), pod.body.text("/status/podIP")) {
            by_node.entry(node).or_insert(address);
        }
    }
    nodes
        .iter()
        .filter_map(|node| {
            let pod = by_node.get(node.name.as_str()).map(|address| (*address).to_owned());
            let asked = pod.is_some();
            let address = pod.or_else(|| node.pod_cidr.as_deref().and_then(gateway))?;
            Some(Asked { node: node.name.clone(), address, pod: asked })
        })
        .collect()
}

/// First address of a network: the node's own end of its Pods' bridge.
fn gateway(cidr: &str) -> Option<String> {
    let address: std::net::Ipv4Addr = cidr.split('/').next()?.parse().ok()?;
    Some(std::net::Ipv4Addr::from(u32::from(address).checked_add(1)?).to_string())
}

/// Which of `count` things the one at `index` asks: at most `most`, spread so that each is asked equally often.
pub(crate) fn partners(index: usize, count: usize, most: usize) -> Vec<usize> {
    let others = count.saturating_sub(1);
    let asked = others.min(most.max(1));
    (0..asked).map(|turn| (index + 1 + turn * others / asked) % count).collect()
}

/// The command by which a host asks an address.
pub(crate) fn question(host: &str, from: &str, address: &str) -> Command {
    let url = format!("http://{address}:9/");
    let argv = ["curl", "--verbose", "--silent", "--head", "--max-time", "5", "--interface", from, url.as_str()];
    Command::read(host, argv).seconds(20).accept(TELLING).reads(["routes"])
}

/// What an answer of curl means.
pub(crate) fn judge(answer: Result<&Output, &Failure>) -> Answer {
    let Ok(output) = answer else {
        return Answer::Unasked;
    };
    let said = String::from_utf8_lossy(&output.stderr.data).to_lowercase();
    match output.code {
        0 | 52 | 55 | 56 => Answer::Reached,
        7 if said.contains("refused") => Answer::Reached,
        45 => Answer::Unasked,
        _ => Answer::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::tests::node;
    use runner_plugin_sdk::api::exec::Captured;
    use runner_plugin_sdk::api::kubernetes::Identity;
    use serde_json::json;

    fn pod(node: &str, address: &str, host_network: bool) -> Object {
        Object {
            id: Identity { namespace: None, name: address.into(), uid: "u".into(), resource_version: "1".into() },
            body: json!({
                "spec": {"nodeName": node, "hostNetwork": host_network},
                "status": {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
            }),
        }
    }

    #[test]
    fn a_pod_is_asked_where_there_is_one() {
        let pods = [pod("node-1", "10.0.0.1", true), pod("node-1", "10.244.1.7", false)];
        let asked = addresses(&[node(1), node(2)], &pods);
        assert_eq!((asked[0].address.as_str(), asked[0].pod), ("10.244.1.7", true));
        assert_eq!((asked[1].address.as_str(), asked[1].pod), ("10.244.2.1", false));
    }

    #[test]
    fn every_one_asks_every_other_one_while_they_are_few() {
        assert_eq!(partners(0, 3, 16), [1, 2]);
        assert_eq!(partners(2, 3, 16), [0, 1]);
        assert_eq!(partners(0, 1, 16), Vec::<usize>::new());
        let mut asked = vec![0; 100];
        for index in 0..100 {
            let partners = partners(index, 100, 16);
            assert_eq!(partners.len(), 16);
            assert!(!partners.contains(&index));
            partners.iter().for_each(|partner| asked[*partner] += 1);
        }
        assert!(asked.iter().all(|times| *times == 16), "{asked:?}");
    }

    #[test]
    fn only_an_answer_of_the_other_side_counts() {
        let output = |code: i32, said: &str| Output {
            code,
            stdout: Captured { data: vec![], dropped: 0 },
            stderr: Captured { data: said.as_bytes().to_vec(), dropped: 0 },
            unseen: false,
        };
        let refused = "* connect to 10.244.2.7 port 9 failed: Connection refused\n";
        assert_eq!(judge(Ok(&output(7, refused))), Answer::Reached);
        assert_eq!(judge(Ok(&output(0, ""))), Answer::Reached);
        assert_eq!(judge(Ok(&output(7, "* connect to 10.244.2.7 port 9 failed: No route to host\n"))), Answer::Silent);
        assert_eq!(judge(Ok(&output(28, ""))), Answer::Silent);
        assert_eq!(judge(Ok(&output(45, ""))), Answer::Unasked);
    }
}
