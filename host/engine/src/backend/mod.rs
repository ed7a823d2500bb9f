//! What performs effects at places.

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
