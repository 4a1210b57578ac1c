//! From bytes to an output tile: tiles are decoded, warped and fed to the mosaic of each band.
//!
//! In: the compressed source tiles that an item gives to an output tile. Out: values and validity of each band. Everything here runs
//! on the compute threads, and nothing waits.

pub mod decode;
pub mod feed;
pub mod layer;
pub mod on_grid;
pub mod scaled;
pub mod screen;
