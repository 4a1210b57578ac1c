//! What a scan tells while it runs.
//!
//! In: tiles as they are finished, reads as they fail. Out: the running scans of a database with their progress, the bar on a
//! terminal, and what the last query of a connection could not read.

pub mod bar;
pub mod failures;
pub mod progress;
pub mod running;
