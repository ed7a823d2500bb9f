//! The shipped workflows on other platforms than the demo's: other names, more nodes, and every fault of the fault file.

use std::fs;

use anyhow::{Context, Result, ensure};
use runner_tests::{Ended, Invocation, Site, State, Step};
use serde_json::{Value, json};

/// Exit codes of the binary.
const SUCCEEDED: i32 = 0;
const FAILED: i32 = 3;
const UNREACHABLE: i32 = 4;
const REFUSED: i32 = 6;
const IN_DOUBT: i32 = 10;

const UPDATE: &[&str] = &["no_interactive=True", "interactive_update=False", "stop_containers=True"];
const BACKOUT: &[&str] =
    &["no_interactive=True", "interactive_backout=False", "stop_containers=True", "delete_pv_data=metrics"];

/// The workflows that lead to release 2.0 and back.
fn there_and_back(site: &Site) -> Result<()> {
    for (workflow, extras) in [
        ("backup-all", &[][..]),
        ("update-all", UPDATE),
        ("verify-all", &["release=2.0"]),
        ("backout-flannel", &["no_interactive=True"]),
        ("backout-all", BACKOUT),
        ("verify-all", &["release=1.0"]),
    ] {
        site.run(workflow, extras)?.with(SUCCEEDED).context(workflow)?;
    }
    Ok(())
}

#[test]
fn other_host_names_make_no_difference() -> Result<()> {
    let site = Site::new(|_, text| {
        Ok(text
            .replace("master-1", "k8s-control-a.example.com")
            .replace("node-1", "worker-x")
            .replace("node-2", "arbeiter-7")
            .replace("storage-1", "nas"))
    })?;
    there_and_back(&site)
}

#[test]
fn more_nodes_are_done_one_after_the_other() -> Result<()> {
    let site = Site::new(|name, text| {
        let mut value: Value = serde_json::from_str(&text)?;
        for number in 3..=5 {
            let node = format!("node-{number}");
            match name {
                "inventory.json" => {
                    value["hosts"][&node] = json!({"address": format!("127.0.11.{number}"), "node": node});
                    value["groups"]["nodes"]["hosts"].as_array_mut().context("no nodes")?.push(json!(node));
                    value["groups"]["etcd"] = json!({"hosts": ["master-1", "node-1", "node-2"]});
                }
                "platform.json" => {
                    value["hosts"][&node] = json!({
                        "like": ["debian", "node"],
                        "address": format!("127.0.11.{number}"),
                        "files": {"/etc/hostname": format!("{node}\n")},
                    });
                    value["clusters"]["main"]["nodes"][&node] = json!({
                        "internal-ip": format!("10.0.0.{}", 20 + number),
                        "pod-cidr": format!("10.244.{number}.0/24"),
                    });
                }
                _ => {}
            }
        }
        Ok(serde_json::to_string_pretty(&value)?)
    })?;
    there_and_back(&site)
}

#[test]
fn one_node_alone_is_updated_without_pauses_in_a_backout() -> Result<()> {
    let site = Site::new(|name, text| {
        let mut value: Value = serde_json::from_str(&text)?;
        match name {
            "inventory.json" => {
                value["groups"]["nodes"]["hosts"] = json!(["node-1"]);
                value["groups"]["etcd"] = json!({"hosts": ["master-1", "node-1", "node-2"]});
            }
            "platform.json" => {
                let main = &mut value["clusters"]["main"];
                main["nodes"].as_object_mut().context("no nodes")?.remove("node-2");
                // With nowhere to go, the shop's Pods would be held by their budget for ever.
                main["objects"]
                    .as_array_mut()
                    .context("no objects")?
                    .retain(|object| object["kind"] != "PodDisruptionBudget");
            }
            _ => {}
        }
        Ok(serde_json::to_string_pretty(&value)?)
    })?;
    site.run("backup-all", &[])?.with(SUCCEEDED)?;
    site.run("update-all", UPDATE)?.with(SUCCEEDED)?.says(&["node"])?;
    site.run("backout-flannel", &["no_interactive=True"])?.with(SUCCEEDED)?;
    // Its pauses are for two nodes and more, so that nothing needs to be said about them.
    site.run("backout-all", &["no_interactive=True", "stop_containers=True", "delete_pv_data=metrics"])?
        .with(SUCCEEDED)?;
    Ok(())
}

/// Runs a workflow under a fault, from a prepared state.
fn under(fault: Value, from: Step, workflow: &str, extras: &[&str]) -> Result<(State, Ended)> {
    let state = State::after(from)?;
    let faults = state.path().join("faults.json");
    fs::write(&faults, serde_json::to_vec(&json!({"faults": [fault]}))?)?;
    let ended = state.workflow(workflow, extras).args(["--faults".into(), faults.into_os_string()]).run()?;
    Ok((state, ended))
}

/// The update under a fault ends with this code and says these texts; without the fault it is then carried through.
fn update_under(fault: Value, code: i32, texts: &[&str]) -> Result<()> {
    let (state, ended) = under(fault, Step::BackedUp, "update-all", UPDATE)?;
    ended.with(code)?.says(texts)?;
    state.workflow("update-all", UPDATE).run()?.with(SUCCEEDED).context("once the fault is gone")?;
    state.workflow("verify-all", &["release=2.0"]).run()?.with(SUCCEEDED)?;
    Ok(())
}

#[test]
fn an_unreachable_host_is_told_from_a_failed_one() -> Result<()> {
    update_under(json!({"fault": "unreachable", "host": "node-2"}), UNREACHABLE, &["node-2", "unreachable=1"])
}

#[test]
fn a_unit_that_does_not_start_leaves_its_node_cordoned() -> Result<()> {
    let fault = json!({"fault": "unit-start", "host": "node-1", "unit": "kubelet.service",
        "message": "kubelet: exit status 1", "function": "systemd.*"});
    update_under(fault, FAILED, &["node-1", "kubelet", "cordoned"])
}

#[test]
fn a_package_that_fails_in_its_script_fails_the_step() -> Result<()> {
    let fault = json!({"fault": "package", "host": "node-1", "package": "kubelet", "version": "1.34.4-1", "count": 1,
        "message": "post-installation script subprocess returned error exit status 1"});
    update_under(fault, FAILED, &["node-1", "kubelet", "post-installation"])
}

#[test]
fn a_budget_that_never_allows_is_refused_by_name() -> Result<()> {
    let fault = json!({"fault": "budget", "cluster": "main", "namespace": "shop", "budget": "web"});
    let (_state, ended) = under(fault, Step::BackedUp, "update-all", UPDATE)?;
    ensure!(matches!(ended.code, Some(FAILED | REFUSED)), "{:?}\n{}", ended.code, ended.stderr);
    ended.says(&["shop/web"])?;
    Ok(())
}

#[test]
fn an_api_that_fails_fails_the_step() -> Result<()> {
    let fault = json!({"fault": "api", "cluster": "main", "status": "unreachable", "message": "connection refused"});
    let (_state, ended) = under(fault, Step::BackedUp, "update-all", UPDATE)?;
    ensure!(matches!(ended.code, Some(UNREACHABLE | FAILED)), "{:?}\n{}", ended.code, ended.stderr);
    Ok(())
}

#[test]
fn a_slow_api_only_takes_longer() -> Result<()> {
    let fault = json!({"fault": "slow", "cluster": "main", "delay": "50ms"});
    let (_state, ended) = under(fault, Step::Updated, "verify-all", &["release=2.0"])?;
    ended.with(SUCCEEDED)?;
    Ok(())
}

#[test]
fn a_full_disk_fails_the_step() -> Result<()> {
    let fault = json!({"fault": "disk-full", "host": "node-1", "path": "/"});
    let (_state, ended) = under(fault, Step::BackedUp, "update-all", UPDATE)?;
    ensure!(matches!(ended.code, Some(FAILED | REFUSED)), "{:?}\n{}", ended.code, ended.stderr);
    ended.says(&["node-1"])?;
    Ok(())
}

#[test]
fn a_write_of_unknown_outcome_stops_the_run_in_doubt() -> Result<()> {
    let fault = json!({"fault": "connection-lost", "host": "node-1", "performed": true, "function": "packages.install",
        "count": 1});
    let (_state, ended) = under(fault, Step::BackedUp, "update-all", UPDATE)?;
    ended.with(IN_DOUBT)?.says(&["node-1"])?;
    Ok(())
}

#[test]
fn a_half_updated_platform_is_backed_out_in_part_only_when_asked() -> Result<()> {
    let fault = json!({"fault": "package", "host": "node-2", "package": "kubelet", "version": "1.34.4-1",
        "message": "post-installation script subprocess returned error exit status 1"});
    let (state, ended) = under(fault, Step::BackedUp, "update-all", UPDATE)?;
    ended.with(FAILED)?;
    let backout = |extras: &[&str]| -> Result<Ended> {
        let all: Vec<&str> = BACKOUT.iter().copied().chain(extras.iter().copied()).collect();
        state.workflow("backout-all", &all).run()
    };
    backout(&[])?.with(REFUSED)?.says(&["partial=True"])?;
    backout(&["partial=True"])?.with(SUCCEEDED)?;
    state.workflow("verify-all", &["release=1.0"]).run()?.with(SUCCEEDED)?;
    Ok(())
}

#[test]
fn a_backout_that_failed_goes_on_with_the_command_that_it_names() -> Result<()> {
    let fault = json!({"fault": "package", "host": "node-2", "package": "kubelet", "version": "1.33.13-1",
        "message": "post-installation script subprocess returned error exit status 1"});
    let (state, ended) = under(fault, Step::FlannelBackedOut, "backout-all", BACKOUT)?;
    ended.with(FAILED)?.says(&["delete_pv_data=metrics --faults", "-e partial=True    # once the cause is mended"])?;
    let on: Vec<&str> = BACKOUT.iter().copied().chain(["partial=True"]).collect();
    state.workflow("backout-all", &on).run()?.with(SUCCEEDED)?;
    state.workflow("verify-all", &["release=1.0"]).run()?.with(SUCCEEDED)?;
    Ok(())
}

/// Refused before anything changes, with this message.
fn update_refused(change: impl Fn(&mut Value) -> Result<()>, says: &[&str]) -> Result<()> {
    let site = Site::new(|name, text| {
        if name != "platform.json" {
            return Ok(text);
        }
        let mut value: Value = serde_json::from_str(&text)?;
        change(&mut value)?;
        Ok(serde_json::to_string_pretty(&value)?)
    })?;
    site.run("backup-all", &[])?.with(SUCCEEDED)?;
    site.run("update-all", UPDATE)?.with(REFUSED)?.says(says)?;
    site.run("verify-all", &["release=1.0"])?.with(SUCCEEDED).context("something was changed")?;
    Ok(())
}

#[test]
fn a_pod_that_nothing_manages_is_refused_in_the_words_of_the_original() -> Result<()> {
    let pod = |name: &str, namespace: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "registry.example/shop/web:7"}]}})
    };
    let add = |platform: &mut Value| {
        let objects = platform["clusters"]["main"]["objects"].as_array_mut();
        objects.context("no objects")?.extend([pod("pod-name1", "shop"), pod("pod-name2", "monitoring")]);
        Ok(())
    };
    update_refused(add, &["Non managed pod exists [", "'pod-name1 in shop'", "'pod-name2 in monitoring'"])
}

#[test]
fn a_host_that_asks_only_itself_for_names_is_refused() -> Result<()> {
    let change = |platform: &mut Value| {
        platform["hosts"]["node-2"]["files"]["/etc/resolv.conf"] = json!("nameserver 127.0.0.1\n");
        Ok(())
    };
    update_refused(change, &["node-2", "resolv.conf", "127.0.0.1"])
}

#[test]
fn containers_outside_kubernetes_run_again_afterwards() -> Result<()> {
    let site = Site::new(|name, text| {
        let mut value: Value = serde_json::from_str(&text)?;
        if name == "platform.json" {
            value["hosts"]["node-1"]["components"] = json!({"docker": {
                "containers": {"a".repeat(64): {"name": "mirror", "image": "registry:2", "running": true, "restarts": "no"}},
                "images": {format!("sha256:{}", "b".repeat(64)): "registry:2"},
            }});
        }
        Ok(serde_json::to_string_pretty(&value)?)
    })?;
    site.run("backup-all", &[])?.with(SUCCEEDED)?;
    site.run("update-all", UPDATE)?.with(SUCCEEDED)?;
    let shown = Invocation::new(["platform", "show", "host/node-1/component/docker"])
        .args(["--inventory".into(), site.path("inventory.json").into_os_string()])
        .env("RUNNER_STATE_DIR", site.path("state"))
        .run()?
        .with(SUCCEEDED)?;
    ensure!(shown.stdout.contains(r#""name":"mirror","image":"registry:2","running":true"#), "{}", shown.stdout);
    Ok(())
}
