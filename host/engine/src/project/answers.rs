//! Answers that the operator gave in advance.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::gate::{Answer, Ask, Asked, Nobody, Reply, Wanted};
use crate::planner::Plan;

/// Answers what an input answers in advance, and asks the operator for the rest. An answer is for the steps of the
/// workflow that states it, not for those of its sub-workflows or of the whole.
pub(super) struct InAdvance {
    /// Workflows by their path; the outermost one's is empty.
    workflows: BTreeMap<String, BTreeMap<String, Given>>,
    next: Arc<dyn Ask>,
}

/// What a workflow says of a prompt of a plugin.
struct Given {
    input: String,
    value: Value,
    /// What answers it in advance, for people; none: the operator cannot give this input.
    option: Option<String>,
}

impl InAdvance {
    pub(super) fn new(plan: &Plan, next: Arc<dyn Ask>) -> Self {
        let of = |part: &Plan| {
            let given = part.answers.iter().map(|(prompt, source)| {
                let input = source.input.clone();
                let value = part.inputs.get(&input).cloned().unwrap_or_default();
                let option = plan.inputs.contains_key(&input).then(|| format!("-e {input}=yes"));
                (prompt.clone(), Given { input, value, option })
            });
            given.collect()
        };
        Self { workflows: plan.all().into_iter().map(|(path, part)| (path.to_owned(), of(part))).collect(), next }
    }

    /// What the workflow that a step stands in says of a prompt.
    fn given(&self, step: &str, prompt: &str) -> Option<&Given> {
        let mut path = step.strip_prefix("unwinding/").unwrap_or(step);
        loop {
            if let Some(workflow) = self.workflows.get(path) {
                return workflow.get(prompt);
            }
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}

#[async_trait::async_trait]
impl Ask for InAdvance {
    async fn ask(&self, asked: Asked) -> Result<Answer, Nobody> {
        let component = asked.component.as_ref();
        let given = component.and_then(|component| self.given(&asked.step, &format!("{component}/{}", asked.key)));
        if let Some(given) = given
            && let Some(reply) = reply(&asked.wanted, &given.value)
        {
            return Ok(Answer { reply, by: runner_types::AnsweredBy::Input { name: given.input.clone() } });
        }
        let option = given.and_then(|given| given.option.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Wanted;

    struct Silent;

    #[async_trait::async_trait]
    impl Ask for Silent {
        async fn ask(&self, _asked: Asked) -> Result<Answer, Nobody> {
            Err(Nobody { option: None })
        }
    }

    #[tokio::test]
    async fn an_answer_is_for_the_steps_of_its_workflow_alone() {
        let given = |value: bool, option: Option<&str>| Given {
            input: "loss".to_owned(),
            value: Value::Bool(value),
            option: option.map(str::to_owned),
        };
        let of = |given: Given| BTreeMap::from([("etcd/loses".to_owned(), given)]);
        let workflows = BTreeMap::from([
            (String::new(), of(given(false, Some("-e loss=yes")))),
            ("inner".to_owned(), of(given(true, None))),
            ("inner/deep".to_owned(), BTreeMap::new()),
        ]);
        let advance = InAdvance { workflows, next: Arc::new(Silent) };
        let expected = [
            ("etcd", Some(Reply::No)),
            ("nodes/a/etcd", Some(Reply::No)),
            ("innermost/etcd", Some(Reply::No)),
            ("inner/etcd", Some(Reply::Yes)),
            ("inner/preconditions/seen/etcd", Some(Reply::Yes)),
            ("unwinding/inner/etcd/backout", Some(Reply::Yes)),
            ("unwinding/etcd/backout", Some(Reply::No)),
            ("inner/deep/etcd", None),
        ];
        for (step, reply) in expected {
            let asked = Asked {
                step: step.to_owned(),
                component: Some("etcd".to_owned()),
                key: "loses".to_owned(),
                heading: None,
                message: "Lose it?".to_owned(),
                why: String::new(),
                wanted: Wanted::Confirm { destroys: "keys".to_owned() },
            };
            assert_eq!(advance.ask(asked).await.ok().map(|answer| answer.reply), reply, "{step}");
        }
    }
}
