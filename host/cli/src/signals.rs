//! Signals: the first Ctrl-C or SIGTERM asks the run to stop, a second Ctrl-C ends runner at once.

use std::sync::{Arc, Mutex, PoisonError};

use runner_engine::gate::Gate;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::out;

/// The run that signals are meant for, once there is one.
#[derive(Clone, Default)]
pub(crate) struct Stoppable(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    gate: Option<Arc<Gate>>,
    /// Asked to stop before there was anything to stop.
    asked: bool,
}

impl Stoppable {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This is the run.
    pub(crate) fn begun(&self, gate: Arc<Gate>) {
        let mut state = self.state();
        if state.asked {
            gate.cancel();
        }
        state.gate = Some(gate);
    }

    fn stop(&self) {
        let mut state = self.state();
        state.asked = true;
        if let Some(gate) = &state.gate {
            gate.cancel();
        }
    }
}

/// Listens to signals as long as the process lives.
///
/// # Errors
/// When the system lets nobody listen.
pub(crate) fn listen(run: Stoppable) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut interrupted = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {
                    if interrupted {
                        out::stderr("\nended at once; effects under way may or may not have happened\n");
                        std::process::exit(i32::from(Exit::Aborted.code()));
                    }
                    interrupted = true;
                    out::stderr("\nstopping: effects under way finish, no new one begins; Ctrl-C again ends at once\n");
                    run.stop();
                }
                _ = terminate.recv() => run.stop(),
                // The terminal is gone: what needs no terminal goes on, a question finds nobody.
                _ = hang_up.recv() => tracing::warn!("the terminal hung up"),
            }
        }
    });
    Ok(())
}
