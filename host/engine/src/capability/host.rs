//! `host`: grants name the host alone.

use serde_json::Value;

use super::{Capable, Subject};
use crate::contract::host::RebootOrder;
use crate::contract::{Backend, Caller, Place};

#[async_trait::async_trait]
impl Capable for RebootOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        Ok(Subject::Place)
    }
    fn label(&self) -> String {
        "reboot".to_owned()
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        let hosts = items.iter().map(|i| i.host.clone()).collect();
        match backend.host().facts(place, &Caller::runner(), hosts).await {
            Ok(facts) => {
                facts.into_iter().map(|facts| facts.map_or(Value::Null, |facts| Value::String(facts.boot))).collect()
            }
            Err(_) => vec![Value::Null; items.len()],
        }
    }
}

/// A host's or cluster's bare name: an item of `host.facts`, `packages.refresh`, `kubernetes.servers`.
impl Capable for String {
    fn subject(&self) -> Result<Subject<'_>, String> {
        Ok(Subject::Place)
    }
    fn label(&self) -> String {
        self.clone()
    }
}
