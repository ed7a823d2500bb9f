//! Waits, and a server that goes and comes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use runner_engine::contract::kubernetes::*;
use runner_engine::contract::{Caller, FailureKind};
use serde_json::json;

use super::bench::{Bench, done, one, place, reference, refused, selection};

pub(crate) async fn a_wait_ends_when_its_condition_holds(bench: &Bench) -> Result<()> {
    let at = || Subject::Object(reference("ConfigMap", "waited"));
    let absent = refused(bench.wait(at(), "object.data.a == '1'", 300).await?)?;
    ensure!(absent.kind == FailureKind::TimedOut && absent.message.ends_with("there was last: nothing"), "{absent:?}");
    let body = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "waited", "namespace": "default", "labels": {"waited": "yes"}}, "data": {"a": value}});
    let change = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        done(bench.apply("flannel", &body("0"), false, &[]).await?)?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        done(bench.apply("flannel", &body("1"), false, &[]).await?)
    };
    let begun = Instant::now();
    let (waited, changed) = tokio::join!(bench.wait(at(), "object.data.a == '1'", 30_000), change);
    changed?;
    let objects = done(waited?)?;
    ensure!(objects.len() == 1 && begun.elapsed() < Duration::from_secs(20), "it is told of the change");
    let many = Subject::Selection(selection("ConfigMap", "waited=yes"));
    ensure!(done(bench.wait(many.clone(), "objects.all(o, o.kind == 'ConfigMap')", 5_000).await?)?.len() == 1);
    let wrong = refused(bench.wait(many, "objects.size() + 1", 5_000).await?)?;
    ensure!(wrong.kind == FailureKind::Invalid, "{wrong:?}");
    Ok(())
}

pub(crate) async fn custom_kinds_are_found_and_lost(bench: &Bench) -> Result<()> {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
                 "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                     "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    done(bench.apply("flannel", &definition, false, &[]).await?)?;
    let established = Subject::Object(ObjectRef {
        namespace: None,
        ..reference("apiextensions.k8s.io/v1 CustomResourceDefinition", "things.example.com")
    });
    let condition = "object.status.conditions.exists(c, c.type == 'Established' && c.status == 'True')";
    done(bench.wait(established.clone(), condition, 30_000).await?)?;
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "default"}, "spec": {"a": [1]}});
    // Discovery follows a moment after the definition.
    let begun = Instant::now();
    loop {
        match bench.apply("flannel", &thing, false, &[]).await? {
            Ok(_) => break,
            Err(failure) => ensure!(begun.elapsed() < Duration::from_secs(30), "{failure:?}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let strategic = PatchOrder {
        object: reference("example.com/v1 Thing", "t"),
        patch: PatchKind::Strategic,
        body: "{}".to_owned(),
        subresource: None,
        precondition: None,
    };
    let refusal = one(bench.kubernetes().patch(&place(), &Caller::runner(), vec![strategic]).await)?;
    ensure!(refused(refusal)?.kind == FailureKind::Invalid);
    bench.server.kubectl(&["delete", "crd", "things.example.com"])?;
    let gone = refused(bench.get("example.com/v1 Thing", "t").await?)?;
    ensure!(gone.kind == FailureKind::NotFound && gone.message.contains("does not serve"), "{gone:?}");
    Ok(())
}

pub(crate) async fn a_restart_of_the_server_stops_nothing(bench: &mut Bench) -> Result<()> {
    let body = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "restart", "namespace": "default"}, "data": {"a": value}});
    done(bench.apply("flannel", &body("0"), false, &[]).await?)?;
    let Bench { server, cluster } = bench;
    let kubernetes = runner_engine::contract::Backend::kubernetes(cluster);
    let order = WaitOrder {
        subject: Subject::Object(reference("ConfigMap", "restart")),
        condition: "object.data.a == '1'".to_owned(),
        keep: Vec::new(),
        time_out: 170_000,
        forecast: None,
    };
    let apply = ApplyOrder {
        cluster: "main".to_owned(),
        body: body("1").to_string(),
        secrets: Vec::new(),
        force: false,
        take_over: Vec::new(),
        precondition: None,
    };
    let caller = super::bench::caller("flannel");
    let place = place();
    let restart = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.kill_api()?;
        let away = tokio::time::sleep(Duration::from_secs(2));
        // A write while it is away waits until it is back.
        let writing = kubernetes.apply(&place, &caller, vec![apply]);
        let starting = async {
            away.await;
            server.start_api()
        };
        let (written, started) = tokio::join!(writing, starting);
        started?;
        done(one(written)?)
    };
    let (waited, written) = tokio::join!(kubernetes.wait_for(&place, &caller, vec![order]), restart);
    ensure!(written?.changed);
    ensure!(done(one(waited)?)?.len() == 1);
    Ok(())
}

pub(crate) async fn a_server_that_is_away_is_unreachable(bench: &mut Bench) -> Result<()> {
    bench.server.kill_api()?;
    let fresh = super::bench::cluster(&bench.server, None)?;
    let kubernetes = runner_engine::contract::Backend::kubernetes(&fresh);
    let begun = Instant::now();
    let asked = kubernetes.get(&place(), &Caller::runner(), vec![reference("ConfigMap", "x")]).await;
    let away = refused(one(asked)?)?;
    ensure!(away.kind == FailureKind::Unreachable && begun.elapsed() < Duration::from_secs(10), "{away:?}");
    ensure!(away.message.contains("Connection refused"), "{away:?}");
    let order = || CreateOrder {
        cluster: "main".to_owned(),
        key: String::new(),
        body: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "y"}}).to_string(),
        secrets: Vec::new(),
    };
    let answers = kubernetes.create(&place(), &super::bench::caller("flannel"), vec![order(), order()]).await;
    let answers = answers.map_err(|stop| anyhow::anyhow!("known not to have begun: {stop}"))?;
    let kinds: Vec<_> = answers.into_iter().map(|answer| answer.map_err(|failure| failure.kind)).collect();
    ensure!(kinds == [Err(FailureKind::Unreachable), Err(FailureKind::NotAttempted)], "{kinds:?}");
    Ok(())
}
