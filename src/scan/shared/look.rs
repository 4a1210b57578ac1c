//! What is to be looked up in the mask of an item.

use std::sync::Arc;

use super::part::Stored;
use super::screen::Window;
use crate::cog::Nodata;
use crate::cog::opened::Opened;
use crate::warp::Mapping;

/// What the pixels of a window find in the mask; `None` where they all lie outside of it.
pub struct Lookup {
    pub window: Window,
    pub mapping: Option<Arc<Mapping>>,
}

/// The pixels of a mask, and what is to be looked up in them.
pub struct Look {
    pub opened: Arc<Opened>,
    /// Its mapping is the window itself.
    pub stored: Stored,
    /// Which sample it is, and all that are decoded: an alpha band beside it.
    pub sample: u16,
    pub samples: Vec<u16>,
    pub nodata: Option<Nodata>,
    pub lookups: Vec<Lookup>,
}
