//! Files of simulated platforms: how a platform begins, how components behave on it, and what goes wrong there.

mod behaviour;
mod fault;
mod seed;

pub use behaviour::*;
pub use fault::*;
pub use seed::*;
