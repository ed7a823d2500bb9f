//! Name servers of a host. A Pod gets those of its node, and a loopback address is another machine there.

use std::net::IpAddr;

/// Where a host's resolver is configured.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The stub of systemd-resolved, which keeps the real servers in another file.
const STUB: &str = "127.0.0.53";

/// Why Pods of this host could resolve no names.
pub(crate) fn refusal(resolv_conf: &str, kubelet_configuration: Option<&str>) -> Option<String> {
    let servers: Vec<&str> = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    if servers.is_empty() || !servers.iter().all(|server| is_loopback(server)) {
        return None;
    }
    let elsewhere =
        kubelet_configuration.and_then(resolver_of_kubelet).filter(|path| !path.is_empty() && path != RESOLV_CONF);
    if servers.iter().all(|server| *server == STUB) && elsewhere.is_some() {
        return None;
    }
    Some(format!(
        "{RESOLV_CONF} names only loopback addresses ({}): name servers are needed that Pods can reach, such as the \
         host's own address",
        servers.join(", ")
    ))
}

fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or(server);
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `resolvConf` of a KubeletConfiguration, which is YAML or JSON. Only the top level is looked at.
fn resolver_of_kubelet(configuration: &str) -> Option<String> {
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(configuration) {
        return value.get("resolvConf").and_then(|path| path.as_str()).map(str::to_owned);
    }
    configuration.lines().find_map(|line| {
        let value = line.strip_prefix("resolvConf:")?;
        let value = value.split(" #").next().unwrap_or(value).trim();
        Some(value.trim_matches(['"', '\'']).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUBBED: &str = "nameserver 127.0.0.53\noptions edns0\n";
    const RESOLVED: &str = "kind: KubeletConfiguration\nresolvConf: /run/systemd/resolve/resolv.conf\n";

    #[test]
    fn loopback_only_is_refused() {
        for text in ["nameserver 127.0.0.1\n", "nameserver ::1\nnameserver 127.0.1.1", "  nameserver\t127.0.0.1 \n"] {
            assert!(refusal(text, None).is_some_and(|said| said.contains("names only loopback")), "{text}");
            assert!(refusal(text, Some(RESOLVED)).is_some(), "{text}");
        }
    }

    #[test]
    fn one_real_server_is_enough() {
        assert_eq!(refusal("nameserver 127.0.0.1\nnameserver 10.0.0.2\n", None), None);
        assert_eq!(refusal("# nameserver 127.0.0.1\nsearch example.org\n", None), None);
        assert_eq!(refusal("nameserver fe80::1%eth0\n", None), None);
    }

    #[test]
    fn the_stub_passes_when_the_kubelet_reads_another_file() {
        assert_eq!(refusal(STUBBED, Some(RESOLVED)), None);
        assert_eq!(refusal(STUBBED, Some(r#"{"resolvConf": "/run/x"}"#)), None);
        assert_eq!(refusal(STUBBED, Some("resolvConf: \"/run/x\" # real\n")), None);
        for kubelet in [
            None,
            Some("kind: x\n"),
            Some("resolvConf: /etc/resolv.conf\n"),
            Some("resolvConf: ''"),
            Some("  resolvConf: /run/x"),
        ] {
            assert!(refusal(STUBBED, kubelet).is_some(), "{kubelet:?}");
        }
        assert!(refusal("nameserver 127.0.0.53\nnameserver 127.0.0.1", Some(RESOLVED)).is_some());
    }
}
