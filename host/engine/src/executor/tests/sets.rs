//! Backup sets from run to run: what updates rest on, what backouts go to and leave.

use std::collections::BTreeSet;

use runner_types::BackupSet;

use super::*;

const HOUR: i64 = 3_600_000;
const WEEKS: i64 = 3 * 7 * 24 * HOUR;

/// A platform of the hosts a, b and c over several runs.
struct Site {
    home: Home,
}

impl Site {
    fn new() -> Self {
        Self { home: Home::new(Some(Installed::default())) }
    }

    /// With `p` and `q` backed up at release 1.0.
    async fn backed_up() -> Self {
        let site = Self::new();
        site.backup().await;
        site
    }

    async fn backup(&self) {
        let steps = ["p", "q"].map(|name| json!({"name": name, "component": name, "operation": "backup"}));
        self.succeeds(workflow(json!(steps))).await;
    }

    async fn run(&self, workflow: Value, acts: &[(&str, Act)]) -> Outcome {
        self.run_as(&[("w.json", workflow)], acts, true).await
    }

    async fn run_as(&self, workflows: &[(&str, Value)], acts: &[(&str, Act)], yes: bool) -> Outcome {
        // Names of sets and moments of bindings differ.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let bench = Bench::new(json!([]), Console { present: true, yes });
        self.home.run(bench, inventory().resolve(), workflows, acts).await
    }

    async fn succeeds(&self, workflow: Value) -> Outcome {
        let done = self.run(workflow, &[]).await;
        assert_eq!(done.summary.outcome, RunOutcome::Succeeded, "{:?}", done.summary.failures);
        done
    }

    async fn refused(&self, workflow: Value, says: &str) {
        let done = self.run(workflow, &[]).await;
        assert_eq!(done.summary.outcome, RunOutcome::Refused, "{:?}", done.summary.failures);
        let said = format!("{:?}", done.summary.failures);
        assert!(said.contains(says), "{said}");
        assert!(done.calls.iter().all(|call| call.contains("verify")), "{:?}", done.calls);
    }

    fn sets(&self) -> Vec<BackupSet> {
        self.home.backups().list("p").unwrap()
    }

    /// Sets that are bound, as component and run of the backup.
    fn bound(&self) -> Vec<String> {
        let sets = self.sets().into_iter().filter(|set| set.bound_to.is_some());
        let mut bound: Vec<String> = sets.map(|set| format!("{} {}", set.component, set.run)).collect();
        bound.sort();
        bound
    }

    /// All sets become so much older.
    fn age(&self, millis: i64) {
        for mut set in self.sets() {
            set.created = Timestamp::from_unix_millis(set.created.unix_millis() - millis);
            self.home.backups().save(&set).unwrap();
        }
    }

    /// Versions of a component on a, b and c.
    fn installed(&self, component: &str) -> String {
        let installed = self.home.installed.as_ref().unwrap().lock().unwrap();
        let of = |host: &str| installed.get(&(component.to_owned(), host.to_owned())).map_or("1", String::as_str);
        [of("a"), of("b"), of("c")].join(" ")
    }
}

fn step(name: &str, component: &str, operation: &str, extra: Value) -> Value {
    let mut step = json!({"name": name, "component": component, "operation": operation});
    step.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
    step
}

/// Updates `p` and then `q`, host by host.
fn update_to(version: &str) -> Value {
    let with = json!({"with": {"version": version}, "forks": 1});
    workflow(json!([step("p", "p", "update", with.clone()), step("q", "q", "update", with)]))
}

fn backout() -> Value {
    workflow(json!([step("p", "p", "backout", json!({})), step("q", "q", "backout", json!({}))]))
}

/// Backs out what is not at the set's version already.
fn partial() -> Value {
    let one = |name: &str| {
        let differs = format!("components.{name}.hosts[host.name] != backups.{name}.hosts[host.name]");
        step(name, name, "backout", json!({"when": differs}))
    };
    json!({
        "name": "w",
        "preconditions": [{"name": "found", "component": "*", "check": "true", "message": "never"}],
        "steps": [{"name": "hosts", "rolling": {"over": "all", "max-failures": 1, "steps": [one("p"), one("q")]}}],
    })
}

#[tokio::test]
async fn an_answer_of_no_binds_nothing() {
    let site = Site::backed_up().await;
    let mut update = update_to("2");
    update["confirm"] = json!({"message": "Go? ${backups.p.release}"});
    let done = site.run_as(&[("w.json", update.clone())], &[], false).await;
    assert_eq!(done.summary.outcome, RunOutcome::Declined);
    let asked = done.decisions().into_iter().find_map(|what| match what {
        Decision::Answered { message, .. } => Some(message),
        _ => None,
    });
    assert_eq!(asked.as_deref(), Some("Go? 1.0"), "the question knows what is chosen");
    assert_eq!(site.bound(), [""; 0]);
    site.age(WEEKS);
    site.refused(update, "h old").await;
    site.backup().await;
    site.succeeds(update_to("2")).await;
    assert_eq!(site.bound(), ["p r3", "q r3"]);
}

#[tokio::test]
async fn one_refused_set_leaves_the_others_unbound() {
    let site = Site::new();
    site.succeeds(workflow(json!([step("p", "p", "backup", json!({}))]))).await;
    site.refused(update_to("2"), "no backup set of q").await;
    assert_eq!(site.bound(), [""; 0]);
}

#[tokio::test]
async fn an_update_that_failed_half_way_keeps_its_set_and_what_was_not_begun_needs_a_young_one() {
    let site = Site::backed_up().await;
    let done = site.run(update_to("2"), &[("p update b", Act::Fail)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed);
    assert_eq!((&*site.installed("p"), &*site.installed("q")), ("2 1 2", "1 1 1"));
    site.age(WEEKS);
    site.refused(update_to("2"), "no backup set of q").await;
    site.backup().await;
    site.succeeds(update_to("2")).await;
    assert_eq!(site.bound(), ["p r0", "q r3"]);
    site.succeeds(backout()).await;
    assert_eq!((&*site.installed("p"), &*site.installed("q")), ("1 1 1", "1 1 1"));
    assert_eq!(site.bound(), [""; 0]);
}

#[tokio::test]
async fn a_backup_between_an_update_and_its_repetition_is_not_where_it_started() {
    let site = Site::backed_up().await;
    let done = site.run(update_to("2"), &[("q update b", Act::Fail)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed);
    assert_eq!((&*site.installed("p"), &*site.installed("q")), ("2 2 2", "2 1 2"));
    site.backup().await;
    site.age(WEEKS);
    site.backup().await;
    for _ in 0..2 {
        site.succeeds(update_to("2")).await;
        assert_eq!(site.bound(), ["p r0", "q r0"]);
        site.backup().await;
    }
    site.succeeds(backout()).await;
    assert_eq!((&*site.installed("p"), &*site.installed("q")), ("1 1 1", "1 1 1"));
}

#[tokio::test]
async fn an_update_that_ended_well_lends_its_set_to_no_later_one() {
    let site = Site::backed_up().await;
    site.succeeds(update_to("2")).await;
    site.age(WEEKS);
    site.refused(update_to("3"), "h old").await;
    site.refused(update_to("2"), "h old").await;
    site.backup().await;
    site.succeeds(update_to("3")).await;
    assert_eq!(site.bound(), ["p r4", "q r4"]);
    site.succeeds(backout()).await;
    assert_eq!((&*site.installed("p"), &*site.installed("q")), ("2 2 2", "2 2 2"));
    site.refused(backout(), "none to back out").await;
}

#[tokio::test]
async fn a_second_update_of_other_components_leaves_the_first_as_it_was() {
    let site = Site::backed_up().await;
    let only = |name: &str| workflow(json!([step(name, name, "update", json!({"with": {"version": "2"}}))]));
    site.succeeds(only("p")).await;
    assert_eq!(site.bound(), ["p r0"]);
    site.succeeds(only("q")).await;
    // All of it once more, from the same sets.
    site.succeeds(update_to("2")).await;
    assert_eq!(site.bound(), ["p r0", "q r0"]);
    site.succeeds(backout()).await;
    assert_eq!((&*site.installed("p"), &*site.installed("q")), ("1 1 1", "1 1 1"));
}

#[tokio::test]
async fn a_canary_and_then_the_rest_are_one_update() {
    let site = Site::backed_up().await;
    let of = |targets: &str| {
        workflow(json!([step("p", "p", "update", json!({"with": {"version": "2"}, "targets": targets}))]))
    };
    site.succeeds(of("a")).await;
    site.age(WEEKS);
    site.succeeds(of("all")).await;
    assert_eq!(site.bound(), ["p r0"]);
    site.age(WEEKS);
    site.refused(of("all"), "h old").await;
}

#[tokio::test]
async fn what_was_backed_out_by_the_run_itself_is_bound_as_before() {
    let site = Site::backed_up().await;
    let failing = |version: &str| {
        let mut update = update_to(version);
        let look = json!({"name": "look", "component": "h", "operation": "verify", "on-failure": "back-out"});
        update["steps"].as_array_mut().unwrap().push(look);
        update
    };
    let acts = [("h verify-health c", Act::Unhealthy)];
    let done = site.run(failing("2"), &acts).await;
    assert_eq!(done.summary.outcome, RunOutcome::BackedOut, "{:?}", done.summary.failures);
    assert_eq!(site.bound(), [""; 0]);
    site.age(WEEKS);
    site.refused(update_to("2"), "h old").await;

    site.backup().await;
    site.succeeds(update_to("2")).await;
    site.backup().await;
    assert_eq!(site.run(failing("3"), &acts).await.summary.outcome, RunOutcome::BackedOut);
    assert_eq!(site.bound(), ["p r3", "q r3"], "the update before is in force again");
}

#[tokio::test]
async fn an_update_that_was_turned_down_is_not_one_to_repeat() {
    let site = Site::backed_up().await;
    let acts = ["a", "b", "c"].map(|host| format!("p update {host}"));
    let acts: Vec<(&str, Act)> = acts.iter().map(|call| (call.as_str(), Act::Refuse)).collect();
    assert_eq!(site.run(update_to("2"), &acts).await.summary.outcome, RunOutcome::Refused);
    site.age(WEEKS);
    site.refused(update_to("2"), "h old").await;
}

#[tokio::test]
async fn a_set_without_a_host_of_the_update_backs_it_not() {
    let part = || workflow(json!([step("p", "p", "backup", json!({"targets": "a"}))]));
    let all = || workflow(json!([step("p", "p", "update", json!({}))]));
    let site = Site::new();
    site.succeeds(part()).await;
    site.refused(all(), "holds nothing of b, c").await;
    // An older one of all hosts does.
    let site = Site::backed_up().await;
    site.succeeds(part()).await;
    let done = site.succeeds(all()).await;
    assert_eq!(site.bound(), ["p r0"]);
    let set = site.sets().into_iter().find(|set| set.component == "p" && set.run == "r0").unwrap();
    assert_eq!(set.update.hosts, BTreeSet::from(["a", "b", "c"].map(str::to_owned)));
    assert!(done.decisions().contains(&Decision::BackupSet { component: "p".to_owned(), set: set.id }));
}

#[tokio::test]
async fn a_backup_of_the_same_run_counts_only_where_it_is_made_before_of_all_hosts() {
    let update = || step("one", "p", "update", json!({}));
    let counts = [json!([step("backup", "p", "backup", json!({})), update()])];
    let counts_not = [
        json!([update(), step("backup", "p", "backup", json!({}))]),
        json!([step("backup", "p", "backup", json!({"when": "false"})), update()]),
        json!([step("backup", "p", "backup", json!({"targets": "ab"})), update()]),
        json!([step("backup", "p", "backup", json!({})), step("one", "p", "update", json!({"needs": []}))]),
    ];
    for steps in counts {
        Site::new().succeeds(workflow(steps)).await;
    }
    for steps in counts_not {
        Site::new().refused(workflow(steps), "run a backup first").await;
    }
}

#[tokio::test]
async fn a_part_rests_on_no_older_a_set_than_the_whole_allows() {
    let site = Site::backed_up().await;
    site.age(3 * HOUR);
    let inner = json!({
        "name": "part",
        "requires": {"backup": {"max-age": "48h"}},
        "steps": [step("one", "p", "update", json!({}))],
    });
    // The set of `p` is chosen when its step begins: no backup is made before, and none after it counts.
    let whole = |steps: Value| json!({"name": "w", "requires": {"backup": {"max-age": "1h"}}, "steps": steps});
    let part = json!({"name": "part", "workflow": "part.json"});
    for steps in [
        json!([step("none", "p", "backup", json!({"when": "false"})), part]),
        json!([part, step("late", "p", "backup", json!({}))]),
    ] {
        let done = site.run_as(&[("w.json", whole(steps)), ("part.json", inner.clone())], &[], true).await;
        assert_eq!(done.summary.outcome, RunOutcome::Refused);
        assert!(done.summary.message.unwrap().contains("at most 1 h"), "{:?}", done.summary.failures);
        assert!(done.calls.is_empty(), "{:?}", done.calls);
    }
}

#[tokio::test]
async fn a_backout_that_left_a_host_out_leaves_its_set() {
    let one = |extra: Value| workflow(json!([step("p", "p", "backout", extra)]));
    let block = json!({"over": "all", "max-failures": 1, "steps": [step("p", "p", "backout", json!({}))]});
    let cases = [
        (workflow(json!([{"name": "hosts", "rolling": block}])), Some("p backout b"), "1 2 1"),
        (one(json!({"targets": "a"})), None, "1 2 2"),
        (one(json!({"when": "false"})), None, "2 2 2"),
    ];
    for (backout, fails, left) in cases {
        let site = Site::backed_up().await;
        site.succeeds(update_to("2")).await;
        let acts: Vec<(&str, Act)> = fails.iter().map(|call| (*call, Act::Fail)).collect();
        let done = site.run(backout, &acts).await;
        assert_eq!(done.summary.outcome, RunOutcome::Succeeded, "{:?}", done.summary.failures);
        assert_eq!(site.installed("p"), left);
        assert_eq!(site.bound(), ["p r0", "q r0"]);
        // The rest is backed out, and with it all.
        site.succeeds(partial()).await;
        assert_eq!((&*site.installed("p"), &*site.installed("q")), ("1 1 1", "1 1 1"));
        assert_eq!(site.bound(), [""; 0]);
    }
}

#[tokio::test]
async fn a_half_updated_platform_is_backed_out_whole() {
    let site = Site::backed_up().await;
    let done = site.run(update_to("2"), &[("p update b", Act::Fail)]).await;
    assert_eq!(done.summary.outcome, RunOutcome::Failed);
    let done = site.succeeds(partial()).await;
    let backouts: Vec<&String> = done.calls.iter().filter(|call| call.contains("backout")).collect();
    assert_eq!(backouts, ["p backout a", "p backout c"]);
    assert_eq!(site.bound(), [""; 0]);
}
