//! Other tools that run commands on hosts, each set up as its documentation advises for speed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;
use serde_json::{Value, json};

use super::Measurement;
use super::site::{Site, timed};

/// Names of the hosts, each with its commands one after the other, all hosts side by side. The first command opens the
/// connection, the others go through it.
const LOOP: &str = r#"config=$1 control=$2 commands=$3
shift 3
each() {
    while IFS= read -r line; do
        ssh -F "$config" -o ControlMaster=auto -o ControlPersist=60 -o ControlPath="$control/%C" "$1" "$line" \
            </dev/null || exit
    done <"$commands"
}
all=
for host; do
    each "$host" &
    all="$all $!"
done
for one in $all; do
    wait "$one" || exit
done
"#;

/// The other tools; those that could not be had are none.
pub(crate) struct Peers {
    pub(crate) shell: ShellLoop,
    pub(crate) ansible: Option<Ansible>,
    pub(crate) pyinfra: Option<Pyinfra>,
}

impl Peers {
    pub(crate) fn prepare(measurement: &Measurement<'_>, site: &Site, hosts: &[String], home: &Path) -> Result<Self> {
        Ok(Self {
            shell: ShellLoop { connections: Connections::new(site, hosts, &home.join("s"))? },
            ansible: measurement.ansible.map(|program| Ansible::prepare(program, site, hosts, home)).transpose()?,
            pyinfra: measurement.pyinfra.map(|program| Pyinfra::prepare(program, site, hosts, home)).transpose()?,
        })
    }

    /// Closes what they left open.
    pub(crate) fn close(&self) {
        self.shell.connections.close();
        if let Some(ansible) = &self.ansible {
            ansible.connections.close();
        }
    }
}

/// Connections that ssh keeps open for the next command.
#[derive(Clone)]
pub(crate) struct Connections {
    config: PathBuf,
    control: PathBuf,
    hosts: Vec<String>,
}

impl Connections {
    /// None is open yet; their sockets will be in that directory.
    pub(crate) fn new(site: &Site, hosts: &[String], control: &Path) -> Result<Self> {
        fs::create_dir(control)?;
        Ok(Self { config: site.path("ssh_config"), control: control.to_owned(), hosts: hosts.to_vec() })
    }

    /// Where their sockets are, `%C` of ssh for each host.
    pub(crate) fn directory(&self) -> &Path {
        &self.control
    }

    /// Closes those that are open.
    pub(crate) fn close(&self) {
        for host in &self.hosts {
            let mut command = Command::new("ssh");
            command.arg("-F").arg(&self.config).arg("-o").arg(format!("ControlPath={}/%C", self.control.display()));
            // One that is not open cannot be closed.
            let _ = command.args(["-O", "exit", host]).stderr(Stdio::null()).status();
        }
    }
}

/// `ssh` in a loop, through a connection that the first one opens.
pub(crate) struct ShellLoop {
    pub(crate) connections: Connections,
}

impl ShellLoop {
    /// The loop over these commands.
    pub(crate) fn command(&self, name: &str, commands: &[Vec<String>]) -> Result<Command> {
        let Connections { config, control, hosts } = &self.connections;
        let file = control.with_file_name(format!("{name}.txt"));
        fs::write(&file, commands.iter().map(|argv| line(argv) + "\n").collect::<String>())?;
        let mut command = Command::new("sh");
        command.args(["-c", LOOP, "loop"]).arg(config).arg(control).arg(file).args(hosts);
        Ok(command)
    }
}

/// ansible-core: pipelining, connections kept, a fork for each host, Python of the hosts named.
pub(crate) struct Ansible {
    program: PathBuf,
    /// Its name and version.
    pub(crate) label: String,
    pub(crate) connections: Connections,
    home: PathBuf,
}

impl Ansible {
    fn prepare(program: &Path, site: &Site, hosts: &[String], home: &Path) -> Result<Self> {
        let connections = Connections::new(site, hosts, &home.join("a"))?;
        let names: serde_json::Map<String, Value> = hosts.iter().map(|host| (host.clone(), json!({}))).collect();
        let variables = json!({
            "ansible_ssh_common_args": format!("-F {}", connections.config.display()),
            "ansible_python_interpreter": "/usr/bin/python3",
        });
        fs::write(home.join("hosts.yml"), json!({"all": {"hosts": names, "vars": variables}}).to_string())?;
        let settings = format!(
            "[defaults]\nforks = {}\ninventory = {}\n[connection]\npipelining = True\n[ssh_connection]\n\
             pipelining = True\nssh_args = -o ControlMaster=auto -o ControlPersist=60s\n\
             control_path = {}/%%C\n",
            hosts.len().max(5),
            home.join("hosts.yml").display(),
            connections.control.display()
        );
        fs::write(home.join("ansible.cfg"), settings)?;
        let said = timed(environment(&mut Command::new(program), home).arg("--version"))?.1;
        // `ansible-playbook [core 2.19.14]`
        let version = said.lines().next().and_then(|line| line.split(['[', ']']).nth(1)).unwrap_or_default();
        let label = format!("ansible-{version}");
        Ok(Self { program: program.to_owned(), label, connections, home: home.to_owned() })
    }

    /// A play with a task for each command.
    pub(crate) fn command(&self, name: &str, commands: &[Vec<String>]) -> Result<Command> {
        let task = |argv: &Vec<String>| json!({"ansible.builtin.command": {"argv": argv}, "changed_when": false});
        let tasks: Vec<Value> = commands.iter().map(task).collect();
        let play = json!([{"hosts": "all", "gather_facts": false, "tasks": tasks}]);
        let file = self.home.join(format!("{name}.yml"));
        fs::write(&file, play.to_string())?;
        let mut command = Command::new(&self.program);
        environment(&mut command, &self.home).arg(file);
        Ok(command)
    }
}

/// What a user's own settings would change, and a locale that ansible insists on.
fn environment<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    let at = |name: &str| home.join(name);
    command.current_dir(home).env("ANSIBLE_CONFIG", at("ansible.cfg")).env("ANSIBLE_HOME", at("ansible"));
    command.env("LC_ALL", "C.UTF-8")
}

/// pyinfra, with its own SSH.
pub(crate) struct Pyinfra {
    program: PathBuf,
    /// Its name and version.
    pub(crate) label: String,
    home: PathBuf,
}

impl Pyinfra {
    fn prepare(program: &Path, site: &Site, hosts: &[String], home: &Path) -> Result<Self> {
        let data = json!({
            "ssh_config_file": site.path("ssh_config"),
            "ssh_known_hosts_file": site.path("known_hosts"),
            "ssh_strict_host_key_checking": "yes",
        });
        // JSON without true, false and null reads as Python.
        fs::write(home.join("hosts.py"), format!("hosts = ({}, {data})\n", json!(hosts)))?;
        let said = timed(Command::new(program).arg("--version"))?.1;
        let version = said.trim().trim_start_matches("pyinfra: v");
        Ok(Self { program: program.to_owned(), label: format!("pyinfra {version}"), home: home.to_owned() })
    }

    /// A deployment of these commands: an operation with all of them, or one for each.
    pub(crate) fn command(&self, name: &str, commands: &[Vec<String>], each: bool) -> Result<Command> {
        let lines: Vec<String> = commands.iter().map(|argv| line(argv)).collect();
        let operation = |lines: &[String]| format!("server.shell(commands={})\n", json!(lines));
        let operations: String = match each {
            true => lines.chunks(1).map(operation).collect(),
            false => operation(&lines),
        };
        let file = self.home.join(format!("{name}_{}.py", if each { "each" } else { "all" }));
        fs::write(&file, format!("from pyinfra.operations import server\n{operations}"))?;
        let mut command = Command::new(&self.program);
        command.current_dir(&self.home).arg("--yes").arg(self.home.join("hosts.py")).arg(file);
        Ok(command)
    }
}

/// A command as a shell reads it; its words need no quotes.
fn line(argv: &[String]) -> String {
    argv.join(" ")
}
