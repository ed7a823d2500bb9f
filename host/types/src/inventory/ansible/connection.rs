//! What Ansible's variables say about how a host is reached.

use serde_json::Value;

use super::tree::Variables;
use crate::inventory::resolved::CONNECTION_VARIABLES;
use crate::{Become, Connection, Host, Needs, Unavailable, Variable};

/// Moves connection variables into the host's own fields. What cannot be understood is said.
pub(super) fn host_of(name: &str, mut variables: Variables, file: &str) -> Result<Host, Vec<String>> {
    let mut wrong = Vec::new();
    // Of two names the one that Ansible prefers comes first.
    let mut host = Host {
        address: text(&variables, &["ansible_host", "ansible_ssh_host"]),
        user: text(&variables, &["ansible_user", "ansible_ssh_user"]),
        key: text(&variables, &["ansible_ssh_private_key_file", "ansible_private_key_file"]),
        ..Host::default()
    };
    if let Some(port) = text(&variables, &["ansible_port", "ansible_ssh_port"]) {
        match port.parse() {
            Ok(port) => host.port = Some(port),
            Err(_) => wrong.push(format!("host {name:?}: ansible_port {port:?} is no port")),
        }
    }
    match text(&variables, &["ansible_connection"]).as_deref() {
        None => {}
        Some("ssh" | "smart" | "paramiko" | "paramiko_ssh" | "ansible.builtin.ssh") => {
            host.connection = Some(Connection::Ssh);
        }
        Some("local" | "ansible.builtin.local") => host.connection = Some(Connection::Local),
        Some(other) => wrong.push(format!(
            "host {name:?}: ansible_connection {other:?} is not supported; runner reaches hosts by ssh or local"
        )),
    }
    // In the order in which Ansible hands them to ssh, for which the first one counts.
    for key in ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"] {
        if let Some(arguments) = text(&variables, &[key]) {
            match options_of(&arguments) {
                Ok(Options { jump, known_hosts }) => {
                    host.jump = host.jump.take().or(jump);
                    host.known_hosts = host.known_hosts.take().or(known_hosts);
                }
                Err(reason) => wrong.push(format!("host {name:?}: {key}: {reason}")),
            }
        }
    }
    host.jump = host.jump.filter(|jump| !jump.eq_ignore_ascii_case("none"));
    host.r#become = become_of(name, &mut variables, file, &mut wrong);
    // Runner logs in with keys; a password would only be carried around.
    for key in ["ansible_password", "ansible_ssh_pass"] {
        variables.shift_remove(key);
    }
    variables.retain(|key, variable| {
        !CONNECTION_VARIABLES.contains(&key.as_str()) || matches!(variable, Variable::Unavailable(_))
    });
    for (key, variable) in &mut variables {
        if says_secret(key) && matches!(variable, Variable::Value(_)) {
            *variable = Variable::Unavailable(Unavailable { needs: Needs::Secret, file: file.to_owned() });
        }
    }
    host.variables = variables;
    if wrong.is_empty() { Ok(host) } else { Err(wrong) }
}

fn text(variables: &Variables, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match variables.get(*name)?.value()? {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    })
}

fn become_of(name: &str, variables: &mut Variables, file: &str, wrong: &mut Vec<String>) -> Option<Become> {
    let flag = text(variables, &["ansible_become"]);
    let enabled = match flag.as_deref().map(str::to_lowercase).as_deref() {
        Some("true" | "yes" | "on" | "1") => true,
        Some("false" | "no" | "off" | "0") | None => false,
        Some(other) => {
            wrong.push(format!("host {name:?}: ansible_become {other:?} is neither true nor false"));
            false
        }
    };
    if !enabled {
        // What only sudo would need is not needed.
        variables.retain(|key, _| !key.starts_with("ansible_become_"));
        return flag.map(|_| Become::no());
    }
    if let Some(method) = text(variables, &["ansible_become_method"])
        && !["sudo", "ansible.builtin.sudo"].contains(&method.as_str())
    {
        wrong.push(format!("host {name:?}: ansible_become_method {method:?} is not supported; runner uses sudo"));
    }
    // A password in an inventory is not used; it is needed all the same, and the settings can name where it is.
    for key in ["ansible_become_password", "ansible_become_pass"] {
        if let Some(variable @ Variable::Value(_)) = variables.get_mut(key) {
            *variable = Variable::Unavailable(Unavailable { needs: Needs::Secret, file: file.to_owned() });
        }
    }
    let user = text(variables, &["ansible_become_user"]).unwrap_or_else(|| "root".to_owned());
    Some(Become { enabled: true, user, password: None })
}

/// What is taken over of the arguments of ssh.
#[derive(Debug, Default, PartialEq)]
struct Options {
    jump: Option<String>,
    known_hosts: Option<String>,
}

/// `-J host`, `-o ProxyJump=host`, `-o UserKnownHostsFile=path`, of each the first. Other arguments of ssh cannot be taken
/// over unread.
fn options_of(arguments: &str) -> Result<Options, String> {
    let mut found = Options::default();
    let mut jump = |host: &str| {
        found.jump.get_or_insert_with(|| host.to_owned());
    };
    let cleaned = arguments.replace(['"', '\''], " ");
    let mut words = cleaned.split_whitespace();
    while let Some(word) = words.next() {
        let option = match word {
            "-J" => {
                jump(words.next().ok_or("-J without a host")?);
                continue;
            }
            // Compression, which is in Ansible's own default.
            "-C" => continue,
            "-o" => words.next().ok_or("-o without an option")?,
            _ => match (word.strip_prefix("-J"), word.strip_prefix("-o")) {
                (Some(host), _) => {
                    jump(host);
                    continue;
                }
                (None, Some(option)) => option,
                (None, None) => {
                    return Err(format!("argument {word:?} is not supported; ProxyJump is"));
                }
            },
        };
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), value.to_owned()),
            None => (option.to_lowercase(), words.next().unwrap_or_default().to_owned()),
        };
        match key.as_str() {
            "proxyjump" => jump(&value),
            // `/dev/null` goes with unchecked host keys, which runner does not have.
            "userknownhostsfile" if value == "/dev/null" => {}
            "userknownhostsfile" => {
                found.known_hosts.get_or_insert(value);
            }
            // Runner keeps one connection a host and always checks host keys.
            "controlmaster"
            | "controlpersist"
            | "controlpath"
            | "serveraliveinterval"
            | "serveralivecountmax"
            | "connecttimeout"
            | "compression"
            | "forwardagent"
            | "batchmode"
            | "loglevel" => {}
            "stricthostkeychecking" => {}
            _ => return Err(format!("option {key:?} is not supported; ProxyJump is")),
        }
    }
    Ok(found)
}

/// Whether a variable's name says that it holds a secret.
fn says_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "passwd", "passphrase", "secret", "token", "private_key", "credential"]
        .iter()
        .any(|word| name.contains(word) && !name.ends_with("_file") && !name.ends_with("_path"))
        || name.ends_with("_pass")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ssh() {
        let cases = [
            ("-o ProxyJump=ops@bastion:2222", Ok((Some("ops@bastion:2222"), None))),
            ("-J bastion", Ok((Some("bastion"), None))),
            ("-Jbastion -o ControlMaster=auto", Ok((Some("bastion"), None))),
            ("'-oProxyJump=b'", Ok((Some("b"), None))),
            ("-o StrictHostKeyChecking=no", Ok((None, None))),
            ("-o UserKnownHostsFile=keys/known_hosts -J b", Ok((Some("b"), Some("keys/known_hosts")))),
            ("-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null", Ok((None, None))),
            ("", Ok((None, None))),
            ("-o ProxyCommand=\"ssh -W %h:%p x\"", Err("option \"proxycommand\"")),
            ("-A", Err("argument \"-A\"")),
        ];
        for (arguments, wanted) in cases {
            match (options_of(arguments), wanted) {
                (Ok(found), Ok(wanted)) => {
                    assert_eq!((found.jump.as_deref(), found.known_hosts.as_deref()), wanted, "{arguments}");
                }
                (Err(found), Err(wanted)) => assert!(found.starts_with(wanted), "{found}"),
                (found, _) => panic!("{arguments}: {found:?}"),
            }
        }
    }

    #[test]
    fn names_that_say_secret() {
        for name in ["db_password", "API_TOKEN", "ansible_become_pass", "tls_private_key"] {
            assert!(says_secret(name), "{name}");
        }
        for name in ["password_file", "bypass_proxy", "tokens_path", "compass"] {
            assert!(!says_secret(name), "{name}");
        }
    }
}
