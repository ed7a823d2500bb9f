use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Connection, Needs, ResolvedInventory, Variable};

/// Files in memory.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, Vec<u8>>);

impl Memory {
    fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).cloned())
    }

    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>> {
        let mut names: Vec<String> = self
            .0
            .keys()
            .filter_map(|file| file.strip_prefix(path).ok()?.iter().next())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.dedup();
        Ok(Some(names).filter(|names| !names.is_empty()))
    }
}

fn load(files: &[(&str, &str)]) -> LoadedInventory {
    load_inventory(&Memory::of(files), Path::new(files[0].0)).unwrap()
}

fn resolve(files: &[(&str, &str)]) -> ResolvedInventory {
    load(files).inventory.resolve()
}

fn error(files: &[(&str, &str)]) -> String {
    load_inventory(&Memory::of(files), Path::new(files[0].0)).map(|l| format!("{l:?}")).unwrap_err().to_string()
}

fn variables(inventory: &ResolvedInventory, host: &str) -> Value {
    json!(inventory.host(host).unwrap().published())
}

const INI: &str = r#"
# the platform
lonely ansible_connection=local

[masters]
master-1 ansible_host=10.0.0.11 rack=1 note="two words" # a comment
[nodes]
node-[1:2] ansible_host=10.0.0.2 zone='b' flag=True yes=yes mode=0644#x
node-3:2222

[kubernetes:children]
masters
nodes

[kubernetes:vars]
ansible_user=ops
ansible_become=true
ansible_ssh_common_args='-o ProxyJump=ops@bastion'
cidr = 10.1.0.0/16
level=outer
list=[1, 'a']

[nodes:vars]
level=inner

[all:vars]
level=all
site=tokyo
"#;

#[test]
fn ini_files() {
    let inventory = resolve(&[("inv/hosts.ini", INI)]);
    assert_eq!(inventory.hosts.keys().collect::<Vec<_>>(), ["lonely", "master-1", "node-1", "node-2", "node-3"]);
    let master = inventory.host("master-1").unwrap();
    assert_eq!(
        (master.address.as_str(), master.user.as_deref(), master.jump.as_deref()),
        ("10.0.0.11", Some("ops"), Some("ops@bastion"))
    );
    assert!(master.r#become.enabled);
    assert_eq!(master.groups, ["kubernetes", "masters"]);
    assert_eq!(
        variables(&inventory, "master-1"),
        json!({"level": "outer", "site": "tokyo", "cidr": "10.1.0.0/16", "list": [1, "a"], "rack": 1, "note": "two words"})
    );
    assert_eq!(
        variables(&inventory, "node-2"),
        json!({"level": "inner", "site": "tokyo", "cidr": "10.1.0.0/16", "list": [1, "a"], "zone": "b",
            "flag": true, "yes": "yes", "mode": "0644"})
    );
    assert_eq!(inventory.host("node-3").unwrap().port, Some(2222));
    assert_eq!(inventory.host("lonely").unwrap().connection, Connection::Local);
    assert_eq!(inventory.groups["kubernetes"], ["master-1", "node-1", "node-2", "node-3"]);
    assert_eq!(inventory.groups["ungrouped"], ["lonely"]);
}

#[test]
fn yaml_files() {
    let text = r"
all:
  vars: {site: tokyo, level: all}
  hosts:
    lonely:
  children:
    kubernetes:
      vars: {level: outer, ansible_port: 2201}
      children:
        masters:
          hosts:
            master-1: {ansible_host: 10.0.0.11, drained: no}
        nodes:
          vars:
            level: inner
          hosts:
            node-[1:2]:
              ansible_connection: ssh
      later: 1
";
    let loaded = load(&[("hosts.yml", text)]);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].starts_with("hosts.yml:19: group \"kubernetes\" holds \"later\""));
    let inventory = loaded.inventory.resolve();
    assert_eq!(variables(&inventory, "master-1"), json!({"site": "tokyo", "level": "outer", "drained": false}));
    assert_eq!(variables(&inventory, "node-2"), json!({"site": "tokyo", "level": "inner"}));
    assert_eq!(inventory.host("node-1").unwrap().port, Some(2201));
    assert_eq!(inventory.select(&["kubernetes"]).unwrap(), ["master-1", "node-1", "node-2"]);
}

#[test]
fn the_output_of_ansible_inventory() {
    let text = r#"{"_meta": {"hostvars": {"m": {"ansible_host": "10.0.0.1", "x": {"__ansible_unsafe": "{{ y }}"},
        "v": {"__ansible_vault": "$ANSIBLE_VAULT;1.1"}, "t": "{{ x }}"}, "n": {}}},
        "all": {"children": ["ungrouped", "k"]}, "k": {"children": ["masters"], "hosts": ["n"]},
        "masters": {"hosts": ["m"]}}"#;
    let inventory = resolve(&[("list.json", text)]);
    assert_eq!(variables(&inventory, "m"), json!({"x": "{{ y }}"}));
    assert_eq!(inventory.groups["k"], ["m", "n"]);
    let host = inventory.host("m").unwrap();
    assert_eq!(
        host.variable("v").unwrap_err().to_string(),
        "list.json: variable \"v\" of host \"m\" needs Ansible's vault"
    );
    assert!(host.variable("t").is_err());
    assert!(host.check_available().is_ok());
}

#[test]
fn native_inventories_are_read_too() {
    let loaded = load(&[("a/i.json", r#"{"hosts": {"x": {}}, "groups": {"all-of-them": {"hosts": ["x"]}}}"#)]);
    assert!(loaded.source.is_some());
    assert_eq!(loaded.folder, Path::new("a"));
    let found = error(&[("i.json", r#"{"hosts": {"x": {"adress": "1"}}}"#)]);
    assert!(
        found.starts_with("i.json:1:18: $.hosts.x.adress: unknown field \"adress\"; did you mean \"address\"?"),
        "{found}"
    );
}

#[test]
fn variables_beside_the_inventory_in_ansibles_order() {
    let files = [
        (
            "i/hosts",
            "[web]\nw1 own=inline both=inline\n[web:vars]\na=inline-group\nb=inline-group\n[all:vars]\na=inline-all\n",
        ),
        ("i/group_vars/all.yml", "a: file-all\nc: file-all\nd: file-all\n"),
        ("i/group_vars/web/10-first.yml", "c: first\nd: first\n"),
        ("i/group_vars/web/20-second.json", "{\"d\": \"second\"}"),
        ("i/group_vars/web/.hidden.yml", "d: hidden\n"),
        ("i/group_vars/web/notes.txt", "d: [\n"),
        ("i/group_vars/web/old.yml~", "d: old\n"),
        ("i/host_vars/w1.yaml", "both: file\n"),
    ];
    assert_eq!(
        variables(&resolve(&files), "w1"),
        // A file for all wins over what the inventory says of one group: that is Ansible's order.
        json!({"a": "file-all", "b": "inline-group", "c": "first", "d": "second", "own": "inline", "both": "file"})
    );
}

#[test]
fn groups_merge_by_depth_then_priority_then_name() {
    let text = "[b]\nh\n[a]\nh\n[z:children]\na\n[a:vars]\nx=a\ny=a\n[b:vars]\nx=b\n[z:vars]\nx=z\ny=z\n";
    assert_eq!(variables(&resolve(&[("h.ini", text)]), "h"), json!({"x": "a", "y": "a"}));
    let flat = "[b]\nh\n[a]\nh\n[a:vars]\nx=a\n[b:vars]\nx=b\n";
    assert_eq!(variables(&resolve(&[("h.ini", flat)]), "h"), json!({"x": "b"}));
    let prior = flat.replace("x=a", "x=a\nansible_group_priority=10");
    assert_eq!(variables(&resolve(&[("h.ini", &prior)]), "h")["x"], "a");
}

#[test]
fn what_needs_a_vault_or_a_template_is_refused_only_when_needed() {
    let files = [
        ("i/hosts.ini", "[web]\nw1 ansible_host=10.0.0.1\nw2 ansible_host=\"{{ base }}.2\"\n"),
        (
            "i/group_vars/web.yml",
            "secret_key: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nplain: 1\nurl: 'http://{{ x }}/'\nnested: {a: ['{{ x }}']}\n",
        ),
        ("i/group_vars/all/vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n"),
    ];
    let loaded = load(&files);
    assert_eq!(loaded.warnings, ["i/group_vars/all/vault.yml is encrypted; its variables are not available"]);
    let inventory = loaded.inventory.resolve();
    assert_eq!(variables(&inventory, "w1"), json!({"plain": 1}));
    let one = inventory.host("w1").unwrap();
    assert!(one.check_available().is_ok());
    for name in ["secret_key", "url", "nested"] {
        let error = one.variable(name).unwrap_err();
        assert_eq!(error.why.file, "i/group_vars/web.yml", "{name}");
    }
    let error = inventory.host("w2").unwrap().check_available().unwrap_err();
    assert_eq!(
        error.to_string(),
        "i/hosts.ini: variable \"ansible_host\" of host \"w2\" needs Ansible's template engine"
    );
    assert!(error.help().contains("give the value itself"));
}

#[test]
fn secrets_in_variables_do_not_go_on() {
    let text = "[web]\nw1 ansible_password=a1 db_password=b2 ansible_become=yes ansible_become_password=c3\nw2 ansible_become_pass=d4\n";
    let loaded = load(&[("h.ini", text)]);
    let header = serde_json::to_string(&loaded.inventory).unwrap();
    for secret in ["a1", "b2", "c3", "d4"] {
        assert!(!header.contains(secret), "{secret}: {header}");
    }
    let inventory = loaded.inventory.resolve();
    let error = inventory.host("w1").unwrap().check_available().unwrap_err();
    assert_eq!(error.variable, "ansible_become_password");
    assert_eq!(error.why.needs, Needs::Secret);
    assert!(inventory.host("w2").unwrap().check_available().is_ok());
    let settings = r#"{"access": {"become": {"password": "sudo"}}, "secrets": {"sudo": {"file": "/x"}}}"#;
    let inventory = resolve(&[("h.ini", text), ("settings.json", settings)]);
    let host = inventory.host("w1").unwrap();
    assert!(host.check_available().is_ok());
    assert_eq!(host.r#become.password.as_deref(), Some("sudo"));
}

#[test]
fn all_arguments_of_ssh_count_and_the_first_one_wins() {
    let text = "a ansible_ssh_args='-C -o ControlMaster=auto -o ProxyJump=ops@bastion'\n\
        b ansible_ssh_extra_args='-J x3' ansible_ssh_common_args='-J x2' ansible_ssh_args='-o ProxyJump=x1 -J x0'\n\
        c ansible_ssh_extra_args='-J x3 -oUserKnownHostsFile=k3' ansible_ssh_common_args='-J x2'\n\
        d ansible_ssh_args='-o ProxyJump={{ bastion }}'\n\
        e ansible_ssh_args='-o ProxyJump=none' ansible_ssh_common_args='-J x2'\n";
    let inventory = resolve(&[("h.ini", text)]);
    for (name, wanted) in [("a", "ops@bastion"), ("b", "x1"), ("c", "x2")] {
        assert_eq!(inventory.host(name).unwrap().jump.as_deref(), Some(wanted), "{name}");
        assert_eq!(variables(&inventory, name), json!({}), "{name}");
    }
    assert_eq!(inventory.host("e").unwrap().jump, None);
    assert_eq!(inventory.host("c").unwrap().known_hosts.as_deref(), Some("k3"));
    let needed = inventory.host("d").unwrap().check_available().unwrap_err();
    assert_eq!(needed.variable, "ansible_ssh_args");
    let unknown = error(&[("h.ini", "a ansible_ssh_args='-F other'\n")]);
    assert!(unknown.starts_with("h.ini: host \"a\": ansible_ssh_args: argument \"-F\" is not supported"), "{unknown}");
}

/// Hosts `a` and `b`; with a template in each variable of `a`, with settings beside them.
fn templated(variables: &[&str], settings: &str) -> ResolvedInventory {
    let pairs: Vec<String> = variables.iter().map(|name| format!("{name}='{{{{ x }}}}'")).collect();
    let text = format!("a {}\nb\n", pairs.join(" "));
    resolve(&[("h.ini", &text), ("settings.json", settings)])
}

#[test]
fn what_the_settings_give_needs_no_template() {
    let args = ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"];
    let cases: [(&str, &[&str]); 8] = [
        (r#""address": "10.0.0.1""#, &["ansible_host", "ansible_ssh_host"]),
        (r#""user": "ops""#, &["ansible_user", "ansible_ssh_user"]),
        (r#""port": 22"#, &["ansible_port", "ansible_ssh_port"]),
        (r#""key": "k""#, &["ansible_ssh_private_key_file", "ansible_private_key_file"]),
        (r#""connection": "local""#, &["ansible_connection"]),
        (r#""jump": "b""#, &args),
        (r#""known-hosts": "k""#, &args),
        (r#""become": true"#, &["ansible_become", "ansible_become_user", "ansible_become_method"]),
    ];
    for (field, names) in cases {
        for name in names {
            let rest = templated(&[name], "{}");
            let needed = rest.host("a").unwrap().check_available();
            // What only sudo would need is not needed without it.
            assert!(needed.is_err() || name.starts_with("ansible_become_"), "{name}");
        }
        let inventory = templated(names, &format!(r#"{{"hosts": {{"a": {{{field}}}}}}}"#));
        let host = inventory.host("a").unwrap();
        assert_eq!(host.check_available(), Ok(()), "{field}");
        assert!(host.variables.is_empty(), "{field}: {:?}", host.variables);
        let other = if field.contains("user") { r#""port": 22"# } else { r#""user": "ops""# };
        let inventory = templated(names, &format!(r#"{{"hosts": {{"a": {{{other}}}}}}}"#));
        assert!(inventory.host("a").unwrap().check_available().is_err(), "{field}");
        // A host's address is nobody's default, and who trusts a file of keys has not said the way there.
        let shared = match field.split(':').next() {
            Some(r#""address""# | r#""known-hosts""#) => continue,
            Some(r#""connection""#) => format!("{{{field}}}"),
            _ => format!(r#"{{"access": {{{field}}}}}"#),
        };
        assert_eq!(templated(names, &shared).host("a").unwrap().check_available(), Ok(()), "{shared}");
    }
}

#[test]
fn settings_for_sudo_take_the_place_of_what_they_say_only() {
    let hosts = "a ansible_become=yes ansible_become_user='{{ x }}' ansible_become_password=c3\n";
    let needed = |settings: &str| {
        let inventory = resolve(&[("h.ini", hosts), ("settings.json", settings)]);
        inventory.host("a").unwrap().check_available().err().map(|error| error.variable)
    };
    let cases = [
        ("{}", Some("ansible_become_user")),
        // The host's own user wins over the shared one and is not known.
        (r#"{"access": {"become": true}}"#, Some("ansible_become_user")),
        // A password is needed all the same.
        (r#"{"hosts": {"a": {"become": true}}}"#, Some("ansible_become_password")),
        (r#"{"hosts": {"a": {"become": false}}}"#, None),
        (r#"{"hosts": {"a": {"become": {"password": "s"}}}, "secrets": {"s": {"file": "/x"}}}"#, None),
    ];
    for (settings, wanted) in cases {
        assert_eq!(needed(settings).as_deref(), wanted, "{settings}");
    }
}

#[test]
fn a_line_that_begins_with_a_range_is_a_host() {
    let text = "[a:c].example.com x=1\n[01:02]-node:2222 # two\n[1:2] x=2\n[web] # a group\n[a:b]w[1:2]\n";
    let inventory = resolve(&[("h.ini", text)]);
    let names: Vec<&str> = inventory.hosts.keys().map(String::as_str).collect();
    let wanted = "a.example.com b.example.com c.example.com 01-node 02-node 1 2 aw1 aw2 bw1 bw2";
    assert_eq!(names.join(" "), wanted);
    assert_eq!(inventory.host("02-node").unwrap().port, Some(2222));
    assert_eq!(inventory.groups["web"], ["aw1", "aw2", "bw1", "bw2"]);
    let unknown = error(&[("h.ini", "[a:c]\nx\n")]);
    assert!(unknown.starts_with("h.ini:1:1: no kind of section \"c\""), "{unknown}");
}

#[test]
fn a_host_of_yaml_may_have_a_port() {
    let text = "all:\n  hosts:\n    node-[1:2]:2222:\n    node-3:2222: {ansible_port: 99}\n";
    let inventory = resolve(&[("h.yml", text)]);
    let ports: Vec<_> = inventory.hosts.values().map(|host| (host.name.as_str(), host.port)).collect();
    assert_eq!(ports, [("node-1", Some(2222)), ("node-2", Some(2222)), ("node-3", Some(99))]);
}

#[test]
fn hosts_of_no_group_are_ungrouped() {
    let yaml = "all:\n  hosts:\n    lonely:\n    w1:\n  children:\n    web:\n      hosts:\n        w1:\n";
    let json = r#"{"_meta": {}, "all": {"hosts": ["lonely", "w1"]}, "ungrouped": {"hosts": ["w1"]}, "web": {"hosts": ["w1"]}}"#;
    let ini = "w1\n[all]\nlonely\n[web]\nw1\n";
    for (path, text) in [("h.yml", yaml), ("h.json", json), ("h.ini", ini)] {
        let beside = ("group_vars/ungrouped.yml", "of: ungrouped\n");
        let inventory = resolve(&[(path, text), beside]);
        assert_eq!(inventory.select(&["ungrouped"]).unwrap(), ["lonely"], "{path}");
        assert_eq!(inventory.select(&["!ungrouped"]).unwrap(), ["w1"], "{path}");
        assert_eq!(variables(&inventory, "lonely"), json!({"of": "ungrouped"}), "{path}");
        assert_eq!(variables(&inventory, "w1"), json!({}), "{path}");
        assert_eq!(inventory.host("w1").unwrap().groups, ["web"], "{path}");
    }
    let inventory = resolve(&[("h.ini", "[web]\nw1\n[rest:children]\nungrouped\n")]);
    assert_eq!(inventory.select(&["all:!ungrouped:!rest"]).unwrap(), ["w1"]);
}

#[test]
fn settings_beside_the_inventory() {
    let settings = r#"{"name": "prod", "hosts": {"master-1": {"port": 99}}, "nodes": "kubernetes",
        "groups": {"etcd": {"groups": ["masters"], "hosts": ["node-1"]}},
        "clusters": {"main": {"kubeconfig": "k"}}, "connection": "simulated", "platform": "p.json",
        "components": {"metrics": {"volume": "/v"}}}"#;
    for name in ["i/hosts.ini.settings.json", "i/hosts.settings.json", "i/settings.json"] {
        let loaded = load(&[("i/hosts.ini", INI), (name, settings)]);
        assert_eq!(loaded.inventory.name.as_deref(), Some("prod"));
        assert_eq!(loaded.inventory.components["metrics"]["volume"], "/v");
        let inventory = loaded.inventory.resolve();
        assert_eq!(inventory.select(&["etcd"]).unwrap(), ["master-1", "node-1"]);
        let master = inventory.host("master-1").unwrap();
        assert_eq!((master.port, master.node.as_deref()), (Some(99), Some("master-1")));
        assert_eq!(master.connection, Connection::Simulated);
        let lonely = inventory.host("lonely").unwrap();
        assert_eq!((lonely.node.as_deref(), lonely.connection), (None, Connection::Local));
    }
    let wrong = |settings: &str| error(&[("i/hosts.ini", INI), ("i/settings.json", settings)]);
    let cases = [
        (
            r#"{"hosts": {"master": {}}}"#,
            "i/settings.json:1:22: $.hosts.master: the inventory has no host \"master\"; did you mean \"master-1\"?",
        ),
        (
            r#"{"groups": {"nodes": {}}}"#,
            "i/settings.json:1:22: $.groups.nodes: the inventory has a group \"nodes\" already",
        ),
        (
            r#"{"nodes": "kubernets"}"#,
            "i/settings.json:1:11: $.nodes: no host or group \"kubernets\"; did you mean \"kubernetes\"?",
        ),
        (r#"{"name": ".."}"#, "i/settings.json:1:10: $.name: \"..\" cannot be the name of a platform"),
        (r#"{"cluster": {}}"#, "i/settings.json:1:2: $.cluster: unknown field \"cluster\"; did you mean \"clusters\"?"),
    ];
    for (settings, wanted) in cases {
        let found = wrong(settings);
        assert!(found.starts_with(wanted), "{found}");
    }
}

#[test]
fn wrong_inventories_are_named_with_their_line() {
    let cases: [(&str, &str, &str); 22] = [
        ("h.ini", "[web\nx\n", "h.ini:1:1: \"[web\" is no section"),
        ("h.ini", "[web:var]\n", "h.ini:1:1: no kind of section \"var\"; did you mean \"vars\"?"),
        ("h.ini", "[web]\nx a\n", "h.ini:2:1: \"a\" is not of the form NAME=VALUE"),
        ("h.ini", "[web]\nx a='b\n", "h.ini:2:1: a quote in"),
        ("h.ini", "[web]\na=b\n", "h.ini:2:1: \"a=b\" is a variable and no host"),
        ("h.ini", "[web]\nn[1:\n", "h.ini:2:1: the range in"),
        (
            "h.ini",
            "[web]\nx\n[k:children]\nwbe\n",
            "h.ini:4:1: no section declares group \"wbe\"; did you mean \"web\"?",
        ),
        ("h.ini", "[web]\nx\n[wbe:vars]\na=1\n", "h.ini:3:1: no section declares group \"wbe\"; did you mean \"web\"?"),
        ("h.ini", "[web]\nx\n[web:vars]\na\n", "h.ini:4:1: \"a\" is not of the form NAME=VALUE"),
        (
            "h.ini",
            "[a:children]\nb\n[b:children]\na\n[c]\nx\n",
            "h.ini: $.groups.a.groups: these groups contain each other: a -> b -> a",
        ),
        ("h.ini", "[web]\n", "h.ini: $.hosts: there is no host"),
        ("h.ini", "x ansible_port=ssh\n", "h.ini: host \"x\": ansible_port \"ssh\" is no port"),
        ("h.ini", "x ansible_connection=winrm\n", "h.ini: host \"x\": ansible_connection \"winrm\" is not supported"),
        (
            "h.ini",
            "x ansible_ssh_common_args='-o ProxyCommand=x'\n",
            "h.ini: host \"x\": ansible_ssh_common_args: option \"proxycommand\" is not supported",
        ),
        (
            "h.ini",
            "x ansible_become=yes ansible_become_method=su\n",
            "h.ini: host \"x\": ansible_become_method \"su\" is not supported",
        ),
        ("h.yml", "all:\n  hosts: [a, b]\n", "h.yml:2:"),
        ("h.yml", "- a\n", "h.yml:1:1: expected a mapping of groups"),
        ("h.yml", "all:\n  hosts:\n    a: 5\n", "h.yml:3:8: \"a\": expected a mapping"),
        ("l.json", "{\"_meta\": {\"hostvars\": []}}", "l.json:1:24: $._meta.hostvars: expected an object of hosts"),
        ("l.json", "{\"_meta\": {}, \"k\": {\"hosts\": [5]}}", "l.json:1:31: $.k.hosts[0]: expected a name"),
        ("h", "#!/usr/bin/env python\n", "h: this is a program"),
        ("h", "$ANSIBLE_VAULT;1.1\n", "h: the whole inventory is encrypted"),
    ];
    for (file, text, wanted) in cases {
        let found = error(&[(file, text)]);
        assert!(found.starts_with(wanted), "{text}\n{found}\nwanted {wanted}");
    }
    let missing = load_inventory(&Memory::default(), Path::new("no.ini")).unwrap_err().to_string();
    assert!(missing.starts_with("no.ini: there is no such file"), "{missing}");
    let broken = error(&[("h.ini", "[web]\nx\n"), ("group_vars/web.yml", "a: [1\nb: 2\n")]);
    assert!(broken.starts_with("group_vars/web.yml:2:"), "{broken}");
    let list = error(&[("h.ini", "[web]\nx\n"), ("group_vars/web.yml", "- a\n")]);
    assert!(list.starts_with("group_vars/web.yml:1:1: expected a mapping of variables"), "{list}");
}

#[test]
fn files_of_the_disk() {
    let folder = std::env::temp_dir().join(format!("runner-types-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("group_vars/web")).unwrap();
    std::fs::write(folder.join("hosts"), "[web]\nx\n").unwrap();
    std::fs::write(folder.join("group_vars/web/a.yml"), "a: 1\n").unwrap();
    let loaded = load_inventory(&DiskFiles, &folder.join("hosts"));
    let missing = load_inventory(&DiskFiles, &folder.join("hosts/x"));
    let is_folder = load_inventory(&DiskFiles, &folder);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(variables(&loaded.unwrap().inventory.resolve(), "x"), json!({"a": 1}));
    assert!(missing.unwrap_err().to_string().contains("there is no such file"));
    assert!(is_folder.unwrap_err().to_string().contains("this is a folder"));
}

#[test]
fn a_group_named_like_a_path_reads_no_file_elsewhere() {
    let text = "all:\n  hosts:\n    ../../etc/x: {}\n";
    assert!(error(&[("a/b/h.yml", text), ("a/etc/x", "a: 1")]).contains("cannot be the name of a host"));
}

#[test]
fn a_thousand_hosts_are_read_in_no_time() {
    let text = "[all:vars]\na=1\n[web]\nn[1:1000] b='{{ x }}'\n[k:children]\nweb\n";
    let inventory = resolve(&[("h.ini", text)]);
    assert_eq!(inventory.hosts.len(), 1000);
    assert!(matches!(inventory.hosts["n7"].variables["b"], Variable::Unavailable(_)));
}

proptest! {
    #[test]
    fn no_ini_panics(text in "[\\[\\]a-c:=#;'\" \n0-9{}!-]{0,80}") {
        let _ = load_inventory(&Memory::of(&[("h.ini", &text)]), Path::new("h.ini"));
    }

    #[test]
    fn no_yaml_panics(text in "(all|hosts|children|vars|a|b|:| |\n|  |\\[|\\]|\\{|\\}|-|!vault|&x|\\*x|'|\"){0,40}") {
        let _ = load_inventory(&Memory::of(&[("h.yml", &text)]), Path::new("h.yml"));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0usize..3) {
        let path = ["h.ini", "h.yml", "h.json"][kind];
        let files = Memory([(PathBuf::from(path), bytes)].into());
        let _ = load_inventory(&files, Path::new(path));
    }

    #[test]
    fn no_cut_or_changed_inventory_panics(cut in 0..INI.len(), with in any::<char>()) {
        let text: String = INI.chars().enumerate().map(|(at, c)| if at == cut { with } else { c }).collect();
        let _ = load_inventory(&Memory::of(&[("h.ini", &text)]), Path::new("h.ini"));
        let _ = load_inventory(&Memory::of(&[("h.ini", &INI[..cut])]), Path::new("h.ini"));
    }
}

#[test]
fn large_files_are_judged_too() {
    let bad = "[\n".repeat(200_000);
    assert!(error(&[("h.ini", &bad)]).lines().count() < 200);
    let many = "n[1:60000]\nm[1:60000]\n";
    assert!(error(&[("h.ini", many)]).contains("more than 100000 hosts"));
    let hosts: String = (0..50_000).map(|n| format!("    h{n}: {{a: {n}}}\n")).collect();
    assert_eq!(load(&[("h.yml", &format!("all:\n  hosts:\n{hosts}"))]).inventory.hosts.len(), 50_000);
}
