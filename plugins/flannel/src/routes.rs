//! Routes of hosts to the Pod networks of the other nodes, as `ip route` prints them.

use runner_plugin_sdk::nodes::Node;

/// The command.
pub(crate) const COMMAND: [&str; 4] = ["ip", "-4", "route", "show"];

/// Routes of one host.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Routes<'a>(Vec<Vec<&'a str>>);

impl<'a> Routes<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        Self(lines.filter(|words| !words.is_empty()).collect())
    }

    /// Nodes whose Pod network the host has no way to: by flannel's own device, or by the node's address.
    pub(crate) fn missing<'n>(&self, others: &[&'n Node]) -> Vec<&'n str> {
        others.iter().filter(|node| !self.reaches(node)).map(|node| node.name.as_str()).collect()
    }

    fn reaches(&self, node: &Node) -> bool {
        let Some(cidr) = node.pod_cidr.as_deref() else {
            return false;
        };
        self.0.iter().filter(|words| words.first() == Some(&cidr)).any(|words| {
            let device = after(words, "dev").is_some_and(|device| device.starts_with("flannel"));
            device || after(words, "via").is_some_and(|via| node.internal_ip.as_deref() == Some(via))
        })
    }

    /// The host's own address in its Pod network; none before its first Pod.
    pub(crate) fn own_address(&self, cidr: &str) -> Option<&'a str> {
        let own = self.0.iter().find(|words| words.first() == Some(&cidr) && after(words, "via").is_none())?;
        after(own, "src")
    }
}

fn after<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1).copied()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node(number: u8) -> Node {
        Node {
            name: format!("node-{number}"),
            host: Some(format!("node-{number}")),
            internal_ip: Some(format!("10.0.0.{number}")),
            ready: true,
            unschedulable: false,
            pod_cidr: Some(format!("10.244.{number}.0/24")),
            kubelet: None,
        }
    }

    #[test]
    fn a_route_by_the_device_or_the_node_counts() {
        let text = "default via 10.0.0.254 dev eth0 \n\
                    10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1 \n\
                    10.244.2.0/24 via 10.0.0.2 dev eth0 \n\
                    10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink \n\
                    10.244.4.0/24 via 10.0.0.9 dev eth0 \n\
                    blackhole 10.244.5.0/24 \n";
        let routes = Routes::read(text);
        let others: Vec<Node> = (2..=5).map(node).collect();
        assert_eq!(routes.missing(&others.iter().collect::<Vec<_>>()), ["node-4", "node-5"]);
        assert_eq!(routes.own_address("10.244.1.0/24"), Some("10.244.1.1"));
        assert_eq!(routes.own_address("10.244.2.0/24"), None);
    }
}
