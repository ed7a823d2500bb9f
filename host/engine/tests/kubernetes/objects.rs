//! Objects read and changed.

use anyhow::{Context as _, Result, ensure};
use runner_engine::contract::kubernetes::*;
use runner_engine::contract::{Backend as _, Caller, FailureKind};
use serde_json::{Value, json};

use super::bench::{Bench, caller, cluster, done, one, place, reference, refused, selection};

fn map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

pub(crate) async fn the_server_says_what_it_serves(bench: &Bench) -> Result<()> {
    let asked = bench.kubernetes().servers(&place(), &Caller::runner(), vec!["main".to_owned()]).await;
    let server = done(one(asked)?)?;
    ensure!(server.version.starts_with("v1.34.") && server.ready, "{} {}", server.version, server.ready);
    let serves = |version: &str, name: &str, namespaced: bool| {
        let fits = |kind: &&ServedKind| kind.kind.api_version == version && kind.kind.name == name;
        server.kinds.iter().find(fits).is_some_and(|kind| kind.namespaced == namespaced)
    };
    ensure!(serves("v1", "Pod", true) && serves("v1", "Node", false) && serves("apps/v1", "Deployment", true));
    ensure!(!serves("autoscaling/v1", "Scale", true) && !serves("policy/v1", "Eviction", true), "subresources");
    Ok(())
}

pub(crate) async fn apply_names_who_owns_what_it_wants(bench: &Bench) -> Result<()> {
    let created = done(bench.apply("flannel", &map("owned", &json!({"a": "1"})), false, &[]).await?)?;
    ensure!(created.changed);
    let again = done(bench.apply("flannel", &map("owned", &json!({"a": "1"})), false, &[]).await?)?;
    ensure!(!again.changed && again.id == created.id, "{again:?}");
    let conflict = refused(bench.apply("ingress", &map("owned", &json!({"a": "2"})), false, &[]).await?)?;
    let FailureKind::Conflict(found) = &conflict.kind else { anyhow::bail!("{conflict:?}") };
    ensure!(found.blockers == ["runner-flannel: .data.a"], "{conflict:?}");
    done(bench.apply("ingress", &map("owned", &json!({"a": "2"})), true, &[]).await?)?;
    let object = done(bench.get("ConfigMap", "owned").await?)?;
    ensure!(object["data"] == json!({"a": "2"}) && object["kind"] == "ConfigMap");
    ensure!(object.pointer("/metadata/managedFields").is_none(), "reads show nothing of who owns what");
    let nowhere = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "none"}});
    let missing = refused(bench.apply("flannel", &nowhere, false, &[]).await?)?;
    ensure!(missing.kind == FailureKind::NotFound && missing.message.contains("namespace none"), "{missing:?}");
    let unknown = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}});
    ensure!(refused(bench.apply("flannel", &unknown, false, &[]).await?)?.kind == FailureKind::NotFound);
    let wrong =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Big_Name", "namespace": "default"}});
    ensure!(refused(bench.apply("flannel", &wrong, false, &[]).await?)?.kind == FailureKind::Invalid);
    Ok(())
}

pub(crate) async fn fields_are_taken_over_from_client_side_apply(bench: &Bench) -> Result<()> {
    let by_people = map("taken", &json!({"a": "1", "gone": "1"})).to_string();
    bench.server.kubectl_with(&["apply", "-f", "-"], &by_people)?;
    let body = map("taken", &json!({"a": "2"}));
    let conflict = refused(bench.apply("flannel", &body, false, &[]).await?)?;
    ensure!(conflict.message.contains("kubectl-client-side-apply: .data.a"), "{conflict:?}");
    ensure!(done(bench.apply("flannel", &body, true, &["kubectl-client-side-apply"]).await?)?.changed);
    let object = done(bench.get("ConfigMap", "taken").await?)?;
    ensure!(object["data"] == json!({"a": "2"}), "what is no longer in the body goes away: {object}");
    ensure!(object.pointer("/metadata/annotations").is_none(), "{object}");
    let shown = bench.server.kubectl(&["get", "configmap", "taken", "-o", "json", "--show-managed-fields"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let managers = shown.pointer("/metadata/managedFields").and_then(Value::as_array).context("managers")?;
    ensure!(managers.len() == 1 && managers[0]["manager"] == "runner-flannel", "{managers:?}");
    ensure!(!done(bench.apply("flannel", &body, true, &["kubectl-client-side-apply"]).await?)?.changed);
    Ok(())
}

fn create(body: &Value) -> CreateOrder {
    CreateOrder { cluster: "main".to_owned(), key: String::new(), body: body.to_string(), secrets: Vec::new() }
}

pub(crate) async fn what_is_created_says_by_which_effect(bench: &Bench) -> Result<()> {
    let kubernetes = bench.kubernetes();
    let order = create(&map("made", &json!({"a": "1"})));
    let first = done(one(kubernetes.create(&place(), &caller("flannel"), vec![order.clone()]).await)?)?;
    let object = done(bench.get("ConfigMap", "made").await?)?;
    let effect = object.pointer("/metadata/annotations/runner~1effect").and_then(Value::as_str);
    ensure!(effect == caller("flannel").effect(0).as_deref(), "{object}");
    let again = done(one(kubernetes.create(&place(), &caller("flannel"), vec![order.clone()]).await)?)?;
    ensure!(first == again && again.changed, "the same effect, asked for again");
    let other = refused(one(kubernetes.create(&place(), &Caller::runner(), vec![order]).await)?)?;
    let FailureKind::Conflict(found) = &other.kind else { anyhow::bail!("{other:?}") };
    ensure!(found.found == first.id.map(|id| id.uid), "{other:?}");
    Ok(())
}

pub(crate) async fn preconditions_hold(bench: &Bench) -> Result<()> {
    done(bench.apply("flannel", &map("checked", &json!({"a": "1"})), false, &[]).await?)?;
    let object = done(bench.get("ConfigMap", "checked").await?)?;
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str).context("uid")?.to_owned();
    let change = |value: &str| json!({"data": {"a": value}});
    let wanted = |uid: Option<&str>, version: Option<&str>| {
        Some(Precondition { uid: uid.map(str::to_owned), resource_version: version.map(str::to_owned) })
    };
    let at = || reference("ConfigMap", "checked");
    for stale in [wanted(None, Some("1")), wanted(Some("00000000-0000-0000-0000-000000000000"), None)] {
        let refusal = refused(bench.patch(at(), &change("2"), stale).await?)?;
        ensure!(matches!(refusal.kind, FailureKind::Conflict(_)), "{refusal:?}");
    }
    ensure!(done(bench.patch(at(), &change("2"), wanted(Some(&uid), None)).await?)?.changed);
    ensure!(!done(bench.patch(at(), &change("2"), wanted(Some(&uid), None)).await?)?.changed);
    let gone = refused(bench.patch(reference("ConfigMap", "no-such"), &change("2"), None).await?)?;
    ensure!(gone.kind == FailureKind::NotFound, "{gone:?}");

    let removal = |precondition| RemovalOrder {
        object: at(),
        propagation: Propagation::Foreground,
        grace_seconds: None,
        precondition,
    };
    let remove = async |order| one(bench.kubernetes().remove(&place(), &caller("flannel"), vec![order]).await);
    let other = refused(remove(removal(wanted(Some("other"), None))).await?)?;
    ensure!(matches!(&other.kind, FailureKind::Conflict(found) if found.found.as_ref() == Some(&uid)), "{other:?}");
    let removed = done(remove(removal(wanted(Some(&uid), None))).await?)?;
    ensure!(removed.changed, "{removed:?}");
    let gone = bench.wait(Subject::Object(at()), "object == null", 60_000).await?;
    ensure!(done(gone)?.is_empty());
    let nothing = done(remove(removal(None)).await?)?;
    ensure!(nothing == ObjectChange { changed: false, id: None }, "{nothing:?}");
    Ok(())
}

pub(crate) async fn secrets_are_put_in_at_the_last_moment(bench: &Bench) -> Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}});
    let order = ApplyOrder {
        cluster: "main".to_owned(),
        body: body.to_string(),
        secrets: vec![SecretField { pointer: "/data/password".to_owned(), secret: "secret:db".to_owned() }],
        force: false,
        take_over: Vec::new(),
        precondition: None,
    };
    done(one(bench.kubernetes().apply(&place(), &caller("flannel"), vec![order]).await)?)?;
    let held = bench.server.kubectl(&[
        "get",
        "secret",
        "s",
        "-o",
        "go-template={{index .data \"password\" | base64decode}}",
    ])?;
    ensure!(held == "gehe\nim", "{held}");
    Ok(())
}

pub(crate) async fn a_thousand_objects_come_page_by_page(bench: &Bench) -> Result<()> {
    let names: Vec<String> = (0..1_000).map(|number| format!("page-{number:04}")).collect();
    let mut body = map("x", &json!({"a": "x".repeat(400)}));
    body["metadata"]["labels"] = json!({"many": "yes"});
    let all: Vec<Value> = names
        .iter()
        .map(|name| {
            body["metadata"]["name"] = name.as_str().into();
            body.clone()
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string();
    bench.server.kubectl_with(&["create", "-f", "-"], &list)?;

    let order = |limit, token| PageOrder {
        selection: selection("ConfigMap", "many=yes"),
        keep: vec!["/data".to_owned()],
        limit,
        token,
    };
    let page = async |order| one(bench.kubernetes().pages(&place(), &Caller::runner(), vec![order]).await);
    let whole = done(page(order(0, None)).await?)?;
    ensure!(whole.token.is_none() && whole.objects.iter().map(|object| &object.id.name).eq(&names));
    ensure!(whole.objects.iter().all(|object| object.body.starts_with(r#"{"data":{"a":"x"#)));

    let first = done(page(order(300, None)).await?)?;
    ensure!(first.objects.len() == 300 && first.token.is_some() && !first.resource_version.is_empty());
    // The version of the first page is forgotten: the list goes on with what is there now.
    bench.server.kubectl(&["delete", "configmap", "page-0500"])?;
    bench.server.compact()?;
    let mut seen: Vec<String> = first.objects.into_iter().map(|object| object.id.name).collect();
    let mut token = first.token;
    while token.is_some() {
        let next = done(page(order(300, token)).await?)?;
        seen.extend(next.objects.into_iter().map(|object| object.id.name));
        token = next.token;
    }
    let left: Vec<&String> = names.iter().filter(|name| *name != "page-0500").collect();
    ensure!(seen.iter().eq(left), "{} names", seen.len());
    let wrong = refused(page(order(300, Some("no-token".to_owned()))).await?)?;
    ensure!(wrong.kind == FailureKind::Invalid, "{wrong:?}");
    let mut unknown = order(0, None);
    unknown.selection.fields = "data.a=1".to_owned();
    ensure!(refused(page(unknown).await?)?.kind == FailureKind::Invalid);
    Ok(())
}

pub(crate) async fn who_may_not_is_told_so(bench: &Bench) -> Result<()> {
    let nobody = cluster(&bench.server, Some("other-token"))?;
    let asked = nobody.kubernetes().get(&place(), &Caller::runner(), vec![reference("ConfigMap", "x")]).await;
    let forbidden = refused(one(asked)?)?;
    ensure!(forbidden.kind == FailureKind::Other("forbidden".to_owned()), "{forbidden:?}");
    let stranger = cluster(&bench.server, Some("wrong-token"))?;
    let asked = stranger.kubernetes().get(&place(), &Caller::runner(), vec![reference("ConfigMap", "x")]).await;
    let unknown = refused(one(asked)?)?;
    ensure!(unknown.kind == FailureKind::Other("credentials".to_owned()), "{unknown:?}");
    ensure!(!unknown.message.contains("wrong-token"), "{unknown:?}");
    Ok(())
}
