//! From a unit to bytes: which files are read, in which order, with how much memory, and by which requests.
//!
//! In: the units of the plan. Out: units whose reads have begun, and for each item the bytes of the source tiles that the unit takes
//! pixels of. Units pass through `groups.rs` (neighbours whose reads begin together), then `ahead.rs` (memory before their turn);
//! `reader.rs` reads one item for one unit.

pub mod ahead;
pub mod batch;
pub mod coverage;
pub mod groups;
pub mod mappings;
pub mod reader;
pub mod requests;
pub mod screens;
pub mod unit;
pub mod window;
