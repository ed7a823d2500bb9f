//! `http`.

use std::collections::BTreeMap;

use crate::backend::budget::Budget;
use crate::backend::simulated::Simulated;
use crate::backend::simulated::model::Model;
use crate::backend::simulated::model::commands::{HttpRequest, joined};
use crate::contract::http::{Capability, Get, Request, Response, Send, Submission};
use crate::contract::types::EffectClass;
use crate::contract::{Caller, Failure, Performed, Place};

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn get(&self, place: &Place, caller: &Caller, items: Vec<Request>) -> Performed<Response> {
        let budget = caller.budget().clone();
        self.each::<Get>(place, items, move |model, item| {
            budget.admit(&item.url)?;
            ask(model, item, "GET", Vec::new(), EffectClass::Read, &budget)
        })
        .await
    }

    async fn send(&self, place: &Place, caller: &Caller, items: Vec<Submission>) -> Performed<Response> {
        let budget = caller.budget().clone();
        self.each::<Send>(place, items, move |model, item| {
            ask(model, &item.request, &item.method, joined(&item.body), item.effect, &budget)
        })
        .await
    }
}

fn ask(
    model: &mut Model<'_>,
    request: &Request,
    method: &str,
    body: Vec<u8>,
    effect: EffectClass,
    budget: &Budget,
) -> Result<Response, Failure> {
    let headers: BTreeMap<String, String> = request
        .headers
        .iter()
        .map(|header| (header.name.to_lowercase(), String::from_utf8_lossy(&joined(&header.value)).into_owned()))
        .collect();
    let mut response = model.request(&HttpRequest {
        method,
        url: &request.url,
        headers,
        body,
        via: request.via.as_deref(),
        effect,
        limit: request.body_limit,
    })?;
    budget.cut(&mut response.body, &mut response.dropped);
    Ok(response)
}
