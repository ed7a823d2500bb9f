//! `packages`: grants name the packages; a transaction needs all of those it may touch.

use serde_json::Value;

use super::{Capable, Subject, known_all, plain};
use crate::contract::packages::{FetchOrder, HoldOrder, InstallOrder, PackageRef, RemovalOrder, RepositoryOrder};
use crate::contract::{Backend, Caller, Place};

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Subject<'a>, String> {
    let names: Vec<&str> = names.map(|name| plain("a package", name)).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err("an order without packages".to_owned());
    }
    Ok(Subject::Packages(names))
}

/// One list of package states for each order, read in one call.
async fn status(backend: &dyn Backend, place: &Place, orders: Vec<(&str, Vec<&str>)>) -> Vec<Value> {
    let counts: Vec<usize> = orders.iter().map(|(_, names)| names.len()).collect();
    let packages: Vec<PackageRef> = orders
        .into_iter()
        .flat_map(|(host, names)| {
            names.into_iter().map(|name| PackageRef { host: host.to_owned(), name: name.to_owned() })
        })
        .collect();
    let total = packages.len();
    let answers = match backend.packages().status(place, &Caller::runner(), packages).await {
        // What repositories offer is not state of the host.
        Ok(answers) => Ok(answers
            .into_iter()
            .map(|answer| {
                answer.map(|mut status| {
                    status.available.clear();
                    status
                })
            })
            .collect::<Vec<_>>()),
        Err(doubt) => Err(doubt),
    };
    let mut known = known_all(answers, total).into_iter();
    counts.into_iter().map(|count| Value::Array(known.by_ref().take(count).collect())).collect()
}

impl Capable for PackageRef {
    fn subject(&self) -> Result<Subject<'_>, String> {
        names(std::iter::once(self.name.as_str()))
    }
    fn label(&self) -> String {
        self.name.clone()
    }
}

#[async_trait::async_trait]
impl Capable for InstallOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        if let Some(package) = self.packages.iter().find(|p| p.version.is_empty()) {
            return Err(format!("package {} without a version", package.name));
        }
        names(self.packages.iter().map(|p| p.name.as_str()).chain(self.removals.iter().map(String::as_str)))
    }
    fn label(&self) -> String {
        let list: Vec<String> = self.packages.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
        list.join(" ")
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        let orders = items
            .iter()
            .map(|i| {
                let removed = i.removals.iter().map(String::as_str);
                (i.host.as_str(), i.packages.iter().map(|p| p.name.as_str()).chain(removed).collect())
            })
            .collect();
        status(backend, place, orders).await
    }
}

impl Capable for FetchOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        names(self.packages.iter().map(|p| p.name.as_str()))
    }
    fn label(&self) -> String {
        let list: Vec<String> = self.packages.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
        list.join(" ")
    }
}

#[async_trait::async_trait]
impl Capable for RemovalOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        names(self.names.iter().map(String::as_str))
    }
    fn label(&self) -> String {
        self.names.join(" ")
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        let orders = items.iter().map(|i| (i.host.as_str(), i.names.iter().map(String::as_str).collect())).collect();
        status(backend, place, orders).await
    }
}

#[async_trait::async_trait]
impl Capable for HoldOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        names(self.names.iter().map(String::as_str))
    }
    fn label(&self) -> String {
        self.names.join(" ")
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        let orders = items.iter().map(|i| (i.host.as_str(), i.names.iter().map(String::as_str).collect())).collect();
        status(backend, place, orders).await
    }
}

#[async_trait::async_trait]
impl Capable for RepositoryOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        if self.id.is_empty() || self.id.chars().any(char::is_control) {
            return Err(format!("{:?} is not the id of a repository", self.id));
        }
        Ok(Subject::Repository(&self.id))
    }
    fn label(&self) -> String {
        self.id.clone()
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        let Some(first) = items.first() else {
            return Vec::new();
        };
        let found = backend.packages().repositories(place, &Caller::runner(), vec![first.host.clone()]).await;
        let repositories = found.ok().and_then(|mut all| all.pop()).and_then(Result::ok).unwrap_or_default();
        items
            .iter()
            .map(|item| repositories.iter().find(|r| r.id == item.id).map_or(Value::Null, |r| Value::Bool(r.enabled)))
            .collect()
    }
}
