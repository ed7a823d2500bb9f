//! What updates rest on and backouts go to.

use super::*;
use crate::artifacts::DirectoryStore;
use runner_types::{Artifact, BackupPart, Digest, FormatVersion, Place, Target};

const DAY: Duration = Duration::from_secs(86_400);
const NOW: i64 = 1_795_000_000_000;

struct Home {
    _home: tempfile::TempDir,
    backups: Backups,
    store: DirectoryStore,
}

fn home() -> Home {
    let home = tempfile::tempdir().unwrap();
    let backups = Backups::open(&home.path().join("sets")).unwrap();
    let store = DirectoryStore::open(&home.path().join("store")).unwrap();
    Home { _home: home, backups, store }
}

async fn set(home: &Home, id: &str, age: Duration, release: Option<&str>) -> BackupSet {
    let digest = home.store.put_bytes(id.as_bytes().to_vec()).await.unwrap();
    let set = BackupSet {
        format: FormatVersion::CURRENT,
        id: id.to_owned(),
        component: "db".to_owned(),
        platform: "p".to_owned(),
        created: Timestamp::from_unix_millis(NOW - i64::try_from(age.as_millis()).unwrap()),
        run: "backup-run".to_owned(),
        step: "db".to_owned(),
        plugin: Digest::zero(),
        release: release.map(str::to_owned),
        complete: true,
        parts: vec![BackupPart {
            target: Target::Hosts,
            hosts: vec!["a".to_owned()],
            versions: Vec::new(),
            artifacts: vec![Artifact {
                digest: digest.parse().unwrap(),
                size: id.len() as u64,
                name: "data".to_owned(),
                origin: Place::Runner,
                labels: Vec::new(),
                file: None,
            }],
            notes: serde_json::Map::new(),
        }],
        bound_to: None,
        update: BoundUpdate::default(),
    };
    home.backups.save(&set).unwrap();
    set
}

fn hosts(names: &[&str]) -> Hosts {
    names.iter().map(|name| (None, (*name).to_owned())).collect()
}

fn goal(number: u8) -> BTreeSet<Digest> {
    BTreeSet::from([Digest::from_bytes(&[number; 32])])
}

impl Home {
    async fn choose(&self, goal: &BTreeSet<Digest>, names: &[&str]) -> Result<BackupSet, BackupError> {
        let now = Timestamp::from_unix_millis(NOW);
        let hosts = hosts(names);
        let wanted = Wanted { platform: "p", component: "db", hosts: &hosts, goals: goal, max_age: DAY, now };
        self.backups.choose(&self.store, &wanted).await
    }

    /// An update of a run begins on its host.
    async fn begin(&self, run: &str, goal: &BTreeSet<Digest>, bound: i64) -> BackupSet {
        let chosen = self.choose(goal, &["a"]).await.unwrap();
        let bound = Timestamp::from_unix_millis(NOW + bound);
        let begun = Begun { run, bound, hosts: &["a".to_owned()], goals: goal };
        self.backups.bind(&chosen, &begun).unwrap()
    }

    async fn back(&self) -> Result<BackupSet, BackupError> {
        self.backups.for_backout(&self.store, "p", "db", &hosts(&["a"])).await
    }
}

#[tokio::test]
async fn an_update_without_a_good_backup_is_refused_with_every_reason() {
    let home = home();
    set(&home, "old", DAY * 3, Some("1.0")).await;
    set(&home, "mixed", DAY / 4, None).await;
    let error = home.choose(&goal(1), &["a"]).await.unwrap_err().to_string();
    assert!(error.contains("old is 72 h old") && error.contains("mixed was taken while"), "{error}");
}

#[tokio::test]
async fn what_is_chosen_is_not_bound() {
    let home = home();
    set(&home, "first", DAY / 2, Some("1.0")).await;
    assert_eq!(home.choose(&goal(1), &["a"]).await.unwrap().id, "first");
    assert!(matches!(home.back().await, Err(BackupError::NoneForBackout { .. })));
}

#[tokio::test]
async fn a_repeated_update_keeps_its_first_set() {
    let home = home();
    set(&home, "first", DAY / 2, Some("1.0")).await;
    let first = home.begin("u1", &goal(1), 0).await;
    home.backups.save(&BackupSet { created: Timestamp::from_unix_millis(0), ..first }).unwrap();
    set(&home, "again", DAY / 4, Some("1.0")).await;
    set(&home, "mixed", DAY / 8, None).await;
    let kept = home.begin("u2", &goal(1), 1).await;
    assert_eq!((&*kept.id, kept.bound_to.as_deref()), ("first", Some("u1")));
    // What was backed up between is what the unfinished update brought, not where it started.
    set(&home, "later", DAY / 16, Some("2.0")).await;
    assert_eq!(home.begin("u3", &goal(1), 2).await.id, "first");
    assert_eq!(home.back().await.unwrap().id, "first");
    // Another update is not a repetition.
    assert_eq!(home.begin("u4", &goal(2), 3).await.id, "later");
    assert_eq!(home.back().await.unwrap().id, "later");
}

#[tokio::test]
async fn a_finished_update_lends_its_set_to_no_other() {
    let home = home();
    set(&home, "january", DAY / 2, Some("1.0")).await;
    let january = home.begin("u1", &goal(1), 0).await;
    home.backups.finish(&january).unwrap();
    let mut january = home.back().await.unwrap();
    january.created = Timestamp::from_unix_millis(0);
    home.backups.save(&january).unwrap();
    for goal in [goal(1), goal(2)] {
        let error = home.choose(&goal, &["a"]).await.unwrap_err().to_string();
        assert!(error.contains("january is") && error.contains("h old"), "{error}");
    }
    set(&home, "june", DAY / 2, Some("2.0")).await;
    assert_eq!(home.choose(&goal(1), &["a"]).await.unwrap().id, "january", "the same update has no other start");
    let june = home.begin("u2", &goal(2), 1).await;
    assert_eq!((&*june.id, &*home.back().await.unwrap().id), ("june", "june"));
    // Backed out it gives way to the update before; ended well it does not.
    home.backups.release(&june).unwrap();
    assert_eq!(home.back().await.unwrap().id, "january");
    home.backups.finish(&home.begin("u3", &goal(2), 2).await).unwrap();
    let june = home.back().await.unwrap();
    home.backups.release(&june).unwrap();
    assert!(matches!(home.back().await, Err(BackupError::NoneForBackout { .. })));
}

#[tokio::test]
async fn a_platform_taken_back_by_hand_is_updated_from_its_new_backup() {
    let home = home();
    set(&home, "first", DAY / 2, Some("1.0")).await;
    let first = home.begin("u1", &goal(1), 0).await;
    home.backups.finish(&first).unwrap();
    set(&home, "second", DAY / 4, Some("1.0")).await;
    assert_eq!(home.choose(&goal(1), &["a"]).await.unwrap().id, "second");
}

#[tokio::test]
async fn a_set_backs_no_update_of_hosts_that_it_holds_nothing_of() {
    let home = home();
    set(&home, "one", DAY / 2, Some("1.0")).await;
    let error = home.choose(&goal(1), &["a", "b"]).await.unwrap_err().to_string();
    assert!(error.contains("one holds nothing of b"), "{error}");
    home.begin("u1", &goal(1), 0).await;
    let error = home.choose(&goal(1), &["a", "b"]).await.unwrap_err().to_string();
    assert!(error.contains("one holds nothing of b"), "a repetition over more hosts: {error}");
}

#[tokio::test]
async fn each_cluster_has_its_own_set() {
    let home = home();
    for (name, age) in [("east", DAY / 2), ("west", DAY / 4)] {
        let mut set = set(&home, name, age, Some("1.0")).await;
        set.parts[0].target = Target::Cluster(name.to_owned());
        home.backups.save(&set).unwrap();
    }
    let of = |cluster: &str| Hosts::from([(Some(cluster.to_owned()), "a".to_owned())]);
    let goals = goal(1);
    for (name, bound) in [("east", 1), ("west", 2)] {
        let hosts = of(name);
        let now = Timestamp::from_unix_millis(NOW);
        let wanted = Wanted { platform: "p", component: "db", hosts: &hosts, goals: &goals, max_age: DAY, now };
        let chosen = home.backups.choose(&home.store, &wanted).await.unwrap();
        assert_eq!(chosen.id, name);
        let begun =
            Begun { run: "u", bound: Timestamp::from_unix_millis(bound), hosts: &["a".to_owned()], goals: &goals };
        let bound = home.backups.bind(&chosen, &begun).unwrap();
        home.backups.finish(&bound).unwrap();
    }
    for name in ["east", "west"] {
        assert_eq!(home.backups.bound("p", "db", &of(name)).unwrap().unwrap().id, name);
    }
    let both = of("east").into_iter().chain(of("west")).collect();
    let now = Timestamp::from_unix_millis(NOW);
    let wanted = Wanted { platform: "p", component: "db", hosts: &both, goals: &goal(2), max_age: DAY, now };
    assert!(home.backups.choose(&home.store, &wanted).await.is_err());
}

#[tokio::test]
async fn a_backout_wants_an_update_and_whole_data() {
    let home = home();
    let made = set(&home, "first", DAY / 2, Some("1.0")).await;
    let none = home.back().await.unwrap_err();
    assert!(matches!(none, BackupError::NoneForBackout { .. }));
    home.begin("u1", &goal(1), 0).await;
    let digest = made.artifacts().next().unwrap().digest.to_string();
    let file = home._home.path().join("store").join(&digest[..2]).join(&digest);
    fs::write(file, "other").unwrap();
    let damaged = home.back().await.unwrap_err();
    assert!(matches!(damaged, BackupError::NotWhole { .. }), "{damaged}");
}

#[tokio::test]
async fn a_set_that_cannot_be_read_is_not_passed_over() {
    let home = home();
    set(&home, "first", DAY / 2, Some("1.0")).await;
    fs::write(home._home.path().join("sets/second.json"), "{\"format\": 99}").unwrap();
    let error = home.backups.list("p").unwrap_err().to_string();
    assert!(error.contains("second.json") && error.contains("newer"), "{error}");
}
