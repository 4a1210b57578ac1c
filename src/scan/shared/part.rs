//! What reading hands to composing.

use std::sync::Arc;

use super::raster::Raster;
use super::screen::{Screen, Shown};
use super::window::{Fetched, WindowPlan};
use crate::cog::opened::Opened;
use crate::warp::{Kernel, Kind, Mapping};

/// What one asset of one item gives to one output tile.
pub struct Part {
    /// Position among the assets of the scan.
    pub asset: usize,
    /// For the bands that are sampled with it.
    pub kernel: Kernel,
    pub samples: Vec<u16>,
    pub opened: Arc<Opened>,
    pub content: Content,
}

pub enum Content {
    Stored(Box<Stored>),
    /// Decoded pixels on the output grid, each window with where it goes: sampled, where a kernel was asked for.
    Decoded(Vec<(Arc<Mapping>, Raster)>),
}

/// The bytes of the tiles under a mapping's window.
pub struct Stored {
    pub mapping: Arc<Mapping>,
    pub plan: WindowPlan,
    pub bytes: Fetched,
    /// What the item's mask shows of the window.
    pub shown: Option<Shown>,
}

impl Stored {
    /// Of the tiles that the mapping knows, those of which something shows.
    pub fn tiles_shown(&self) -> Option<&[bool]> {
        self.shown.as_ref().map(|shown| shown.tiles.as_slice())
    }

    pub fn screen(&self) -> Option<&Screen> {
        self.shown.as_ref().map(|shown| &*shown.screen)
    }
}

/// A window that is to be decoded and brought to the output grid at once.
pub struct OnGrid<'a> {
    pub opened: &'a Opened,
    pub stored: &'a Stored,
    pub samples: &'a [u16],
}

impl Content {
    /// Bytes that decoding takes while it goes on, beside what the decoded pixels take.
    pub fn decoding(&self, opened: &Opened) -> u64 {
        match self {
            Content::Stored(stored) => stored.plan.decoding(opened),
            Content::Decoded(_) => 0,
        }
    }
}

/// Bytes of a decoded window, as far as they are counted while it waits: small ones are scratch of the thread that decodes.
pub fn counted_window(bytes: u64) -> u64 {
    const SMALL: u64 = 8 << 20;
    if bytes > SMALL { bytes } else { 0 }
}

impl Part {
    /// Bytes that it takes while it waits, and while it is fed.
    pub fn memory(&self) -> u64 {
        match &self.content {
            Content::Stored(stored) => {
                let screen = stored.screen().map_or(0, Screen::memory);
                let (mapping, bytes) = (&stored.mapping, stored.plan.cost().1 + screen);
                if self.straight().is_some() {
                    return bytes;
                }
                let pixel = self.samples.len() * self.opened.cog.dtype.size();
                bytes + counted_window(mapping.window_pixels() * pixel as u64) + mapping.memory()
            }
            Content::Decoded(rasters) => rasters.iter().map(|(_, raster)| raster.memory()).sum(),
        }
    }

    /// The tiles, and the columns and rows they go to, where they need no window: without a mask, one sample by itself, on
    /// a grid parallel to the source's.
    pub fn straight(&self) -> Option<(&Stored, &[u32], &[u32])> {
        let Content::Stored(stored) = &self.content else { return None };
        let Kind::Aligned { cols, rows } = &stored.mapping.kind else { return None };
        let sets = &stored.plan.sets;
        let alone = self.opened.level(sets[0].level).samples_per_tile() == 1;
        (alone && sets.len() == 1 && self.samples.len() == 1).then_some((&**stored, cols, rows))
    }
}
