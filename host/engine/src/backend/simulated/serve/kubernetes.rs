//! `kubernetes`.

use crate::backend::failure;
use crate::backend::objects::{check_waits, not_evicted, waited_for};
use crate::backend::simulated::Simulated;
use crate::backend::simulated::kubernetes::wait::given;
use crate::backend::simulated::kubernetes::write::Evicted;
use crate::backend::simulated::platform::{Shared, in_order};
use crate::contract::kubernetes::{
    Apply, ApplyOrder, Capability, Create, CreateOrder, Evict, Eviction, Get, Object, ObjectChange, ObjectRef, Page,
    PageOrder, Pages, Patch, PatchOrder, RemovalOrder, Remove, Server, Servers, WaitFor, WaitOrder,
};
use crate::contract::{Caller, Failure, Performed, Place};

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn servers(&self, place: &Place, _caller: &Caller, items: Vec<String>) -> Performed<Server> {
        self.each::<Servers>(place, items, |model, cluster| model.server(cluster)).await
    }

    async fn get(&self, place: &Place, caller: &Caller, items: Vec<ObjectRef>) -> Performed<Object> {
        let budget = caller.budget().clone();
        self.each::<Get>(place, items, move |model, item| {
            budget.admit(&item.name)?;
            let object = given(&model.referred(item)?, &item.kind, &[]);
            budget.keep(object.body.len(), &item.name).map(|()| object)
        })
        .await
    }

    async fn pages(&self, place: &Place, caller: &Caller, items: Vec<PageOrder>) -> Performed<Page> {
        let budget = caller.budget().clone();
        self.each::<Pages>(place, items, move |model, item| {
            let kind = &item.selection.kind.name;
            budget.admit(kind)?;
            let page = model.page(item)?;
            budget.keep(page.objects.iter().map(|object| object.body.len()).sum(), kind).map(|()| page)
        })
        .await
    }

    async fn wait_for(&self, place: &Place, caller: &Caller, items: Vec<WaitOrder>) -> Performed<Vec<Object>> {
        let budget = caller.budget().clone();
        let wait = move |shared: &Shared, items: &[WaitOrder]| {
            in_order::<WaitFor>(shared, items, |model, index, item| {
                check_waits(index, item)?;
                let objects = model.wait(item)?;
                let bytes = objects.iter().map(|object| object.body.len()).sum();
                budget.keep(bytes, waited_for(item)).map(|()| objects)
            })
        };
        self.call::<WaitFor>(place, items, wait).await
    }

    async fn apply(&self, place: &Place, caller: &Caller, items: Vec<ApplyOrder>) -> Performed<ObjectChange> {
        let manager = caller.manager();
        self.each::<Apply>(place, items, move |model, item| model.apply(item, &manager)).await
    }

    async fn patch(&self, place: &Place, caller: &Caller, items: Vec<PatchOrder>) -> Performed<ObjectChange> {
        let manager = caller.manager();
        self.each::<Patch>(place, items, move |model, item| model.patch(item, &manager)).await
    }

    async fn create(&self, place: &Place, caller: &Caller, items: Vec<CreateOrder>) -> Performed<ObjectChange> {
        let manager = caller.manager();
        let effects: Vec<_> = (0..items.len()).map(|index| caller.effect(index)).collect();
        let create = move |shared: &Shared, items: &[CreateOrder]| {
            in_order::<Create>(shared, items, |model, index, item| {
                model.create(item, &manager, effects.get(index).and_then(Option::as_deref))
            })
        };
        self.call::<Create>(place, items, create).await
    }

    async fn remove(&self, place: &Place, _caller: &Caller, items: Vec<RemovalOrder>) -> Performed<ObjectChange> {
        self.each::<Remove>(place, items, |model, item| model.remove_object(item)).await
    }

    async fn evict(&self, place: &Place, _caller: &Caller, items: Vec<Eviction>) -> Performed<ObjectChange> {
        self.call::<Evict>(place, items, evict_all).await
    }
}

/// Evicts Pods in rounds, each Pod an effect of its own: what a budget forbids now it may allow once another Pod's
/// successor is ready. When a round gets nowhere, waiting would not help either: the time is over.
fn evict_all(shared: &Shared, items: &[Eviction]) -> Vec<Result<ObjectChange, Failure>> {
    let mut answers: Vec<Option<Result<ObjectChange, Failure>>> = vec![None; items.len()];
    loop {
        let mut progress = false;
        let mut obstacles = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if answers[index].is_some() {
                continue;
            }
            match shared.transact(|model| model.evict(item)) {
                Ok(Evicted::Done(change)) => {
                    answers[index] = Some(Ok(change));
                    progress = true;
                }
                Ok(Evicted::Blocked(budget)) => obstacles.push((index, Some(budget))),
                Ok(Evicted::Ending) => obstacles.push((index, None)),
                Err(failure) => {
                    answers[index] = Some(Err(failure));
                    progress = true;
                }
            }
        }
        if progress && !obstacles.is_empty() {
            continue;
        }
        for (index, budget) in obstacles {
            answers[index] = Some(Err(not_evicted(&items[index], budget)));
        }
        let open = || Err(failure::timed_out("Pod", "the eviction did not end"));
        return answers.into_iter().map(|answer| answer.unwrap_or_else(open)).collect();
    }
}
