//! Runs a plan.
//!
//! In: the units of a [`Cube`](crate::plan::Cube), each an output tile of one step with its items. Out: finished tiles, in the order of
//! the plan. `read/` takes a unit to the bytes of the source tiles that it needs, `compose/` takes those bytes to an output tile, and
//! neither knows the other; `run.rs` and `unit.rs` above them bring the two together. `watch/` tells how far a scan is and what failed;
//! `shared/` is what all of them have in common.

mod compose;
pub mod explain;
#[doc(hidden)]
pub mod fuzzing;
mod read;
mod run;
mod shared;
mod unit;
mod watch;
mod zonal;

pub use run::Scan;
pub use shared::cache::bytes_held;
pub use shared::finished::Finished;
pub use unit::Tile;
pub use watch::failures::{Failure, Recording, failures_of};
pub use watch::progress;
pub use watch::running::Running;
pub use zonal::{Zonal, ZoneRow};
