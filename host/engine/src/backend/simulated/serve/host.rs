//! `host`.

use crate::backend::simulated::Simulated;
use crate::contract::host::{Capability, Facts, HostFacts, Reboot, RebootOrder};
use crate::contract::{Caller, Performed, Place};

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn facts(&self, place: &Place, _caller: &Caller, items: Vec<String>) -> Performed<HostFacts> {
        self.each::<Facts>(place, items, |model, host| model.host_facts(host)).await
    }

    async fn reboot(&self, place: &Place, _caller: &Caller, items: Vec<RebootOrder>) -> Performed<HostFacts> {
        self.each::<Reboot>(place, items, |model, item| model.reboot(&item.host)).await
    }
}
