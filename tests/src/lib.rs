//! Drives the built binary: with its plugins, on simulated platforms, from a clean state or from one that a workflow
//! left behind.

mod case;
mod normal;
mod runner;
mod site;
mod states;
mod terminal;

pub use case::{Case, folders};
pub use normal::normalised;
pub use runner::{Ended, Invocation, guests, plugins, root};
pub use site::Site;
pub use states::{State, Step};
pub use terminal::{Answer, Typed};
