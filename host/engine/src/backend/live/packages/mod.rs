//! `packages`: apt with dpkg, dnf or yum with rpm; which of them, the script on the host finds out.
//!
//! A transaction is one script: it simulates, stops where the simulation touches what the order does not name, performs,
//! and sets holds again. It goes on to its end when the connection is lost; the same order again then finds it done, waits
//! for it, or finishes it.

mod apt;
mod rpm;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::LiveHost;
use super::records::{self, Item, Record, in_order};
use super::shell::Bounds;
use crate::backend::budget::Budget;
use crate::backend::failure;
use crate::contract::files::{Precondition, WriteOrder};
use crate::contract::packages::{
    Capability, ChangedConfiguration, FetchOrder, HoldOrder, InstallOrder, PackageChange, PackageRef, PackageStatus,
    PackageVersion, RemovalOrder, Repository, RepositoryOrder, Transaction,
};
use crate::contract::types::Part;
use crate::contract::{Backend as _, Caller, Class, Failure, Performed, Place, RetryAdvice, Stop};

const DETECT: &str = include_str!("detect.sh");
const APT: &str = include_str!("apt.sh");
const RPM: &str = include_str!("rpm.sh");
/// Names that one script asks about.
const NAMES: usize = 300;
/// How long a read or a refresh of the lists may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long an order without a time may take.
const DEFAULT_TIME: Duration = Duration::from_secs(600);

/// A package as the host's database has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// Installed version.
    version: Option<String>,
    broken: bool,
    held: bool,
}

type States = BTreeMap<String, State>;

/// Package managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Rpm,
}

impl Manager {
    /// The one that answered.
    fn of(record: &Record) -> Self {
        match record.text(0).as_str() {
            "apt" => Self::Apt,
            _ => Self::Rpm,
        }
    }

    fn states(self, text: &str) -> States {
        match self {
            Self::Apt => apt::states(text),
            Self::Rpm => rpm::states(text),
        }
    }
}

/// A name or version that no shell and no package manager reads as something else.
fn plain(what: &str, text: &str) -> Result<(), Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+.~:_^-".contains(&byte);
    match text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric()) && text.bytes().all(fits) {
        true => Ok(()),
        false => Err(failure::invalid(text, format!("{text:?} is no {what} of a package"))),
    }
}

fn plain_pairs(packages: &[PackageVersion]) -> Result<(), Failure> {
    packages.iter().try_for_each(|package| {
        plain("name", &package.name)?;
        plain("version", &package.version)
    })
}

fn plain_names(names: &[String]) -> Result<(), Failure> {
    names.iter().try_for_each(|name| plain("name", name))
}

/// What an order may take, and how many of its seconds it may wait for locks.
fn time(milliseconds: u32) -> (Duration, String) {
    let time = match milliseconds {
        0 => DEFAULT_TIME,
        given => Duration::from_millis(given.into()),
    };
    (time, (time.as_secs() / 2).max(1).to_string())
}

fn pairs(packages: &[PackageVersion]) -> impl Iterator<Item = String> {
    packages.iter().flat_map(|package| [package.name.clone(), package.version.clone()])
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// One call of a function of the host's package manager.
struct Ask {
    function: &'static str,
    arguments: Vec<String>,
    class: Class,
    time: Duration,
    subject: String,
}

impl LiveHost {
    /// The record of one call; anything but `ok` is its failure.
    async fn manage(&self, ask: Ask) -> Result<Result<Record, Failure>, Stop> {
        let text = format!("{DETECT}{APT}{RPM}\nitem() {{ by_manager {} \"$@\"; }}\n", ask.function);
        let subject = ask.subject.clone();
        let item = Item { subject: subject.clone(), arguments: ask.arguments, input: Vec::new() };
        let bounds = Bounds { time: Some(ask.time), ..Bounds::default() };
        let budget = Budget::default();
        let answers = records::each(self.shell.as_ref(), &text, ask.class, bounds, &budget, vec![item]).await;
        let answers = answers.map_err(|cut| cut.stop)?;
        let answer = answers.into_iter().next().unwrap_or_else(|| Err(failure::not_attempted(subject.clone())));
        Ok(answer.and_then(|record| match record.kind.as_str() {
            "ok" => Ok(record),
            _ => Err(self.refusal(&record, &subject)),
        }))
    }

    /// The failure that a record other than `ok` stands for.
    fn refusal(&self, record: &Record, subject: &str) -> Failure {
        let host = &self.name;
        match record.kind.as_str() {
            "unsupported" => failure::unsupported(subject, format!("{host} has neither apt-get nor dnf nor yum")),
            "beyond" => {
                let touched: Vec<String> = record.text(0).lines().map(apt::touched).collect();
                let list = touched.join(", ");
                let message = format!("the transaction on {host} would touch packages that are not named: {list}");
                failure::conflict(subject, message, touched, None)
            }
            "downgrade" => downgrade(&record.text(0), host, subject),
            "refused" => said(&record.text(0), host, subject, Some(100)),
            _ => {
                let code = record.text(0).parse().ok();
                let states = record.optional(2).map(|text| apt::states(&text)).unwrap_or_default();
                let broken: Vec<&str> =
                    states.iter().filter(|(_, state)| state.broken).map(|(name, _)| name.as_str()).collect();
                let mut failure = said(&record.text(1), host, subject, code);
                if !broken.is_empty() {
                    failure.message = format!("{} on {host} half done: {}", broken.join(", "), failure.message);
                }
                failure
            }
        }
    }

    async fn names(&self, names: Vec<String>) -> Result<BTreeMap<String, PackageStatus>, Failure> {
        let mut found = BTreeMap::new();
        for names in names.chunks(NAMES) {
            let ask = Ask {
                function: "status",
                arguments: names.to_vec(),
                class: Class::Read,
                time: PATIENCE,
                subject: names.join(" "),
            };
            let record =
                self.manage(ask).await.unwrap_or_else(|stop| Err(failure::unreachable("", stop.to_string())))?;
            let manager = Manager::of(&record);
            let mut states = manager.states(&record.text(1));
            let mut offered = match manager {
                Manager::Apt => apt::offered(&record.text(2)),
                Manager::Rpm => rpm::offered(&record.text(2)),
            };
            for name in names {
                let state = states.remove(name).unwrap_or_default();
                let held = match manager {
                    Manager::Apt => state.held,
                    Manager::Rpm => rpm::held(name, &record.text(3)),
                };
                let available = offered.remove(name).unwrap_or_default();
                let State { version, broken, .. } = state;
                found.insert(name.clone(), PackageStatus { name: name.clone(), version, broken, held, available });
            }
        }
        Ok(found)
    }

    async fn install_one(&self, item: &InstallOrder) -> Result<Result<Transaction, Failure>, Stop> {
        if let Err(failure) = plain_pairs(&item.packages).and_then(|()| plain_names(&item.removals)) {
            return Ok(Err(failure));
        }
        let (time, seconds) = time(item.time_out);
        let configuration = match item.changed_configuration {
            ChangedConfiguration::Keep => "keep",
            ChangedConfiguration::Replace => "replace",
        };
        let mut arguments = vec![configuration.to_owned(), yes(item.allow_downgrade), seconds, item.removals.join(" ")];
        arguments.extend(pairs(&item.packages));
        let names: Vec<String> = item.packages.iter().map(|package| package.name.clone()).collect();
        let subject = names.join(" ");
        let class = Class::WriteIdempotent;
        let ask = Ask { function: "install", arguments, class, time, subject };
        Ok(self.manage(ask).await?.and_then(|record| {
            let done = transaction(&record, &names, &item.removals);
            let missed = item.packages.iter().find(|package| {
                let change = done.packages.iter().find(|change| change.name == package.name);
                change.is_none_or(|change| change.after.as_ref() != Some(&package.version))
            });
            match missed {
                None => Ok(done),
                Some(package) => Err(failure::failed(
                    &package.name,
                    format!("{} {} is not installed on {} after all", package.name, package.version, self.name),
                    Some(0),
                    &record.text(3),
                )),
            }
        }))
    }

    async fn fetch_one(&self, item: &FetchOrder) -> Result<Result<Vec<String>, Failure>, Stop> {
        if let Err(failure) = plain_pairs(&item.packages) {
            return Ok(Err(failure));
        }
        let (time, seconds) = time(item.time_out);
        let arguments = std::iter::once(seconds).chain(pairs(&item.packages)).collect();
        let subject = item.packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(" ");
        let ask = Ask { function: "fetch", arguments, class: Class::WriteIdempotent, time, subject };
        Ok(self.manage(ask).await?.and_then(|record| match Manager::of(&record) {
            Manager::Apt => apt::fetched(&record.text(1), &record.text(2), &item.packages),
            Manager::Rpm => Ok(record.text(2).lines().map(str::to_owned).collect()),
        }))
    }

    async fn remove_one(&self, item: &RemovalOrder) -> Result<Result<Transaction, Failure>, Stop> {
        if let Err(failure) = plain_names(&item.names) {
            return Ok(Err(failure));
        }
        let (time, seconds) = time(item.time_out);
        let arguments = [yes(item.purge), seconds].into_iter().chain(item.names.iter().cloned()).collect();
        let subject = item.names.join(" ");
        let ask = Ask { function: "remove", arguments, class: Class::WriteIdempotent, time, subject };
        Ok(self.manage(ask).await?.map(|record| {
            let mut done = transaction(&record, &item.names, &[]);
            // Configuration files of a package that was removed earlier.
            done.changed |= item.purge && record.text(1) != record.text(2);
            done
        }))
    }

    async fn hold_one(&self, item: &HoldOrder) -> Result<Result<bool, Failure>, Stop> {
        if let Err(failure) = plain_names(&item.names) {
            return Ok(Err(failure));
        }
        let arguments = std::iter::once(yes(item.held)).chain(item.names.iter().cloned()).collect();
        let subject = item.names.join(" ");
        let ask = Ask { function: "hold", arguments, class: Class::WriteIdempotent, time: PATIENCE, subject };
        Ok(self.manage(ask).await?.map(|record| record.text(1) != record.text(2)))
    }

    /// The files that name a host's repositories, with their contents.
    async fn sources(&self) -> Result<(Manager, Vec<(String, Vec<u8>)>), Failure> {
        let ask = Ask {
            function: "repositories",
            arguments: Vec::new(),
            class: Class::Read,
            time: PATIENCE,
            subject: self.name.clone(),
        };
        let record = self.manage(ask).await.unwrap_or_else(|stop| Err(failure::unreachable("", stop.to_string())))?;
        let fields = record.texts();
        let mut files = Vec::new();
        for pair in fields.get(1..).unwrap_or_default().chunks_exact(2) {
            if let [path, content] = pair {
                let content = base64::engine::general_purpose::STANDARD.decode(content);
                let content = content.map_err(|error| failure::other("answer", path, error.to_string()))?;
                files.push((path.clone(), content));
            }
        }
        Ok((Manager::of(&record), files))
    }

    async fn known(&self) -> Result<Vec<Repository>, Failure> {
        let (manager, files) = self.sources().await?;
        let all = files.iter().flat_map(|(path, content)| sources::repositories(manager, path, content));
        Ok(all.collect())
    }

    async fn switch(&self, place: &Place, caller: &Caller, item: &RepositoryOrder) -> Performed<bool> {
        let (manager, files) = match self.sources().await {
            Ok(found) => found,
            Err(failure) => return Ok(vec![Err(failure)]),
        };
        for (path, content) in &files {
            let Some(found) = sources::repositories(manager, path, content).into_iter().find(|r| r.id == item.id)
            else {
                continue;
            };
            if found.enabled == item.enabled {
                return Ok(vec![Ok(false)]);
            }
            let order = WriteOrder {
                host: item.host.clone(),
                path: path.clone(),
                content: vec![Part::Bytes(sources::switched(manager, path, content, &item.id, item.enabled))],
                precondition: Precondition::Hash(hex::encode(Sha256::digest(content))),
                attributes: None,
                sensitive: false,
            };
            let written = self.files().write(place, caller, vec![order]).await.map_err(|cut| cut.stop)?;
            return Ok(written.into_iter().map(|answer| answer.map(|change| change.changed)).collect());
        }
        Ok(vec![Err(failure::not_found(&item.id, format!("{} has no repository {}", self.name, item.id)))])
    }
}

/// What a transaction did, by the states before and after it.
fn transaction(record: &Record, names: &[String], removals: &[String]) -> Transaction {
    let manager = Manager::of(record);
    let (before, after) = (manager.states(&record.text(1)), manager.states(&record.text(2)));
    let nothing = State::default();
    let mut packages = Vec::new();
    let mut changed = false;
    for name in names.iter().chain(removals).collect::<BTreeSet<_>>() {
        let (was, is) = (before.get(name).unwrap_or(&nothing), after.get(name).unwrap_or(&nothing));
        changed |= was.version != is.version || was.broken != is.broken;
        if names.contains(name) || was.version != is.version {
            packages.push(PackageChange { name: name.clone(), before: was.version.clone(), after: is.version.clone() });
        }
    }
    let configuration = match manager {
        Manager::Apt => apt::configuration(&record.text(3)),
        Manager::Rpm => rpm::configuration(&record.text(3)),
    };
    Transaction { changed, packages, configuration }
}

/// Lines of name, installed and wanted version.
fn downgrade(lines: &str, host: &str, subject: &str) -> Failure {
    let lower: Vec<Vec<&str>> = lines.lines().map(|line| line.split_whitespace().collect()).collect();
    let text = |words: &Vec<&str>| match words.as_slice() {
        [name, installed, wanted] => format!("{name} {installed} would be downgraded to {wanted}"),
        other => format!("{} would be a downgrade", other.join(" ")),
    };
    let blockers = lower.iter().map(|words| words.iter().take(2).copied().collect::<Vec<_>>().join(" ")).collect();
    let found = lower.first().and_then(|words| words.get(1)).map(|version| (*version).to_owned());
    let message = format!("on {host} {}", lower.iter().map(text).collect::<Vec<_>>().join(", "));
    let name = lower.first().and_then(|words| words.first()).copied().unwrap_or(subject);
    failure::conflict(name, message, blockers, found)
}

/// What the words of a package manager mean that did not do what it was told.
fn said(text: &str, host: &str, subject: &str, code: Option<i32>) -> Failure {
    if let Some((name, line)) = apt::absent(text).or_else(|| rpm::absent(text)) {
        return failure::not_found(name, format!("{line} in the repositories of {host}"));
    }
    if let Some(line) = apt::busy(text) {
        let mut failure = failure::conflict(
            subject,
            format!("another package manager is at work on {host}: {line}"),
            vec![line.to_owned()],
            None,
        );
        failure.retry = RetryAdvice::Later;
        return failure;
    }
    let unmet = apt::unmet(text).or_else(|| rpm::unmet(text));
    if let Some(unmet) = unmet {
        let message = format!("the transaction on {host} is not possible: {}", unmet.join("; "));
        return failure::conflict(subject, message, unmet, None);
    }
    let last = |prefix: &str| text.lines().rev().find(|line| line.starts_with(prefix) && !line.trim().is_empty());
    let line = last("E: ").or_else(|| last("Error")).or_else(|| last("")).unwrap_or("it said nothing");
    failure::failed(subject, format!("{host}: {line}"), code, text)
}

#[async_trait::async_trait]
impl Capability for LiveHost {
    async fn status(&self, _place: &Place, _caller: &Caller, items: Vec<PackageRef>) -> Performed<PackageStatus> {
        let names: BTreeSet<String> =
            items.iter().filter(|item| plain("name", &item.name).is_ok()).map(|item| item.name.clone()).collect();
        let found = self.names(names.into_iter().collect()).await;
        let answer = |item: PackageRef| {
            plain("name", &item.name)?;
            let found = found.as_ref().map_err(Clone::clone)?;
            found.get(&item.name).cloned().ok_or_else(|| failure::not_found(&item.name, "no answer"))
        };
        Ok(items.into_iter().map(answer).collect())
    }

    async fn repositories(&self, _place: &Place, _caller: &Caller, items: Vec<String>) -> Performed<Vec<Repository>> {
        let known = self.known().await;
        Ok(items.iter().map(|_| known.clone()).collect())
    }

    async fn refresh(&self, _place: &Place, _caller: &Caller, items: Vec<String>) -> Performed<()> {
        let ask = Ask {
            function: "refresh",
            arguments: Vec::new(),
            class: Class::WriteIdempotent,
            time: PATIENCE,
            subject: self.name.clone(),
        };
        let done = self.manage(ask).await?.map(|_| ());
        Ok(items.iter().map(|_| done.clone()).collect())
    }

    async fn fetch(&self, _place: &Place, _caller: &Caller, items: Vec<FetchOrder>) -> Performed<Vec<String>> {
        in_order!(items, |item| self.fetch_one(item).await)
    }

    async fn install(&self, _place: &Place, _caller: &Caller, items: Vec<InstallOrder>) -> Performed<Transaction> {
        in_order!(items, |item| self.install_one(item).await)
    }

    async fn remove(&self, _place: &Place, _caller: &Caller, items: Vec<RemovalOrder>) -> Performed<Transaction> {
        in_order!(items, |item| self.remove_one(item).await)
    }

    async fn set_held(&self, _place: &Place, _caller: &Caller, items: Vec<HoldOrder>) -> Performed<bool> {
        in_order!(items, |item| self.hold_one(item).await)
    }

    async fn set_repository(&self, place: &Place, caller: &Caller, items: Vec<RepositoryOrder>) -> Performed<bool> {
        in_order!(items, |item| {
            let answers = self.switch(place, caller, item).await;
            answers
                .map_err(|cut| cut.stop)
                .map(|mut answers| answers.pop().unwrap_or_else(|| Err(failure::not_attempted(item.id.clone()))))
        })
    }
}
