//! `http`.

use std::collections::BTreeMap;

use crate::backend::simulated::Simulated;
use crate::backend::simulated::model::Model;
use crate::backend::simulated::model::commands::{HttpRequest, joined};
use crate::contract::http::{Capability, Get, Request, Response, Send, Submission};
use crate::contract::types::EffectClass;
use crate::contract::{Caller, Failure, Performed, Place};

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn get(&self, place: &Place, _caller: &Caller, items: Vec<Request>) -> Performed<Response> {
        self.each::<Get>(place, items, |model, item| ask(model, item, "GET", Vec::new(), EffectClass::Read)).await
    }

    async fn send(&self, place: &Place, _caller: &Caller, items: Vec<Submission>) -> Performed<Response> {
        self.each::<Send>(place, items, |model, item| {
            ask(model, &item.request, &item.method, joined(&item.body), item.effect)
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
) -> Result<Response, Failure> {
    let headers: BTreeMap<String, String> = request
        .headers
        .iter()
        .map(|header| (header.name.to_lowercase(), String::from_utf8_lossy(&joined(&header.value)).into_owned()))
        .collect();
    model.request(&HttpRequest {
        method,
        url: &request.url,
        headers,
        body,
        via: request.via.as_deref(),
        effect,
        limit: request.body_limit,
    })
}
