pub mod cog;
pub mod error;
pub mod grid;
pub mod items;
pub mod pixels;
pub mod store;
