//! Answers that the operator gave in advance.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::gate::{Answer, Ask, Asked, Nobody, Reply, Wanted};
use crate::planner::Plan;

/// Answers in advance to plugins' prompts, by `component/key`: the input and its value.
pub(super) fn answers(plan: &Plan) -> BTreeMap<String, (String, Value)> {
    let mut answers = BTreeMap::new();
    for plan in plan.all() {
        for (prompt, source) in &plan.answers {
            if let Some(value) = plan.inputs.get(&source.input).filter(|value| !value.is_null()) {
                answers.insert(prompt.clone(), (source.input.clone(), value.clone()));
            }
        }
    }
    answers
}

/// The option that answers each prompt.
pub(super) fn given_by(plan: &Plan) -> BTreeMap<String, String> {
    plan.all()
        .flat_map(|plan| &plan.answers)
        .map(|(prompt, source)| (prompt.clone(), format!("-e {}=yes", source.input)))
        .collect()
}

/// Answers what an input answers in advance, and asks the operator for the rest.
pub(super) struct InAdvance {
    pub(super) answers: BTreeMap<String, (String, Value)>,
    pub(super) options: BTreeMap<String, String>,
    pub(super) next: Arc<dyn Ask>,
}

#[async_trait::async_trait]
impl Ask for InAdvance {
    async fn ask(&self, asked: Asked) -> Result<Answer, Nobody> {
        let key = asked.component.as_ref().map(|component| format!("{component}/{}", asked.key));
        let given = key.as_ref().and_then(|key| self.answers.get(key));
        if let Some((input, value)) = given
            && let Some(reply) = reply(&asked.wanted, value)
        {
            return Ok(Answer { reply, by: runner_types::AnsweredBy::Input { name: input.clone() } });
        }
        let option = key.and_then(|key| self.options.get(&key).cloned());
        self.next.ask(asked).await.map_err(|nobody| Nobody { option: nobody.option.or(option) })
    }
}

/// What an input's value answers; none: it is no answer to such a question.
fn reply(wanted: &Wanted, value: &Value) -> Option<Reply> {
    match (wanted, value) {
        (Wanted::Confirm { .. }, Value::Bool(true)) => Some(Reply::Yes),
        (Wanted::Confirm { .. }, Value::Bool(false)) => Some(Reply::No),
        (Wanted::Pause, Value::Bool(true)) => Some(Reply::Entered),
        (Wanted::Choose { options, .. }, Value::String(text)) => {
            options.iter().position(|option| option == text).map(Reply::Chosen)
        }
        _ => None,
    }
}
