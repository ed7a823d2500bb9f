//! The platform as a whole, through the contract.

mod scale;
