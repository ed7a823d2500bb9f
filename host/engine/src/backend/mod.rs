//! What performs effects at places.

pub(crate) mod budget;
mod condition;
pub mod expression;
pub mod failure;
pub mod live;
mod objects;
mod pipe;
mod select;
pub mod simulated;
mod stored;
mod units;
