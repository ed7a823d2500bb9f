//! `exec`.

use crate::backend::simulated::Simulated;
use crate::contract::exec::{Capability, Command, Output, Run};
use crate::contract::{Caller, Performed, Place};

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn run(&self, place: &Place, caller: &Caller, items: Vec<Command>) -> Performed<Output> {
        let budget = caller.budget().clone();
        self.each::<Run>(place, items, move |model, item| {
            let mut output = model.run(item)?;
            for said in [&mut output.stdout, &mut output.stderr] {
                budget.cut(&mut said.data, &mut said.dropped);
            }
            Ok(output)
        })
        .await
    }
}
