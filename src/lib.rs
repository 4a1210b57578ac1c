pub mod area;
pub mod crs;
pub mod error;
pub mod grid;
pub mod items;
pub mod pixels;
pub mod runtime;
pub mod store;
