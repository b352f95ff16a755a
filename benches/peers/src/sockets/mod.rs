//! What the programs of the socket suites share: the contestants, their processes, a client's end.

pub mod child;
pub mod client;
pub mod contestants;
pub mod generator;
pub mod manners;
