//! The operator's terminal: where questions are asked and answered.

mod layout;
mod terminal;

use std::sync::Arc;

use runner_engine::gate::{Answer, Ask, Asked, Nobody, Wanted};
use runner_types::{AnsweredBy, Operator};
use tokio::sync::Mutex;

use crate::reporter::Reporters;
pub(crate) use terminal::{Terminal, operator};

/// What answers a question in advance, as the plan says it.
#[derive(Debug, Clone)]
pub(crate) struct InAdvance {
    /// Component whose plugin asks; none: the workflow.
    pub(crate) component: Option<String>,
    /// Key of the prompt.
    pub(crate) key: String,
    /// For example `-e no_interactive=True`.
    pub(crate) option: String,
}

/// Asks the operator at the terminal, one question at a time.
pub(crate) struct Console {
    /// None: nobody is there.
    terminal: Option<Mutex<Terminal>>,
    options: Vec<InAdvance>,
    reporters: Arc<Reporters>,
    who: Operator,
}

impl Console {
    pub(crate) fn new(
        terminal: Option<Terminal>,
        options: Vec<InAdvance>,
        reporters: Arc<Reporters>,
        who: Operator,
    ) -> Self {
        Self { terminal: terminal.map(Mutex::new), options, reporters, who }
    }

    fn nobody(&self, asked: &Asked) -> Nobody {
        let option = self
            .options
            .iter()
            .find(|known| known.component == asked.component && known.key == asked.key)
            .map(|known| known.option.clone());
        Nobody { option }
    }
}

#[async_trait::async_trait]
impl Ask for Console {
    async fn ask(&self, asked: Asked) -> Result<Answer, Nobody> {
        let Some(terminal) = &self.terminal else {
            return Err(self.nobody(&asked));
        };
        let mut terminal = terminal.lock().await;
        // Bars and lines wait, so that the question stays the last thing on the screen.
        let _held = self.reporters.hold().await;
        if !asked_by_the_workflow_first(&asked) {
            terminal.forget_typed();
        }
        terminal.show(&format!("\n{}", layout::question(&asked)));
        loop {
            let Some(line) = terminal.line().await else {
                terminal.show("\n");
                return Err(self.nobody(&asked));
            };
            match layout::reply(&asked.wanted, &line) {
                Ok(reply) => {
                    let by = AnsweredBy::Operator { who: self.who.clone(), terminal: terminal.name() };
                    return Ok(Answer { reply, by });
                }
                Err(again) => terminal.show(&again),
            }
        }
    }
}

/// Before the workflow's own question nothing has happened that an early answer could be wrong about. Everywhere else a
/// key pressed before the question stood there is no answer to it.
fn asked_by_the_workflow_first(asked: &Asked) -> bool {
    match asked.wanted {
        Wanted::Confirm { .. } => asked.component.is_none(),
        Wanted::Pause | Wanted::Choose { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_engine::gate::Reply;
    use std::io::Cursor;

    fn who() -> Operator {
        Operator { user: "ann".to_owned(), host: "bastion".to_owned() }
    }

    fn asked(key: &str, wanted: Wanted) -> Asked {
        Asked {
            step: "docker/node1".to_owned(),
            component: Some("docker".to_owned()),
            key: key.to_owned(),
            heading: None,
            message: "Stop 2 containers?".to_owned(),
            why: String::new(),
            wanted,
        }
    }

    fn console(typed: &'static str) -> Console {
        let terminal = Terminal::of(Cursor::new(typed), Box::new(std::io::sink()));
        Console::new(Some(terminal), options(), Arc::new(Reporters::none()), who())
    }

    fn options() -> Vec<InAdvance> {
        vec![InAdvance {
            component: Some("docker".to_owned()),
            key: "stop-containers".to_owned(),
            option: "-e stop_containers=yes".to_owned(),
        }]
    }

    fn confirm() -> Wanted {
        Wanted::Confirm { destroys: String::new() }
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_questions() {
        let console = console("y\nno\n\n");
        let first = console.ask(asked("a", confirm())).await.unwrap();
        assert_eq!(first.reply, Reply::Yes);
        assert!(matches!(first.by, AnsweredBy::Operator { who, .. } if who == self::who()));
        let second = console.ask(asked("a", confirm())).await.unwrap();
        assert_eq!(second.reply, Reply::No);
        assert_eq!(console.ask(asked("a", Wanted::Pause)).await.unwrap().reply, Reply::Entered);
    }

    #[tokio::test]
    async fn the_end_of_the_terminal_is_nobody_with_the_option_named() {
        let nobody = console("").ask(asked("stop-containers", confirm())).await.unwrap_err();
        assert_eq!(nobody.option.as_deref(), Some("-e stop_containers=yes"));
        let other = console("").ask(asked("other", confirm())).await.unwrap_err();
        assert_eq!(other.option, None);
    }

    #[tokio::test]
    async fn without_a_terminal_nobody_answers() {
        let console = Console::new(None, options(), Arc::new(Reporters::none()), who());
        let nobody = console.ask(asked("stop-containers", confirm())).await.unwrap_err();
        assert_eq!(nobody.option.as_deref(), Some("-e stop_containers=yes"));
    }

    #[tokio::test]
    async fn text_at_a_pause_is_asked_again() {
        let reply = console("n\n\n").ask(asked("a", Wanted::Pause)).await.unwrap().reply;
        assert_eq!(reply, Reply::Entered);
        assert!(console("n\n").ask(asked("a", Wanted::Pause)).await.is_err());
    }
}
