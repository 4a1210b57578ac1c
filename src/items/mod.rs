//! From stac-geoparquet to items. The only room that runs SQL.

pub mod item;

pub use item::{Asset, Item};
