//! What performs effects at places.

pub mod expression;
pub mod failure;
pub mod live;
pub mod simulated;
