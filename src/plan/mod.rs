//! From a request to units of work: (step, output tile) with the items that may touch it, in the order of the mosaic.
//! explain lists the units, the scan runs them; there is no other plan.

mod assets;
mod bands;
mod caution;
mod cube;
mod empty;
mod level;
mod mask;
mod members;
mod naming;
mod openings;
mod outlines;
mod sample;
mod target;
#[cfg(test)]
mod tests;
mod zoned;

use std::sync::Arc;

pub use assets::{asset_context, asset_location};
pub use bands::{Band, Meaning};
pub use caution::of_places;
pub use cube::{Cube, bytes_per_pixel};
pub use level::{Geometry, Levels};
pub use mask::Mask;
pub use members::Members;
pub use openings::{Opening, openings};
pub use sample::Unread;
pub use target::{OutputTile, Target};
pub use zoned::{ZoneSet, Zoned};

use crate::area::Area;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::interrupt;
use crate::items::{Item, ItemStream};
use crate::request::OnError;

/// One output tile of one step.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Start of the step, in microseconds since 1970 UTC.
    pub time: i64,
    /// Position of the step among the steps of the selection.
    pub time_index: u64,
    pub chunk_row: u64,
    pub chunk_col: u64,
    pub rect: Rect,
    /// No other unit of its step comes after it.
    pub is_last: bool,
    pub area: Arc<Area>,
    /// In the order of `sortby`, then file order.
    pub items: Vec<Arc<Item>>,
    /// All items of the step; none where the unit has them all.
    pub members: Arc<Members>,
    /// All items of the step, wherever they are.
    pub of_step: Arc<Vec<Arc<Item>>>,
}

impl Unit {
    /// The unit with more items, which were found to reach into its tile.
    pub fn with(mut self, more: Vec<Arc<Item>>) -> Unit {
        self.items.extend(more);
        self.items.sort_by_key(|item| item.order);
        self
    }
}

/// The units of a cube, step by step, row by row; items are held for one step at a time.
pub struct Units {
    cube: Arc<Cube>,
    items: ItemStream,
    /// The first item of the next step.
    pending: Option<Item>,
    step: Option<Step>,
    steps: u64,
    tile_areas: Vec<Option<Arc<Area>>>,
    /// Items that have no place in the plan, and that the call ignores.
    left_out: Vec<Item>,
    any_left_out: bool,
}

struct Step {
    time: i64,
    items: Arc<Vec<Arc<Item>>>,
    members: Arc<Members>,
    next_tile: u64,
}

/// In a step of more items than this, what they declare decides: to ask all of them for their headers would cost more than the
/// tiles in which few of them lie.
const MOST_MEMBERS: usize = 256;
/// Items of one step may take so many bytes whatever the memory budget, else as many as that.
const LEAST_STEP: u64 = 64 << 20;

fn too_many(step: &Step) -> Error {
    Error::Items(format!(
        "more than {} items fall into one step, and they take more memory than lazycogs_memory_budget allows; raise it, or give \
         a shorter period or a smaller bbox",
        step.items.len() - 1
    ))
}

/// Outlines of more tiles than this are computed when they are needed instead of being kept.
const KEPT_AREAS: u64 = 1 << 14;

impl Units {
    /// The units of `cube`, with `assets` of each item.
    pub fn new(cube: Arc<Cube>, assets: &[String]) -> Result<Units> {
        let items = cube.request.selection.stream(assets, &cube.all_assets())?;
        Ok(Units::of(cube, items))
    }

    fn of(cube: Arc<Cube>, items: ItemStream) -> Units {
        let tiles = cube.target.len().min(KEPT_AREAS) as usize;
        Units {
            cube,
            items,
            pending: None,
            step: None,
            steps: 0,
            tile_areas: vec![None; tiles],
            left_out: Vec::new(),
            any_left_out: false,
        }
    }

    /// The items that were left out since the last call: those with a [`Item::fault`], where the call ignores errors.
    pub fn take_left_out(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.left_out)
    }

    /// The next unit; `None` after the last. A call that is given up may lose one.
    pub async fn next(&mut self) -> Option<Result<Unit>> {
        self.next_unit().await.transpose()
    }

    async fn next_unit(&mut self) -> Result<Option<Unit>> {
        let tiles = self.cube.target.len();
        if self.step.as_ref().is_none_or(|step| step.next_tile == tiles) {
            self.step = self.next_step().await?;
            if self.steps == 0 && !self.any_left_out && !self.cube.request.allow_empty {
                return Err(empty::nothing_touches(&self.cube.request, &self.cube.area));
            }
        }
        let all = self.is_in_every_tile();
        let Some(step) = &mut self.step else { return Ok(None) };
        let position = step.next_tile;
        let Some(OutputTile { row, col, rect }) = self.cube.target.tile(position) else { return Ok(None) };
        step.next_tile += 1;
        let (time, of_step, members) = (step.time, step.items.clone(), step.members.clone());
        let is_last = step.next_tile == tiles;
        let area = tile_area(&self.cube, &mut self.tile_areas, position as usize, rect)?;
        let reaches = |item: &&Arc<Item>| all || item.place.reaches(&area);
        let items = of_step.iter().filter(reaches).cloned().collect();
        let time_index = self.steps - 1;
        Ok(Some(Unit {
            time,
            time_index,
            chunk_row: row,
            chunk_col: col,
            rect,
            is_last,
            area,
            items,
            members,
            of_step,
        }))
    }

    /// Whether each tile has all items of its step.
    fn is_in_every_tile(&self) -> bool {
        self.cube.target.len() == 1 || !self.cube.declares_truly
    }

    /// Collects the items of the next step.
    async fn next_step(&mut self) -> Result<Option<Step>> {
        let (mut step, mut bytes): (Option<Step>, u64) = (None, 0);
        loop {
            let item = match self.pending.take() {
                Some(item) => Some(item),
                None => self.items.receive().await.transpose()?,
            };
            let Some(item) = item else { break };
            if self.cube.is_left_out(&item)? {
                self.any_left_out = true;
                self.left_out.push(item);
                continue;
            }
            match &mut step {
                Some(step) if step.time != item.step => {
                    self.pending = Some(item);
                    break;
                }
                Some(step) => {
                    bytes += item.memory() as u64;
                    Arc::make_mut(&mut step.items).push(Arc::new(item));
                    if bytes > self.cube.request.memory_budget.max(LEAST_STEP) {
                        return Err(too_many(step));
                    }
                }
                None => {
                    let (time, items) = (item.step, Arc::new(vec![Arc::new(item)]));
                    step = Some(Step { time, items, members: Arc::default(), next_tile: 0 });
                }
            }
        }
        if let Some(step) = &mut step
            && !self.is_in_every_tile()
            && step.items.len() <= MOST_MEMBERS
        {
            step.members = Arc::new(Members::new(step.items.to_vec()));
        }
        self.steps += u64::from(step.is_some());
        Ok(step)
    }
}

fn tile_area(cube: &Cube, kept: &mut [Option<Arc<Area>>], tile: usize, rect: Rect) -> Result<Arc<Area>> {
    if let Some(Some(area)) = kept.get(tile) {
        return Ok(area.clone());
    }
    let area = Arc::new(Area::of(&cube.request.grid, &cube.request.crs, rect)?);
    if let Some(kept) = kept.get_mut(tile) {
        *kept = Some(area.clone());
    }
    Ok(area)
}

/// What a selection holds, without its assets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub steps: u64,
    pub items: u64,
    /// Start of the first and of the last step.
    pub first: Option<i64>,
    pub last: Option<i64>,
}

impl Cube {
    /// Counts the steps and items, as long as the answer is `wanted`. Reads the item index, nothing else; of a
    /// small one with the assets that a read will ask for, so that it need not look again. `left_out` is told of items that have no
    /// place in the plan, where the call ignores errors.
    pub fn summary(&self, wanted: &dyn Fn() -> bool, left_out: &mut dyn FnMut(&Item)) -> Result<Summary> {
        let located = self.all_assets();
        let assets = if self.request.selection.is_small() { located.clone() } else { Vec::new() };
        let mut summary = Summary::default();
        for item in self.request.selection.stream(&assets, &located)?.take_while(|_| wanted()) {
            let item = item?;
            if self.is_left_out(&item)? {
                left_out(&item);
                continue;
            }
            summary.items += 1;
            summary.steps += u64::from(summary.last != Some(item.step));
            summary.first = summary.first.or(Some(item.step));
            summary.last = Some(item.step);
        }
        Ok(summary)
    }

    /// Whether the call ignores an item that belongs to no step or place.
    ///
    /// # Errors
    /// The fault of such an item, where the call does not.
    fn is_left_out(&self, item: &Item) -> Result<bool> {
        match (&item.fault, self.request.errors) {
            (None, _) => Ok(false),
            (Some(_), OnError::Ignore) => Ok(true),
            (Some(fault), OnError::Raise) => Err(Error::Items(fault.to_string())),
        }
    }

    /// How many steps a read is likely to give, at least one; for DuckDB's optimizer.
    pub fn likely_steps(&self) -> u64 {
        let selection = &self.request.selection;
        let steps = match selection.is_small() {
            true => self.summary(&|| true, &mut |_| {}).map(|summary| summary.steps),
            false => {
                let selection = selection.clone();
                interrupt::apart(move || selection.count_steps())
            }
        };
        // What is wrong with the items fails the read, and is told there.
        steps.unwrap_or(1).max(1)
    }
}
