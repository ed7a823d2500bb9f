//! The runner's own side of an attempt: clock, randomness, log, progress, prompts. What else is asked of the runner's
//! machine goes to the platform's backend.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use runner_types::{AnsweredBy, Decision, DecisionEntry, EventKind, Target, Timestamp};
use serde_json::Value;

use super::{Attempt, Stop};
use crate::contract::{
    Backend, Caller, FailureKind, Function, Performed, Place, artifacts, clock, http, log, operator, progress, random,
    secrets,
};
use crate::journal::Durability;

/// What kind of answer a question wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Yes or no; only `y` is yes.
    Confirm {
        /// What a yes destroys; empty: nothing.
        destroys: String,
    },
    /// The Enter key.
    Pause,
    /// One of these.
    Choose {
        /// The options.
        options: Vec<String>,
        /// Index of the bare Enter key's answer.
        default: Option<usize>,
    },
}

/// A question to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Path of the step in which it is asked; empty: before the first one.
    pub step: String,
    /// Component whose plugin asks; none: the workflow itself.
    pub component: Option<String>,
    /// Key of the prompt.
    pub key: String,
    /// Line above the message.
    pub heading: Option<String>,
    /// What is asked.
    pub message: String,
    /// Why, and what follows from each answer; may be empty.
    pub why: String,
    /// What kind of answer is wanted.
    pub wanted: Wanted,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// `y`.
    Yes,
    /// Anything else.
    No,
    /// The Enter key.
    Entered,
    /// The option with this index.
    Chosen(usize),
}

/// An answer, and how it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was answered.
    pub reply: Reply,
    /// How it came.
    pub by: AnsweredBy,
}

/// Nobody can answer: no terminal, its end, or no answer given in advance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nobody can answer")]
pub struct Nobody {
    /// What would answer in advance, for example `-e stop_containers=true`.
    pub option: Option<String>,
}

/// Brings questions to the operator.
#[async_trait::async_trait]
pub trait Ask: Send + Sync {
    /// Asks and waits.
    ///
    /// # Errors
    /// When nobody can answer: the run then stops.
    async fn ask(&self, asked: Asked) -> Result<Answer, Nobody>;
}

/// The runner as a place, for one attempt.
pub(super) struct Runner(pub(super) Arc<Attempt>);

impl Backend for Runner {
    fn clock(&self) -> &dyn clock::Capability {
        self
    }
    fn random(&self) -> &dyn random::Capability {
        self
    }
    fn log(&self) -> &dyn log::Capability {
        self
    }
    fn progress(&self) -> &dyn progress::Capability {
        self
    }
    fn operator(&self) -> &dyn operator::Capability {
        self
    }
    fn http(&self) -> &dyn http::Capability {
        self.0.gate.platform.runner_backend.http()
    }
    fn artifacts(&self) -> &dyn artifacts::Capability {
        self.0.gate.platform.runner_backend.artifacts()
    }
    fn secrets(&self) -> &dyn secrets::Capability {
        self
    }
}

#[async_trait::async_trait]
impl clock::Capability for Runner {
    async fn now(&self, _place: &Place, _caller: &Caller, items: Vec<clock::NowQuestion>) -> Performed<String> {
        let now = Timestamp::from(SystemTime::now()).to_string();
        Ok(items.iter().map(|_| Ok(now.clone())).collect())
    }

    async fn elapsed(&self, _place: &Place, _caller: &Caller, items: Vec<clock::ElapsedQuestion>) -> Performed<u32> {
        let elapsed = u32::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        Ok(items.iter().map(|_| Ok(elapsed)).collect())
    }

    async fn sleep(&self, _place: &Place, _caller: &Caller, items: Vec<clock::SleepQuestion>) -> Performed<()> {
        let total: u64 = items.iter().map(|item| u64::from(item.duration)).sum();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(total)) => Ok(items.iter().map(|_| Ok(())).collect()),
            () = self.0.gate.cancelled() => Err(Stop::Cancelled.into()),
        }
    }
}

#[async_trait::async_trait]
impl random::Capability for Runner {
    async fn bytes(&self, _place: &Place, _caller: &Caller, items: Vec<random::BytesQuestion>) -> Performed<Vec<u8>> {
        /// What one question may ask for.
        const MOST: u32 = 1_024;
        Ok(items.iter().map(|item| Ok(self.0.random(item.count.min(MOST) as usize))).collect())
    }
}

#[async_trait::async_trait]
impl log::Capability for Runner {
    async fn write(&self, _place: &Place, _caller: &Caller, items: Vec<log::WriteQuestion>) -> Performed<()> {
        Ok(items
            .iter()
            .map(|item| {
                self.0.log(item.level, &item.message, &item.fields);
                Ok(())
            })
            .collect())
    }
}

#[async_trait::async_trait]
impl progress::Capability for Runner {
    async fn show(&self, _place: &Place, _caller: &Caller, items: Vec<progress::ShowQuestion>) -> Performed<()> {
        Ok(items
            .iter()
            .map(|item| {
                self.0.show(&item.message, item.done, item.total);
                Ok(())
            })
            .collect())
    }
}

/// Handles only: what a secret holds never comes near a guest or the journal. The backend that performs an effect puts the
/// value in at the last moment.
#[async_trait::async_trait]
impl secrets::Capability for Runner {
    async fn open(&self, _place: &Place, _caller: &Caller, items: Vec<secrets::SecretRef>) -> Performed<String> {
        let known = &self.0.gate.platform.secrets;
        let open = |item: secrets::SecretRef| {
            if let Some(handle) = known.handle(&item.name) {
                return Ok(handle);
            }
            let near = runner_types::did_you_mean(&item.name, known.names());
            let message = format!("the inventory has no secret {:?}{near}", item.name);
            Err(super::authorise::failure(FailureKind::NotFound, item.name, message))
        };
        Ok(items.into_iter().map(open).collect())
    }
}

impl Runner {
    async fn ask(&self, question: &operator::Question, wanted: Wanted) -> Result<Reply, Stop> {
        let gate = &self.0.gate;
        let asked = Asked {
            step: self.0.spec.id.step.clone(),
            component: Some(self.0.spec.plugin.clone()),
            key: question.key.clone(),
            heading: None,
            message: question.message.clone(),
            why: question.why.clone(),
            wanted,
        };
        ask(gate, Some(&self.0.spec.id.target), asked).await
    }
}

/// Asks the operator and journals the answer with who gave it; a cancellation ends the waiting.
///
/// # Errors
/// When nobody can answer, the run is asked to stop, or the journal cannot be written.
pub(crate) async fn ask(gate: &super::Gate, target: Option<&Target>, asked: Asked) -> Result<Reply, Stop> {
    gate.observer.observe(EventKind::Waiting { prompt: asked.key.clone(), message: asked.message.clone() });
    let (prompt, message) = (asked.key.clone(), asked.message.clone());
    let step = Some(asked.step.clone()).filter(|step| !step.is_empty());
    let answer = tokio::select! {
        answer = gate.operator.ask(asked) => {
            answer.map_err(|nobody| Stop::Unanswerable { prompt: prompt.clone(), option: nobody.option })?
        }
        () = gate.cancelled() => return Err(Stop::Cancelled),
    };
    let value = match answer.reply {
        Reply::Yes => Value::Bool(true),
        Reply::No => Value::Bool(false),
        Reply::Entered => Value::from("enter"),
        Reply::Chosen(index) => Value::from(index),
    };
    let what = Decision::Answered { prompt, message, answer: value, by: answer.by };
    let decision = DecisionEntry { step, target: target.cloned(), what };
    gate.decide(decision, Durability::Flushed).await?;
    Ok(answer.reply)
}

#[async_trait::async_trait]
impl operator::Capability for Runner {
    async fn confirm(&self, _place: &Place, _caller: &Caller, items: Vec<operator::Confirmation>) -> Performed<bool> {
        let mut answers = Vec::with_capacity(items.len());
        for item in &items {
            let reply = self.ask(&item.question, Wanted::Confirm { destroys: item.destroys.clone() }).await?;
            answers.push(Ok(reply == Reply::Yes));
        }
        Ok(answers)
    }

    async fn pause(&self, _place: &Place, _caller: &Caller, items: Vec<operator::Question>) -> Performed<()> {
        let mut answers = Vec::with_capacity(items.len());
        for item in &items {
            self.ask(item, Wanted::Pause).await?;
            answers.push(Ok(()));
        }
        Ok(answers)
    }

    async fn choose(&self, _place: &Place, _caller: &Caller, items: Vec<operator::Choice>) -> Performed<u32> {
        let mut answers = Vec::with_capacity(items.len());
        for item in &items {
            let wanted =
                Wanted::Choose { options: item.options.clone(), default: item.default.map(|index| index as usize) };
            answers.push(match self.ask(&item.question, wanted).await? {
                Reply::Chosen(index) if index < item.options.len() => Ok(u32::try_from(index).unwrap_or_default()),
                Reply::Chosen(_) | Reply::Yes | Reply::No | Reply::Entered => Err(super::authorise::invalid(
                    operator::Choose::NAME.to_owned(),
                    "the answer is none of the options".to_owned(),
                )),
            });
        }
        Ok(answers)
    }
}
