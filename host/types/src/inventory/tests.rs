use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::load;

const GOOD: &str = r#"{
  "hosts": {
    "master-1": {"address": "127.0.10.1", "node": "master-1", "variables": {"rack": 1}},
    "node-1": {"connection": "local", "become": true},
    "node-2": {"user": "root", "become": false, "jump": "ops@bastion:2222"},
    "storage-1": {}
  },
  "groups": {
    "masters": {"hosts": ["master-1"], "variables": {"rack": 5, "role": "master"}},
    "nodes": {"hosts": ["node-1", "node-2"]},
    "kubernetes": {"groups": ["masters", "nodes"], "variables": {"role": "any", "cidr": "10.0.0.0/8"}}
  },
  "variables": {"cidr": "none", "site": "a"},
  "access": {"user": "ops", "port": 2201, "become": {"user": "root", "password": "sudo"}},
  "clusters": {"main": {"kubeconfig": "k"}},
  "connection": "simulated", "platform": "platform.json",
  "components": {"metrics": {"volume-path": "/v"}},
  "secrets": {"sudo": {"environment": "SUDO"}, "x": {"command": ["pass", "x"]}}
}"#;

fn inventory() -> Inventory {
    load::<Inventory>(GOOD, "i.json").unwrap().into_parts().0
}

#[test]
fn hosts_get_what_groups_and_defaults_give_them() {
    let resolved = inventory().resolve();
    let master = resolved.host("master-1").unwrap();
    assert_eq!(json!(master.published()), json!({"cidr": "10.0.0.0/8", "site": "a", "role": "master", "rack": 1}));
    assert_eq!(master.groups, ["kubernetes", "masters"]);
    assert_eq!(master.address, "127.0.10.1");
    assert_eq!((master.user.as_deref(), master.port), (Some("ops"), Some(2201)));
    assert_eq!(master.r#become.password.as_deref(), Some("sudo"));
    assert_eq!(master.connection, Connection::Simulated);
    let node = resolved.host("node-2").unwrap();
    assert_eq!((node.user.as_deref(), node.address.as_str()), (Some("root"), "node-2"));
    assert!(!node.r#become.enabled);
    assert_eq!(resolved.host("node-1").unwrap().connection, Connection::Local);
    assert_eq!(resolved.groups["kubernetes"], ["master-1", "node-1", "node-2"]);
}

#[test]
fn patterns_choose_hosts_in_inventory_order() {
    let resolved = inventory().resolve();
    let cases: [(&[&str], &[&str]); 12] = [
        (&["all"], &["master-1", "node-1", "node-2", "storage-1"]),
        (&["*"], &["master-1", "node-1", "node-2", "storage-1"]),
        (&["nodes"], &["node-1", "node-2"]),
        (&["node-2", "node-1"], &["node-1", "node-2"]),
        (&["kubernetes", "!masters"], &["node-1", "node-2"]),
        (&["!masters", "kubernetes"], &["node-1", "node-2"]),
        (&["!nodes"], &["master-1", "storage-1"]),
        (&["node-*"], &["node-1", "node-2"]),
        (&["*-1"], &["master-1", "node-1", "storage-1"]),
        (&["mast*"], &["master-1"]),
        (&["masters,storage-1"], &["master-1", "storage-1"]),
        (&["kubernetes:&nodes:!node-2"], &["node-1"]),
    ];
    for (patterns, wanted) in cases {
        assert_eq!(resolved.select(patterns).as_deref(), Ok(wanted), "{patterns:?}");
    }
    let error = |patterns: &[&str]| resolved.select(patterns).unwrap_err().to_string();
    assert_eq!(error(&["nodse"]), "no host or group \"nodse\"; did you mean \"nodes\"?");
    assert_eq!(error(&["!nodse"]), "no host or group \"nodse\"; did you mean \"nodes\"?");
    assert_eq!(error(&["x*"]), "no host or group \"x*\"");
    assert_eq!(error(&["nodes", "!nodes"]), "no host is left by [\"nodes\", \"!nodes\"]");
    assert_eq!(error(&[]), "no host is left by []");
}

#[test]
fn an_inventory_is_written_back_as_it_was_read() {
    let text = serde_json::to_string(&inventory()).unwrap();
    assert_eq!(load::<Inventory>(&text, "i").unwrap().value(), &inventory());
    let why = Unavailable { needs: Needs::Vault, file: "group_vars/all.yml".to_owned() };
    let variable = Variable::Unavailable(why);
    let text = serde_json::to_string(&variable).unwrap();
    assert_eq!(serde_json::from_str::<Variable>(&text).unwrap(), variable);
}

#[test]
fn a_value_that_is_not_available_is_refused_when_needed() {
    let mut inventory = inventory();
    let why = Unavailable { needs: Needs::Template, file: "hosts.ini".to_owned() };
    let host = inventory.hosts.get_mut("node-1").unwrap();
    host.variables.insert("ansible_host".to_owned(), Variable::Unavailable(why.clone()));
    host.variables.insert("other".to_owned(), Variable::Unavailable(why));
    let resolved = inventory.resolve();
    let node = resolved.host("node-1").unwrap();
    assert_eq!(
        node.check_available().unwrap_err().to_string(),
        "hosts.ini: variable \"ansible_host\" of host \"node-1\" needs Ansible's template engine"
    );
    assert!(node.variable("other").is_err());
    assert_eq!(node.variable("site").unwrap(), Some(&json!("a")));
    assert_eq!(node.variable("nothing").unwrap(), None);
    assert!(!node.published().contains_key("other"));
    assert!(resolved.host("node-2").unwrap().check_available().is_ok());
}

#[test]
fn a_simulated_host_needs_no_value_to_be_reached() {
    let mut inventory = inventory();
    let why = Unavailable { needs: Needs::Vault, file: "hosts.ini".to_owned() };
    for name in ["node-1", "node-2"] {
        let host = inventory.hosts.get_mut(name).unwrap();
        host.variables.insert("ansible_user".to_owned(), Variable::Unavailable(why.clone()));
    }
    let resolved = inventory.resolve();
    assert!(resolved.host("node-1").unwrap().check_available().is_err(), "it is local");
    assert_eq!(resolved.host("node-2").unwrap().check_available(), Ok(()));
}

#[test]
fn several_jump_hosts_are_each_judged() {
    let found = |jump: &str| load::<Inventory>(&GOOD.replacen("ops@bastion:2222", jump, 1), "i.json").map(|_| ());
    for jump in ["b1", "ops@b1,ops@b2:2222", "b1,ops@b2,[fe80::1]:22"] {
        assert!(found(jump).is_ok(), "{jump}");
    }
    for jump in ["", ",", "b1,", ",b1", "ops@,b1", "b1,@b2", "b1, b2", "ops@b1@b2", "b1,-oProxyCommand=x", "b1,-x@b2"] {
        let error = found(jump).unwrap_err().to_string();
        assert!(error.contains(&format!("$.hosts.node-2.jump: {jump:?} is no jump host")), "{error}");
    }
}

#[test]
fn mistakes_are_named() {
    let cases = [
        (
            r#"["master-1"]"#,
            r#"["maser-1"]"#,
            "$.groups.masters.hosts[0]: no host \"maser-1\"; did you mean \"master-1\"?",
        ),
        (r#"["master-1"]"#, r#"["nodes"]"#, "$.groups.masters.hosts[0]: \"nodes\" is a group, not a host"),
        (
            r#"["masters", "nodes"]"#,
            r#"["mastes", "nodes"]"#,
            "$.groups.kubernetes.groups[0]: no group \"mastes\"; did you mean \"masters\"?",
        ),
        (
            r#""nodes": {"#,
            r#""nodes": {"groups": ["kubernetes"], "#,
            "$.groups.nodes.groups: these groups contain each other: nodes -> kubernetes -> nodes",
        ),
        (r#""nodes": {"#, r#""storage-1": {"#, "$.groups.storage-1: \"storage-1\" is a host too"),
        (r#""nodes": {"#, r#""all": {"#, "$.groups.all: the group of all hosts is always there"),
        (
            r#""storage-1": {}"#,
            r#""storage 1": {}"#,
            "$.hosts[\"storage 1\"]: \"storage 1\" cannot be the name of a host",
        ),
        (
            r#""password": "sudo""#,
            r#""password": "sud""#,
            "$.access.become.password: no secret \"sud\"; did you mean \"sudo\"?",
        ),
        (
            r#""jump": "ops@bastion:2222""#,
            r#""jump": "-oProxyCommand=x y""#,
            "$.hosts.node-2.jump: \"-oProxyCommand=x y\" is no jump host",
        ),
        (
            r#""connection": "local""#,
            r#""connection": "locl""#,
            "$.hosts.node-1.connection: \"locl\" is not known here; did you mean \"local\"?",
        ),
        (
            r#""become": true"#,
            r#""become": "yes""#,
            "$.hosts.node-1.become: expected true, false or an object with `user` and `password`",
        ),
        (r#"{"environment": "SUDO"}"#, r#"{"env": "SUDO"}"#, "$.secrets.sudo.env: \"env\" is not known here"),
        (r#""port": 2201"#, r#""port": 0"#, "$.access.port: no server listens on port 0"),
    ];
    let unfit = ["..", ".", "", "../runs", "a/b", "/etc", ".hidden", "-rf"].map(|name| {
        let to = format!(r#""name": {name:?}, "platform": "platform.json""#);
        (to, format!("$.name: {name:?} cannot be the name of a platform\n  help: letters"))
    });
    let unfit = unfit.iter().map(|(to, wanted)| (r#""platform": "platform.json""#, to.as_str(), wanted.as_str()));
    for (from, to, wanted) in cases.into_iter().chain(unfit) {
        assert!(GOOD.contains(from), "{from}");
        let found = load::<Inventory>(&GOOD.replacen(from, to, 1), "i.json").map(|i| format!("{:?}", i.value()));
        let found = found.unwrap_or_else(|errors| errors.to_string());
        assert!(found.contains(&format!(": {wanted}")), "{to}:\n{found}\nwanted\n{wanted}");
    }
}

/// So many groups, each within the one after it, and hosts in each.
fn nested(groups: usize, hosts: usize) -> Inventory {
    let mut inventory = Inventory::default();
    for number in 0..groups {
        let names: Vec<String> = (0..hosts).map(|host| format!("h{number}-{host}")).collect();
        inventory.hosts.extend(names.iter().map(|name| (name.clone(), Host::default())));
        let inner = number.checked_sub(1).map(|inner| format!("g{inner}"));
        let group = Group { hosts: names, groups: inner.into_iter().collect(), ..Group::default() };
        inventory.groups.insert(format!("g{number}"), group);
    }
    inventory
}

#[test]
fn many_hosts_in_nested_groups_resolve() {
    let resolved = nested(60, 100).resolve();
    assert_eq!(resolved.groups["g59"].len(), 6000);
    let host = resolved.host("h0-0").unwrap();
    assert_eq!(host.groups.len(), 60);
    assert_eq!(host.groups[0], "g59", "outer groups come first");
}

#[test]
fn groups_nest_so_deep_and_no_deeper() {
    let text = |groups| serde_json::to_string(&nested(groups, 1)).unwrap();
    assert!(load::<Inventory>(&text(64), "i").is_ok());
    let error = load::<Inventory>(&text(65), "i").unwrap_err().to_string();
    assert!(error.contains("groups nest deeper than 64"), "{error}");
}

proptest! {
    #[test]
    fn no_pattern_panics(patterns in prop::collection::vec("[a-z!&*,:-]{0,8}", 0..4)) {
        let _ = inventory().resolve().select(&patterns);
    }

    #[test]
    fn no_cut_inventory_panics(cut in 0..GOOD.len()) {
        prop_assert!(load::<Inventory>(&GOOD[..cut], "i").is_err());
    }
}
