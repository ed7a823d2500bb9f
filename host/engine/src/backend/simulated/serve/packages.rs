//! `packages`.

use crate::backend::simulated::Simulated;
use crate::contract::packages::{
    Capability, Fetch, FetchOrder, HoldOrder, Install, InstallOrder, PackageRef, PackageStatus, Refresh, RemovalOrder,
    Remove, Repositories, Repository, RepositoryOrder, SetHeld, SetRepository, Status, Transaction,
};
use crate::contract::{Caller, Performed, Place};

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn status(&self, place: &Place, _caller: &Caller, items: Vec<PackageRef>) -> Performed<PackageStatus> {
        self.each::<Status>(place, items, |model, item| model.package_status(&item.host, &item.name)).await
    }

    async fn repositories(&self, place: &Place, _caller: &Caller, items: Vec<String>) -> Performed<Vec<Repository>> {
        self.each::<Repositories>(place, items, |model, host| model.repositories(host)).await
    }

    async fn refresh(&self, place: &Place, _caller: &Caller, items: Vec<String>) -> Performed<()> {
        self.each::<Refresh>(place, items, |model, host| model.known_host(host).map(|_| ())).await
    }

    async fn fetch(&self, place: &Place, _caller: &Caller, items: Vec<FetchOrder>) -> Performed<Vec<String>> {
        self.each::<Fetch>(place, items, |model, item| model.fetch(&item.host, &item.packages)).await
    }

    async fn install(&self, place: &Place, _caller: &Caller, items: Vec<InstallOrder>) -> Performed<Transaction> {
        self.each::<Install>(place, items, |model, item| model.install(item)).await
    }

    async fn remove(&self, place: &Place, _caller: &Caller, items: Vec<RemovalOrder>) -> Performed<Transaction> {
        self.each::<Remove>(place, items, |model, item| model.remove_packages(item)).await
    }

    async fn set_held(&self, place: &Place, _caller: &Caller, items: Vec<HoldOrder>) -> Performed<bool> {
        self.each::<SetHeld>(place, items, |model, item| model.set_held(&item.host, &item.names, item.held)).await
    }

    async fn set_repository(&self, place: &Place, _caller: &Caller, items: Vec<RepositoryOrder>) -> Performed<bool> {
        self.each::<SetRepository>(place, items, |model, item| model.set_repository(&item.host, &item.id, item.enabled))
            .await
    }
}
