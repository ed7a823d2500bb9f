//! Restore of the backup set's snapshot on every member: the way back where etcd supports no downgrade. What was written
//! since the snapshot is lost, so it is asked for by a parameter and confirmed.
//!
//! After <https://etcd.io/docs/v3.6/op-guide/recovery/>: all API servers and all members are stopped, every member is
//! restored from the same snapshot as a member of a new cluster with `--bump-revision` and `--mark-compacted` (clients
//! keep watches by revision; one that goes back breaks them for good, etcd-io/etcd#16028, kubernetes/kubernetes#118501),
//! etcd is started, then everything that kept what the API servers said is restarted.
//!
//! On each host all of it happens inside the data directory, which may be a file system of its own:
//! `restoring-RUN/snapshot.db` is restored into `restoring-RUN/data`; then `member` becomes `member.before-RUN` and
//! `restoring-RUN/data/member` becomes `member`. So what is there tells how far a restore came, and the data of before
//! is kept; etcd passes over such names with a warning.

use runner_plugin_sdk::api::artifacts::RestoreOrder;
use runner_plugin_sdk::api::files::{
    self as file_api, AttributeOrder, Attributes, DirectoryOrder, Precondition, RemovalOrder, RenameOrder,
};
use runner_plugin_sdk::api::operator::{self, Confirmation, Question};
use runner_plugin_sdk::api::packages::{ChangedConfiguration, InstallOrder, PackageVersion};
use runner_plugin_sdk::api::{artifacts, packages as package_api, progress};
use runner_plugin_sdk::packages;
use runner_plugin_sdk::{
    Answers, Backup, Failure, Finding, Findings, Invocation, Presence, Problem, ReportBuilder, declined, exec, files,
    finding, refused,
};

use crate::backup::{FileNote, Notes, SNAPSHOT};
use crate::config::Config;
use crate::dependents::Units;
use crate::parameters::Backout;
use crate::place::{Place, Progress};
use crate::rolling::{Goal, put_back, timed_out};
use crate::site::{Expected, Seat, Site};
use crate::view::messages;

/// The prompt, as the manifest lists it.
const PROMPT: &str = "restore-loses-data";

pub(crate) fn run(
    invocation: &Invocation,
    parameters: &Backout,
    site: &Site,
    goals: &[Goal],
    notes: &Notes,
    set: Backup<'_>,
    report: &mut ReportBuilder,
) -> Result<(), Problem> {
    let site = &as_in_set(site, set, notes)?;
    let places: Vec<Place> = site.seats.iter().map(|seat| Place::of(site, seat, &invocation.run)).collect();
    if parameters.dependents.hosts.is_empty() && !parameters.standalone {
        let message = "a restore needs parameter dependents: hosts and units of what uses etcd (API servers to stop, what to restart after); where nothing does, standalone=true";
        return Err(refused("dependents-unknown", "dependents", message));
    }
    let mut findings = Findings::new();
    findings.extend(unknown_layouts(site));
    let digest = set.artifact(SNAPSHOT)?.digest.clone();
    let dependents = Units::find(&parameters.dependents)?;
    let progress = Progress::look(site, &places)?;
    findings.extend(progress.findings(&places));
    let bump = progress.bump(parameters.bump_revision);
    let least = notes.snapshot.revision.saturating_add_unsigned(bump);
    if progress.is_untouched() {
        findings.extend(too_little_room(site, notes.snapshot.total_size)?);
        findings.extend(bump_too_small(site.look(&Expected::default())?.revision(), least));
    }
    findings.refuse()?;
    confirm(site, set, notes, parameters)?;

    say("stopping what uses etcd, and etcd");
    dependents.stop()?;
    let hosts = site.hosts();
    site.stop(&hosts)?;
    say("installing the versions of the backup set");
    for goal in goals {
        put_back(&goal.host, &goal.files)?;
    }
    install(goals, parameters.package_timeout)?;
    // A package's own script may have started the server on data that is about to go.
    site.stop(&hosts)?;

    say("restoring the snapshot");
    if progress.is_untouched() {
        make_data(site, &places, &digest, bump)?;
    }
    put_in_place(&places, &progress, set.0.id.as_str())?;
    say("starting etcd");
    site.start(&hosts)?;
    let healthy = |view: &crate::view::View| {
        let mut missing = messages(&view.findings(None));
        missing.extend(view.behind(least));
        missing
    };
    let (view, open) = site.look_until(site.settings.health_timeout, &Expected::default(), healthy)?;
    if !open.is_empty() {
        return Err(timed_out("etcd", format!("etcd is not healthy after the restore: {}", open.join("; "))).into());
    }
    let ours = places.iter().map(|place| (&place.host, &place.work));
    let others = progress.leftovers.iter().map(|(host, path)| (host, path));
    remove(ours.chain(others))?;
    say("starting what uses etcd");
    dependents.start(&format!("restored/{}/{}", set.0.id, invocation.run))?;

    for place in &places {
        let message = format!(
            "the data that etcd had before the restore is kept in {} on host {}; remove it when nobody needs it any more",
            place.before, place.host
        );
        report.warn("data-kept", place.host.as_str(), message);
    }
    report.changed(true).output("revision", view.revision()).output("leader", view.leader());
    Ok(())
}

/// The members as the backup set's configuration has them, which is what will be on the hosts.
fn as_in_set(site: &Site, set: Backup<'_>, notes: &Notes) -> Result<Site, Problem> {
    let settings = &site.settings;
    let mut names = Vec::new();
    let mut findings = Findings::new();
    for seat in &site.seats {
        let of_seat = |note: &&FileNote| note.host == seat.host && note.path == settings.config;
        match notes.files.iter().find(of_seat) {
            Some(note) => names.push(note.artifact.as_str()),
            None => {
                let message = format!("backup set {} has no {} of host {}", set.0.id, settings.config, seat.host);
                findings.add("not-in-backup", seat.host.as_str(), message);
            }
        }
    }
    findings.refuse()?;
    let mut seats = Vec::new();
    for (seat, data) in site.seats.iter().zip(set.data(&names)?) {
        let config = Config::parse(&String::from_utf8_lossy(&data)).map_err(|why| {
            let message =
                format!("{} of host {} in backup set {} cannot be read: {why}", settings.config, seat.host, set.0.id);
            refused("unreadable-configuration", seat.host.as_str(), message)
        })?;
        seats.push(Seat {
            host: seat.host.clone(),
            endpoint: config.endpoint().unwrap_or_else(|| seat.endpoint.clone()),
            config,
        });
    }
    Ok(Site { seats, settings: settings.clone() })
}

fn say(what: &str) {
    progress::show(&format!("etcd: {what}"), None, None);
}

/// Layouts that this restore would get wrong.
fn unknown_layouts(site: &Site) -> Vec<Finding> {
    let mut findings = Vec::new();
    for seat in &site.seats {
        if let Some(wal) = &seat.config.wal_dir {
            let message = format!(
                "host {} keeps the write-ahead log of etcd apart in {wal}: a restore of that layout is not known here",
                seat.host
            );
            findings.push(finding("wal-apart", seat.host.as_str(), message));
        }
        let twin = site.seats.iter().find(|other| other.host < seat.host && other.config.name == seat.config.name);
        if let Some(twin) = twin {
            let message = format!(
                "the members of etcd on hosts {} and {} have the same name {}",
                twin.host, seat.host, seat.config.name
            );
            findings.push(finding("name-twice", seat.host.as_str(), message));
        }
        if let Some(first) = site.seats.first()
            && seat.config.token != first.config.token
        {
            let message = format!(
                "the members of etcd on hosts {} and {} have different tokens of the cluster",
                first.host, seat.host
            );
            findings.push(finding("token-differs", seat.host.as_str(), message));
        }
    }
    findings
}

/// A revision that clients have seen must not come again for other data.
fn bump_too_small(revision: Option<i64>, least: i64) -> Option<Finding> {
    let revision = revision.filter(|revision| *revision >= least)?;
    let message =
        format!("etcd is at revision {revision} and would come back at {least}: parameter bump-revision is too small");
    Some(finding("bump-too-small", "etcd", message))
}

/// Hosts without room for the snapshot and what is made of it, beside the data of before.
fn too_little_room(site: &Site, size: u64) -> Result<Vec<Finding>, Failure> {
    let needed = size.saturating_mul(2).saturating_add(128 * 1024 * 1024);
    let refs: Vec<_> = site.seats.iter().map(|seat| files::at(&seat.host, &site.settings.data_dir)).collect();
    let rooms = file_api::space(&refs).all()?;
    let short = site.seats.iter().zip(rooms).filter(|(_, room)| room.available < needed);
    Ok(short
        .map(|(seat, room)| {
            let message = format!(
                "{} on host {} has room for {} bytes, a restore needs {needed}",
                site.settings.data_dir, seat.host, room.available
            );
            finding("no-room", seat.host.as_str(), message)
        })
        .collect())
}

fn confirm(site: &Site, set: Backup<'_>, notes: &Notes, parameters: &Backout) -> Result<(), Problem> {
    let set = set.0;
    let lost =
        format!("everything that was written to etcd after {} (revision {})", set.created, notes.snapshot.revision);
    let hosts = site.hosts().join(", ");
    let stopped = parameters.dependents.stop.join(", ");
    let confirmation = Confirmation {
        question: Question {
            key: PROMPT.into(),
            message: format!(
                "[WARNING] etcd on {hosts} will be restored from backup set {}. Lost will be {lost}. Do you want to restore? (y/n)",
                set.id
            ),
            why: format!(
                "Parameter restore is set. During the restore etcd is down, and so are [{stopped}]. With n nothing is changed."
            ),
            fact: false,
        },
        default: false,
        destroys: lost,
    };
    if operator::confirm(&confirmation)? {
        return Ok(());
    }
    Err(declined("the restore of etcd was declined; nothing of etcd was changed"))
}

fn install(goals: &[Goal], seconds: u32) -> Result<(), Failure> {
    let hosts: Vec<String> = goals.iter().map(|goal| goal.host.clone()).collect();
    let names: Vec<&str> =
        goals.first().map(|goal| goal.versions.keys().map(String::as_str).collect()).unwrap_or_default();
    let installed = packages::status(&hosts, &names)?;
    let nothing = Default::default();
    let orders: Vec<InstallOrder> = goals
        .iter()
        .map(|goal| (goal, packages::differing(installed.get(&goal.host).unwrap_or(&nothing), &goal.versions)))
        .filter(|(_, versions)| !versions.is_empty())
        .map(|(goal, versions)| InstallOrder {
            host: goal.host.clone(),
            packages: versions.into_iter().map(|(name, version)| PackageVersion { name, version }).collect(),
            removals: Vec::new(),
            allow_downgrade: true,
            changed_configuration: ChangedConfiguration::Keep,
            time_out: seconds.saturating_mul(1000),
        })
        .collect();
    if orders.is_empty() { Ok(()) } else { package_api::install(&orders).all().map(|_| ()) }
}

/// Makes every member's data anew: what a stopped attempt left may be half a member.
fn make_data(site: &Site, places: &[Place], digest: &str, bump: u64) -> Result<(), Failure> {
    remove(places.iter().map(|place| (&place.host, &place.work)))?;
    make(places, digest, bump)?;
    own_alike(site, places)
}

/// Brings every host to [`Stage::Restored`](crate::place::Stage::Restored).
fn put_in_place(places: &[Place], progress: &Progress, set: &str) -> Result<(), Failure> {
    let to_move = progress.to_move(places);
    let (aside, nothing): (Vec<_>, Vec<_>) = to_move.into_iter().partition(|(_, any)| *any);
    // Where there was no data, an empty directory says that its turn has come.
    let marks: Vec<_> = nothing.iter().map(|(place, _)| directory(&place.host, &place.before)).collect();
    if !marks.is_empty() {
        file_api::make_directory(&marks).all()?;
    }
    let aside = aside.into_iter().map(|(place, _)| (place, &place.member, &place.before));
    rename(aside, set)?;
    let open = progress.to_place(places).into_iter();
    rename(open.map(|place| (place, &place.restored, &place.member)), set)
}

fn directory(host: &str, path: &str) -> DirectoryOrder {
    DirectoryOrder {
        host: host.to_owned(),
        path: path.to_owned(),
        attributes: Some(Attributes { mode: Some(0o700), owner: None, group: None, context: None }),
    }
}

fn make(places: &[Place], digest: &str, bump: u64) -> Result<(), Failure> {
    let directories: Vec<_> = places.iter().map(|place| directory(&place.host, &place.work)).collect();
    file_api::make_directory(&directories).all()?;
    let orders: Vec<_> = places
        .iter()
        .map(|place| RestoreOrder {
            digest: digest.to_owned(),
            host: place.host.clone(),
            path: place.snapshot(),
            precondition: Precondition::Anything,
            attributes: Some(Attributes { mode: Some(0o600), owner: None, group: None, context: None }),
        })
        .collect();
    artifacts::restore(&orders).all()?;
    exec::run(places.iter().map(|place| place.command(bump))).all().map(|_| ())
}

/// The server runs as a user of its own, the restore does not.
fn own_alike(site: &Site, places: &[Place]) -> Result<(), Failure> {
    let refs: Vec<_> = places.iter().map(|place| files::at(&place.host, &site.settings.data_dir)).collect();
    let owners = file_api::stat(&refs).into_iter().map(Presence::present).collect::<Vec<_>>().all()?;
    let orders: Vec<_> = places
        .iter()
        .zip(owners)
        .filter_map(|(place, status)| {
            let status = status?;
            Some(AttributeOrder {
                host: place.host.clone(),
                path: place.restored.clone(),
                attributes: Attributes {
                    mode: None,
                    owner: Some(status.owner),
                    group: Some(status.group),
                    context: status.context,
                },
                recursive: true,
            })
        })
        .collect();
    file_api::set_attributes(&orders).all().map(|_| ())
}

fn rename<'a>(moves: impl Iterator<Item = (&'a Place, &'a String, &'a String)>, set: &str) -> Result<(), Failure> {
    let orders: Vec<_> = moves
        .map(|(place, from, to)| RenameOrder {
            host: place.host.clone(),
            source: from.clone(),
            destination: to.clone(),
            key: format!("restore/{set}/{}/{to}", place.work),
        })
        .collect();
    if orders.is_empty() { Ok(()) } else { file_api::rename(&orders).all().map(|_| ()) }
}

fn remove<'a>(paths: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), Failure> {
    let orders: Vec<_> = paths
        .map(|(host, path)| RemovalOrder {
            host: host.clone(),
            path: path.clone(),
            recursive: true,
            contents_only: false,
            precondition: Precondition::Anything,
        })
        .collect();
    file_api::remove(&orders).all().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::tests::site;

    #[test]
    fn layouts_that_are_not_known_are_refused() {
        let good = site();
        assert!(unknown_layouts(&good).is_empty());
        let code = |site: &Site| {
            let findings = unknown_layouts(site);
            assert_eq!(findings.len(), 1);
            findings[0].code.clone()
        };
        let mut apart = good.clone();
        apart.seats[1].config.wal_dir = Some("/wal".into());
        assert_eq!(code(&apart), "wal-apart");
        let mut twice = good.clone();
        twice.seats[1].config.name = "m1".into();
        assert_eq!(code(&twice), "name-twice");
        let mut other = good;
        other.seats[1].config.token = "other".into();
        assert_eq!(code(&other), "token-differs");
    }

    #[test]
    fn a_revision_never_comes_again() {
        assert!(bump_too_small(Some(999), 1000).is_none());
        assert!(bump_too_small(None, 1000).is_none());
        assert!(bump_too_small(Some(1000), 1000).is_some());
    }
}
