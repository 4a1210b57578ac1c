//! From a STAC API to items, and to collections: STAC API 1.0, Item Search and Collections.
//!
//! In: a [`Search`], typed and validated, and a session of `store/`, which sends. Out: a [`Cursor`] of [`Row`]s, page by page. Between:
//! [`api`] finds out where to search, [`ask`] writes requests, [`client`] sends them as servers like it, [`pages`] follows `next`, [`item`]
//! reads what comes.

mod api;
mod ask;
mod client;
mod collections;
mod cursor;
mod item;
mod pages;
mod place;

pub use ask::{Filter, PAGE_SIZE, Search};
pub use client::Client;
pub use collections::{CollectionRow, Collections};
pub use cursor::{Batch, Cursor, Missing};
pub use item::Row;
pub use place::{Place, boxes, shape};
