//! Statistics of zones: a scan whose tiles are those that zones touch, and whose pixels are counted as they come.

use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::run::Scan;
use super::shared::finished::Finished;
use super::unit::Tile;
use crate::error::Result;
use crate::grid::Rect;
use crate::plan::{Cube, Zoned};
use crate::runtime;
use crate::with_pixels;
use crate::zones::{Span, Stat, Summary};

/// What the pixels of one zone, step and band come to.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneRow {
    /// Positions of the zone and of the band.
    pub zone: usize,
    pub band: usize,
    /// Start of the step, in microseconds since 1970 UTC.
    pub time: i64,
    /// In the order in which the statistics were asked for.
    pub values: Vec<Option<f64>>,
}

/// A running scan. It holds the statistics of one step.
pub struct Zonal {
    scan: Scan,
    cube: Arc<Cube>,
    zoned: Arc<Zoned>,
    stats: Vec<Stat>,
    pool: Arc<ThreadPool>,
    step: Option<Step>,
}

/// A step whose tiles are coming.
struct Step {
    time: i64,
    /// By zone: whether an item touches its bounding box.
    met: Vec<bool>,
    /// By zone, for each band; none before the first tile.
    summaries: Vec<Vec<Summary>>,
}

/// One zone in one tile, and the summaries of its bands so far.
struct Job {
    place: usize,
    zone: usize,
    summaries: Vec<Summary>,
}

impl Zonal {
    /// Starts to read all bands of a cube over zones, for the SQL function `function`.
    ///
    /// # Errors
    /// As [`Scan::start`].
    pub fn start(function: &'static str, cube: Arc<Cube>, zoned: Arc<Zoned>, stats: Vec<Stat>) -> Result<Zonal> {
        let bands = (0..cube.bands.len()).collect();
        let pool = runtime::compute(cube.request.threads)?;
        Ok(Zonal { scan: Scan::start(function, cube.clone(), bands)?, cube, zoned, stats, pool, step: None })
    }

    /// The rows of the next step, zone by zone; `None` after the last. A zone has rows where an item touches its bounding box, and
    /// in every step where its geometry is empty.
    pub fn next_step(&mut self) -> Option<Result<Vec<ZoneRow>>> {
        loop {
            match self.scan.next() {
                None => return None,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(tile)) => match self.add(&tile) {
                    Err(error) => return Some(Err(error)),
                    Ok(()) if tile.unit.is_last => {
                        let step = self.step.take();
                        return step.map(|step| Ok(self.rows(step)));
                    }
                    Ok(()) => {}
                },
            }
        }
    }

    fn add(&mut self, tile: &Tile) -> Result<()> {
        let (cube, zoned, stats) = (&self.cube, &self.zoned, &self.stats);
        let Some(position) = cube.target.position(tile.unit.chunk_row, tile.unit.chunk_col) else { return Ok(()) };
        let items = &tile.unit.of_step;
        let meets = |zone| zoned.area(zone).is_some_and(|area| items.iter().any(|item| item.place.touches(area)));
        let begin = || Step {
            time: tile.unit.time,
            met: (0..zoned.len()).into_par_iter().map(meets).collect(),
            summaries: vec![Vec::new(); zoned.len()],
        };
        let step = self.step.get_or_insert_with(|| self.pool.install(begin));
        let mut jobs = Vec::new();
        for place in zoned.zones_in(position) {
            let Some(zone) = zoned.zone_at(position, place) else { continue };
            let mut summaries = std::mem::take(&mut step.summaries[zone]);
            if summaries.is_empty() {
                summaries = cube.bands.iter().map(|_| Summary::new(stats)).collect();
            }
            jobs.push(Job { place, zone, summaries });
        }
        let count = |job: &mut Job| add_zone(zoned, (position, job.place), tile, &mut job.summaries);
        self.pool.install(|| jobs.par_iter_mut().map(count).collect::<Result<()>>())?;
        for Job { zone, summaries, .. } in jobs {
            step.summaries[zone] = summaries;
        }
        Ok(())
    }

    fn rows(&self, step: Step) -> Vec<ZoneRow> {
        let area = self.cube.request.grid.affine().determinant().abs();
        let mut rows = Vec::new();
        for (zone, summaries) in step.summaries.iter().enumerate() {
            let counted = || summaries.iter().any(|summary| summary.finish(&[Stat::Count], area) != [Some(0.0)]);
            let has_rows = step.met[zone] || self.zoned.is_nowhere(zone) || counted();
            if !has_rows || self.zoned.is_left_out(zone) {
                continue;
            }
            for band in 0..self.cube.bands.len() {
                let none = Summary::new(&self.stats);
                let values = summaries.get(band).unwrap_or(&none).finish(&self.stats, area);
                rows.push(ZoneRow { zone, band, time: step.time, values });
            }
        }
        rows
    }
}

/// Adds the pixels of one zone in one tile.
fn add_zone(zoned: &Zoned, (position, place): (usize, usize), tile: &Tile, summaries: &mut [Summary]) -> Result<()> {
    let rect = tile.unit.rect;
    zoned.each_span(position, place, |row, span| {
        for (layer, summary) in tile.layers.iter().zip(summaries.iter_mut()) {
            add_span(layer, rect, (row, &span), summary);
        }
    })
}

fn add_span(layer: &Finished, rect: Rect, (row, span): (u64, &Span), summary: &mut Summary) {
    let line = (row - rect.row) * rect.width;
    let at = |col: u64| (line + col - rect.col) as usize;
    match (layer, span) {
        (Finished::Pixels(pixels, valid), Span::Full(cols)) => {
            let run = at(cols.start)..at(cols.end);
            with_pixels!(pixels, values => summary.add_run(&values[run.clone()], &valid[run]));
        }
        (Finished::Pixels(pixels, valid), Span::Part(col, shares)) => {
            let run = at(*col)..at(*col) + shares.len();
            with_pixels!(pixels, values => summary.add_part(&values[run.clone()], &valid[run], shares));
        }
        (Finished::Untouched { zero: false }, _) => {}
        // A count of no items is a value.
        (Finished::Untouched { zero: true }, Span::Full(cols)) => {
            (cols.start..cols.end).for_each(|_| summary.add(0.0, 1.0));
        }
        (Finished::Untouched { zero: true }, Span::Part(_, shares)) => {
            shares.iter().for_each(|share| summary.add(0.0, *share));
        }
    }
}
