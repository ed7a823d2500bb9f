//! Who asks for an effect, as backends are told it.

use std::sync::Arc;

use futures::future::BoxFuture;
use runner_types::CallId;

use crate::backend::budget::Budget;

/// Hears of an effect while it is under way.
pub trait Listener: Send + Sync {
    /// Shows people how far the effect is.
    fn show(&self, message: &str);
    /// Waits until the run is asked to stop.
    fn cancelled(&self) -> BoxFuture<'_, ()>;
}

/// Who asks for the effects of one call at one place: what a backend marks on the platform, and who hears of a wait.
#[derive(Clone)]
pub struct Caller {
    /// Name of the component whose plugin asks.
    pub component: Arc<str>,
    effect: Option<Effect>,
    listener: Option<Arc<dyn Listener>>,
    budget: Budget,
}

#[derive(Clone)]
struct Effect {
    run: Arc<str>,
    call: CallId,
    /// Index in the call of each item performed at this place.
    items: Vec<usize>,
}

impl Caller {
    /// The runner itself, for what it reads on its own account.
    #[must_use]
    pub fn runner() -> Self {
        Self { component: "runner".into(), effect: None, listener: None, budget: Budget::default() }
    }

    /// A plugin's call. `items` are the indices in the call of what is performed at one place.
    #[must_use]
    pub fn plugin(
        component: impl Into<Arc<str>>,
        run: impl Into<Arc<str>>,
        call: CallId,
        items: Vec<usize>,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let effect = Effect { run: run.into(), call, items };
        Self { component: component.into(), effect: Some(effect), listener: Some(listener), budget: Budget::default() }
    }

    /// The same, with what the answers of all places of the call may hold together.
    #[must_use]
    pub(crate) fn within(self, budget: &Budget) -> Self {
        Self { budget: budget.clone(), ..self }
    }

    /// What the answers of the call may still hold.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Name under which the component's fields are managed on a platform: `runner-<component>`.
    #[must_use]
    pub fn manager(&self) -> String {
        format!("runner-{}", self.component)
    }

    /// The effect's id, the same one when its call is made again: run, call, and item as counted in the call. `item`
    /// is its index among those performed at this place. None: asked by the runner itself.
    #[must_use]
    pub fn effect(&self, item: usize) -> Option<String> {
        let effect = self.effect.as_ref()?;
        let item = effect.items.get(item).copied().unwrap_or(item);
        Some(format!("{}: {}, item {item}", effect.run, effect.call))
    }

    /// Shows people how far the effect is.
    pub fn show(&self, message: &str) {
        if let Some(listener) = &self.listener {
            listener.show(message);
        }
    }

    /// Waits until the run is asked to stop.
    pub async fn cancelled(&self) {
        match &self.listener {
            Some(listener) => listener.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("component", &self.component).finish_non_exhaustive()
    }
}
