//! What reading and composing have in common.
//!
//! The plain data that the one hands to the other, decoded tiles that are kept for others, the memory that is shared, and tasks that
//! end with their owner.

pub mod cache;
pub mod faults;
pub mod finished;
pub mod look;
pub mod memory;
pub mod neighbours;
pub mod part;
pub mod raster;
pub mod screen;
pub mod state;
pub mod task;
pub mod window;
