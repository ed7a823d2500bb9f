//! `exec`.

use crate::backend::simulated::Simulated;
use crate::contract::exec::{Capability, Command, Output, Run};
use crate::contract::{Caller, Performed, Place};

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn run(&self, place: &Place, _caller: &Caller, items: Vec<Command>) -> Performed<Output> {
        self.each::<Run>(place, items, |model, item| model.run(item)).await
    }
}
