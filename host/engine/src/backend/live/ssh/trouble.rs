//! What `ssh` says when a connection fails, and what to do about it.

use super::route::Route;

/// Why a connection failed, from what `ssh` wrote, with what to do.
pub(super) fn explain(route: &Route, said: &str) -> String {
    let name = &route.name;
    let (label, title) = (route.label(), route.title());
    let line_with = |text: &str| said.lines().map(str::trim).find(|line| line.contains(text));
    if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let mut lines = said.lines().map(str::trim);
        let found = lines.find(|line| line.starts_with("SHA256:")).unwrap_or("unknown").trim_end_matches('.');
        return format!(
            "DANGER: the host key of {} has changed (it shows {found}): {name} was installed anew, or somebody stands in \
             between; find out which before anything else, then `runner inventory trust {name} --replace`",
            key_owner(said).unwrap_or(label)
        );
    }
    if said.contains("Host key verification failed") {
        return format!(
            "the host key of {} is not known; look at it and accept it with `runner inventory trust {name}`",
            key_owner(said).unwrap_or(label)
        );
    }
    if let Some(line) = line_with("Permission denied (") {
        let who = line.split_once(": ").map_or(label.as_str(), |(who, _)| who);
        let tried = match &route.key {
            Some(key) => format!("the key {}", key.display()),
            None => "any key of the agent or of ~/.ssh".to_owned(),
        };
        let broken = match line_with("Load key ") {
            Some(line) => format!(" ({line}; a key with a passphrase belongs into ssh-agent)"),
            None => String::new(),
        };
        let to_do = "mend `user` or `key` in the inventory, or add the public key to that user's authorized_keys there";
        // Else it is one on the way.
        let title = if who.ends_with(&route.address) { format!("{name} ({who})") } else { who.to_owned() };
        return format!("{title}: permission denied: it does not accept {tried}{broken}; {to_do}");
    }
    if said.contains("System is booting up") || said.contains("System is going down") {
        return format!("{title}: the host is starting or stopping; run again when it is up");
    }
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.clone().find(|line| tells(line)).or_else(|| lines.clone().next_back());
    match line {
        Some(line) => {
            let line = line.trim_start_matches("ssh: ");
            let line = line.strip_prefix("kex_exchange_identification: ").unwrap_or(line);
            let to_do = to_do(line).map_or_else(String::new, |to_do| format!("; {to_do}"));
            format!("cannot connect to {title}: {line}{to_do}")
        }
        None => format!("cannot connect to {title}: ssh gave no reason"),
    }
}

/// What to do about a line that tells the reason.
fn to_do(line: &str) -> Option<&'static str> {
    let known = [
        ("Connection refused", "nothing listens there: is sshd running, and is the port right?"),
        ("banner exchange", "it took the connection and says nothing: the host hangs, or is overloaded"),
        ("timed out", "is the host up, and does no firewall stand in between?"),
        ("No route to host", "is the host up, and does no firewall stand in between?"),
        ("Could not resolve", "is `address` right in the inventory?"),
        ("Connection closed", "is sshd running on it?"),
        ("Connection reset", "is sshd running on it?"),
    ];
    known.iter().find(|(said, _)| line.contains(said)).map(|(_, to_do)| *to_do)
}

/// Whether the same attempt may well succeed a moment later: the server had too many at once.
pub(super) fn is_fleeting(said: &str) -> bool {
    let before_login = ["kex_exchange_identification", "Connection reset by", "Exceeded MaxStartups"];
    before_login.iter().any(|text| said.contains(text)) && !said.contains("Connection refused")
}

/// Whether a line is the reason, and not what follows from it.
fn tells(line: &str) -> bool {
    let reasons = [
        "connect to host ",
        "Could not resolve",
        "kex_exchange_identification",
        "open failed",
        "Unable to negotiate",
        "Bad owner or permissions",
        "Bad configuration option",
        "Too many authentication failures",
        "timed out",
        "not responding",
        "Connection reset",
        "no argument after keyword",
    ];
    reasons.iter().any(|reason| line.contains(reason))
}

/// Whose host key it is about, as ssh names it: the host, or one on the way.
fn key_owner(said: &str) -> Option<String> {
    for (before, after) in [("host key is known for ", " and you have"), ("Host key for ", " has changed")] {
        let found = said.split_once(before).and_then(|(_, rest)| rest.split_once(after));
        if let Some((owner, _)) = found {
            return Some(owner.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::live::ssh::route::tests::route;

    #[test]
    fn what_ssh_says_becomes_what_to_do() {
        let cases = [
            (
                "ssh: connect to host 192.0.2.7 port 2201: Connection refused\r\n",
                "cannot connect to node-1 (ops@192.0.2.7:2201): connect to host 192.0.2.7 port 2201: Connection refused; \
                 nothing listens there: is sshd running, and is the port right?",
            ),
            (
                "No ED25519 host key is known for [192.0.2.7]:2201 and you have requested strict checking.\r\n\
                 Host key verification failed.\r\n",
                "the host key of [192.0.2.7]:2201 is not known; look at it and accept it with `runner inventory trust node-1`",
            ),
            (
                "Authorised users only!\nops@192.0.2.7: Permission denied (publickey).\r\n",
                "node-1 (ops@192.0.2.7): permission denied: it does not accept any key of the agent or of ~/.ssh; \
                 mend `user` or `key` in the inventory, or add the public key to that user's authorized_keys there",
            ),
            (
                "channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\n\
                 Connection closed by UNKNOWN port 65535\r\n",
                "cannot connect to node-1 (ops@192.0.2.7:2201): channel 0: open failed: connect failed: No route to host; \
                 is the host up, and does no firewall stand in between?",
            ),
            (
                "Connection timed out during banner exchange\r\nConnection to 192.0.2.7 port 2201 timed out\r\n",
                "cannot connect to node-1 (ops@192.0.2.7:2201): Connection timed out during banner exchange; \
                 it took the connection and says nothing: the host hangs, or is overloaded",
            ),
            ("", "cannot connect to node-1 (ops@192.0.2.7:2201): ssh gave no reason"),
        ];
        for (said, wanted) in cases {
            assert_eq!(explain(&route(""), said), wanted, "{said}");
        }
    }

    #[test]
    fn a_changed_host_key_is_a_danger() {
        let said = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n\
            @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n\
            The fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc123.\r\n\
            Host key for bastion has changed and you have requested strict checking.\r\nHost key verification failed.\r\n";
        let message = explain(&route(""), said);
        assert!(
            message.starts_with("DANGER: the host key of bastion has changed (it shows SHA256:abc123)"),
            "{message}"
        );
        assert!(message.ends_with("`runner inventory trust node-1 --replace`"), "{message}");
    }
}
