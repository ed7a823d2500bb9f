//! Verifications beside the steps: those of preconditions and of health gates.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use runner_types::{Operation, Scope as TargetScope, Target};

use super::Executor;
use super::ended::Ended;
use super::steps::FORKS;
use super::unit::Unit;
use crate::gate::Stop;

impl Executor {
    /// Whether a component's verify looks at one host at a time.
    pub(super) fn verifies_each_host(&self, component: &str) -> bool {
        let verify = self.components.get(component).and_then(|found| found.manifest().operation(Operation::Verify));
        verify.is_some_and(|verify| verify.scope == TargetScope::Host)
    }

    /// Does a unit of verify over all its hosts: at once, or host by host, so many at a time, where the component looks at
    /// one host at a time.
    pub(super) async fn verify(self: &Arc<Self>, unit: Unit) -> Vec<Ended> {
        // Without any host nothing would be asked, and that is no reason to pass: the plugin answers.
        if unit.hosts.is_empty() || !self.verifies_each_host(&unit.component) {
            return vec![self.unit(&unit).await];
        }
        let of_host = |host: &String| -> BoxFuture<'static, Ended> {
            let one = Unit { target: Target::Host(host.clone()), hosts: vec![host.clone()], ..unit.clone() };
            let executor = Arc::clone(self);
            Box::pin(async move {
                if executor.gate.is_cancelled() {
                    return Ended::stopped(Stop::Cancelled);
                }
                executor.unit(&one).await
            })
        };
        let all: Vec<_> = unit.hosts.iter().map(of_host).collect();
        stream::iter(all).buffered(FORKS as usize).collect().await
    }
}
