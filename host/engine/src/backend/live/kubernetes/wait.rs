//! Waits for conditions over objects.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;

use super::api::Api;
use super::follow::{Followed, Objects};
use super::read::{given, shown};
use crate::backend::condition::Condition;
use crate::backend::failure;
use crate::backend::objects::{not_come_true, title};
use crate::contract::Failure;
use crate::contract::kubernetes::{Object, Subject, WaitOrder};

impl Api {
    /// Waits until a condition holds, and gives the objects as they then are.
    pub(super) async fn wait(&self, order: &WaitOrder) -> Result<Vec<Object>, Failure> {
        let (kind, subject, single) = match &order.subject {
            Subject::Object(at) => {
                (&at.kind, title(&at.kind.name, at.namespace.as_deref().unwrap_or_default(), &at.name), true)
            }
            Subject::Selection(selection) => (&selection.kind, format!("{} list", selection.kind.name), false),
        };
        let condition = Condition::new(&order.condition)
            .map_err(|error| failure::invalid(&kind.name, format!("condition {error}")))?;
        let followed = match &order.subject {
            Subject::Object(at) => {
                let at = self.at(at).await?;
                Followed {
                    path: at.kind.path(&at.namespace),
                    labels: String::new(),
                    fields: format!("metadata.name={}", at.name),
                    metadata_only: false,
                }
            }
            Subject::Selection(selection) => Followed {
                path: self.selected(selection).await?.1,
                labels: selection.labels.clone(),
                fields: selection.fields.clone(),
                metadata_only: false,
            },
        };
        let mut last: Arc<Vec<Value>> = Arc::default();
        let look = |objects: &Objects| -> BoxFuture<'_, ControlFlow<Result<Vec<Object>, Failure>>> {
            last = Arc::new(objects.values().map(|object| shown(object.clone(), kind)).collect());
            let (seen, subject) = (Arc::clone(&last), &subject);
            let held = holds(condition.clone(), Arc::clone(&last), single);
            Box::pin(async move {
                match held.await {
                    Ok(true) => ControlFlow::Break(Ok(seen.iter().map(|object| given(object, &order.keep)).collect())),
                    Ok(false) => ControlFlow::Continue(()),
                    Err(reason) => ControlFlow::Break(Err(failure::invalid(subject, format!("condition {reason}")))),
                }
            })
        };
        let time = Duration::from_millis(order.time_out.into());
        match tokio::time::timeout(time, followed.until(self, look)).await {
            Ok(seen) => seen?,
            Err(_) => Err(not_come_true(&subject, &order.condition, order.time_out, single, &last)),
        }
    }
}

/// Whether a condition holds, found out where it can keep nobody waiting.
async fn holds(condition: Condition, seen: Arc<Vec<Value>>, single: bool) -> Result<bool, String> {
    let evaluate = move || match single {
        true => condition.holds(seen.first().unwrap_or(&Value::Null), &[]),
        false => condition.holds(&Value::Null, &seen),
    };
    let held = tokio::task::spawn_blocking(evaluate).await.map_err(|error| error.to_string())?;
    held.map_err(|error| error.to_string())
}
