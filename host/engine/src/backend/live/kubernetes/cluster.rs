//! A real cluster as a backend.

use std::sync::Arc;

use futures::future::join_all;
use futures::{StreamExt as _, stream};

use super::api::Api;
use super::failures::Trouble;
use super::kubeconfig::Kubeconfig;
use crate::backend::failure;
use crate::backend::live::secrets::Secrets;
use crate::backend::objects::{check_waits, waited_for};
use crate::contract::kubernetes::{
    ApplyOrder, Capability, CreateOrder, Eviction, Object, ObjectChange, ObjectRef, Page, PageOrder, PatchOrder,
    RemovalOrder, Server, WaitOrder,
};
use crate::contract::{Backend, Caller, Cut, Failure, Performed, Place, Stop};

/// Reads of one call under way at the same time.
const AT_A_TIME: usize = 16;

/// A real cluster. Its API server is asked when something is first wanted of it.
pub struct LiveCluster {
    api: Api,
    secrets: Arc<Secrets>,
}

impl LiveCluster {
    /// The cluster with this name in the inventory, reached as a kubeconfig says.
    #[must_use]
    pub fn new(name: &str, kubeconfig: Kubeconfig, secrets: Arc<Secrets>) -> Self {
        Self { api: Api::new(name, kubeconfig), secrets }
    }
}

impl Backend for LiveCluster {
    fn kubernetes(&self) -> &dyn Capability {
        self
    }
}

/// Answers to writes in their order: the first failure is the last one attempted.
struct InOrder {
    answers: Vec<Result<ObjectChange, Failure>>,
    stopped: bool,
}

impl InOrder {
    fn new(items: usize) -> Self {
        Self { answers: Vec::with_capacity(items), stopped: false }
    }

    /// Whether the next item is left out; it is answered then.
    fn leaves_out(&mut self) -> bool {
        if self.stopped {
            self.answers.push(Err(failure::not_attempted("")));
        }
        self.stopped
    }

    fn answer(&mut self, answer: Result<ObjectChange, Trouble>) -> Result<(), Cut<ObjectChange>> {
        let item = self.answers.len();
        let answer = match answer.map_err(|trouble| trouble.settle(item)) {
            Ok(change) => Ok(change),
            Err(Ok(failure)) => Err(failure),
            Err(Err(stop)) => return Err(Cut::after(&mut self.answers, stop)),
        };
        self.stopped = answer.is_err();
        self.answers.push(answer);
        Ok(())
    }
}

#[async_trait::async_trait]
impl Capability for LiveCluster {
    async fn servers(&self, _place: &Place, _caller: &Caller, items: Vec<String>) -> Performed<Server> {
        let answer = self.api.server().await;
        Ok(items.iter().map(|_| answer.clone()).collect())
    }

    async fn get(&self, _place: &Place, caller: &Caller, items: Vec<ObjectRef>) -> Performed<Object> {
        let budget = caller.budget();
        let reads = items.into_iter().map(async |item| {
            budget.admit(&item.name)?;
            let object = self.api.get(&item).await?;
            budget.keep(object.body.len(), &item.name).map(|()| object)
        });
        Ok(stream::iter(reads).buffered(AT_A_TIME).collect().await)
    }

    async fn pages(&self, _place: &Place, caller: &Caller, items: Vec<PageOrder>) -> Performed<Page> {
        let budget = caller.budget();
        let reads = items.into_iter().map(async |item| {
            let kind = &item.selection.kind.name;
            budget.admit(kind)?;
            let page = self.api.page(&item).await?;
            budget.keep(page.objects.iter().map(|object| object.body.len()).sum(), kind).map(|()| page)
        });
        Ok(stream::iter(reads).buffered(AT_A_TIME).collect().await)
    }

    async fn wait_for(&self, _place: &Place, caller: &Caller, items: Vec<WaitOrder>) -> Performed<Vec<Object>> {
        let wait = async |(index, item): (usize, &WaitOrder)| {
            check_waits(index, item)?;
            let objects = self.api.wait(item).await?;
            let bytes = objects.iter().map(|object| object.body.len()).sum();
            caller.budget().keep(bytes, waited_for(item)).map(|()| objects)
        };
        Ok(join_all(items.iter().enumerate().map(wait)).await)
    }

    async fn apply(&self, _place: &Place, caller: &Caller, items: Vec<ApplyOrder>) -> Performed<ObjectChange> {
        let manager = caller.manager();
        let mut done = InOrder::new(items.len());
        for item in &items {
            if !done.leaves_out() {
                done.answer(self.api.apply(item, &manager, &self.secrets).await)?;
            }
        }
        Ok(done.answers)
    }

    async fn patch(&self, _place: &Place, caller: &Caller, items: Vec<PatchOrder>) -> Performed<ObjectChange> {
        let manager = caller.manager();
        let mut done = InOrder::new(items.len());
        for item in &items {
            if !done.leaves_out() {
                done.answer(self.api.patch(item, &manager).await)?;
            }
        }
        Ok(done.answers)
    }

    async fn create(&self, _place: &Place, caller: &Caller, items: Vec<CreateOrder>) -> Performed<ObjectChange> {
        let manager = caller.manager();
        let mut done = InOrder::new(items.len());
        for (index, item) in items.iter().enumerate() {
            if !done.leaves_out() {
                let effect = caller.effect(index);
                let answer = self.api.create(item, &manager, effect.as_deref(), &self.secrets);
                done.answer(answer.await)?;
            }
        }
        Ok(done.answers)
    }

    async fn remove(&self, _place: &Place, _caller: &Caller, items: Vec<RemovalOrder>) -> Performed<ObjectChange> {
        let mut done = InOrder::new(items.len());
        for item in &items {
            if !done.leaves_out() {
                done.answer(self.api.remove(item).await)?;
            }
        }
        Ok(done.answers)
    }

    async fn evict(&self, _place: &Place, caller: &Caller, items: Vec<Eviction>) -> Performed<ObjectChange> {
        let answers = self.api.evict(caller, &items).await;
        settled(answers)
    }
}

/// Answers to writes that were under way at the same time: what stops one says nothing of the others.
fn settled(answers: Vec<Result<ObjectChange, Trouble>>) -> Performed<ObjectChange> {
    let (mut known, mut cut) = (Vec::with_capacity(answers.len()), None);
    for (index, answer) in answers.into_iter().enumerate() {
        match answer.map_err(|trouble| trouble.settle(index)) {
            Ok(change) => known.push((index, Ok(change))),
            Err(Ok(failure)) => known.push((index, Err(failure))),
            Err(Err(stop)) => cut = Stop::graver(cut, Some(stop)),
        }
    }
    match cut {
        None => Ok(known.into_iter().map(|(_, answer)| answer).collect()),
        Some(stop) => Err(Cut { stop, known }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_others_is_known() {
        let done = || Ok(ObjectChange { changed: true, id: None });
        let lost = || Err(Trouble::InDoubt("lost".to_owned()));
        let items = |cut: &Cut<ObjectChange>| cut.known.iter().map(|(item, _)| *item).collect::<Vec<_>>();
        let cut = settled(vec![done(), Err(Trouble::Cancelled), lost(), done()]).unwrap_err();
        assert!(matches!(&cut.stop, Stop::InDoubt(doubt) if doubt.item == 2), "{cut:?}");
        assert_eq!(items(&cut), [0, 3]);
        let mut in_order = InOrder::new(2);
        in_order.answer(done()).unwrap();
        let cut = in_order.answer(lost()).unwrap_err();
        assert!(matches!(&cut.stop, Stop::InDoubt(doubt) if doubt.item == 1), "{cut:?}");
        assert_eq!(items(&cut), [0]);
    }
}
