//! From edges to the share of each pixel, row by row.
//!
//! An edge adds to each pixel that it crosses the signed height that it covers there, split between the pixel and the next one to
//! the right by its mean distance from the left side; the running sum along the row is the covered share (the accumulation buffer of
//! font-rs by Raph Levien, 2016). What is added are whole numbers of 2^-48 pixels, made from edge and pixel alone. So sums are exact:
//! the inside of a zone is 1 and the outside 0 to the last bit, neighbours add up to 1, and a rectangle gets the shares that any
//! other would.

use std::ops::Range;

use super::zone::{Edge, Zone};
use crate::error::{Error, Result};
use crate::grid::Rect;

/// Which pixels belong to a zone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Each by the share of it that the zone covers, from `least` on.
    Fractional { least: f64 },
    /// Those whose centre lies inside, as a whole. A centre on an edge belongs to the zone on its left, and on a horizontal
    /// edge to the one below, so that of zones that meet there one has it.
    Center,
    /// Those of which the zone covers something, or that an edge of it passes through, as a whole.
    AllTouched,
}

impl Rule {
    /// Reads `fractional`, `center` or `all_touched`, with the least share that counts in the first.
    ///
    /// # Errors
    /// Another name; a share outside of 0 to 1, or given for pixels that count as a whole.
    pub fn parse(name: &str, least: f64) -> Result<Rule> {
        if !(0.0..=1.0).contains(&least) {
            return Err(Error::Argument(format!("min_coverage {least} is not a share of a pixel from 0 to 1")));
        }
        match name {
            "fractional" => Ok(Rule::Fractional { least }),
            "center" | "all_touched" if least > 0.0 => Err(Error::Argument(format!(
                "min_coverage {least} needs pixels := 'fractional': with '{name}' a pixel counts as a whole"
            ))),
            "center" => Ok(Rule::Center),
            "all_touched" => Ok(Rule::AllTouched),
            _ => Err(Error::Argument(format!("unknown pixels '{name}'; use one of fractional, center, all_touched"))),
        }
    }
}

/// A whole pixel. 15 bits are left for layers: zones that overlap themselves 32,768 times are not told from others.
const WHOLE: i64 = 1 << 48;
/// How far a share may lie outside of 0 to 1 before the zone is taken to be invalid: what vertices lose in a reprojection.
const TOLERANCE: i64 = WHOLE / 1_000_000_000;

/// What an edge does to a pixel and to all those to its right.
#[derive(Debug, Clone, Copy)]
struct Event {
    col: u64,
    share: i64,
    /// Edges that pass through, which count for the pixel alone: 1 at the first one, -1 behind the last one.
    touches: i32,
}

/// The rows of a rectangle that a zone meets.
pub(super) struct Sweep<'a> {
    rect: Rect,
    rule: Rule,
    /// Not yet begun, topmost first.
    edges: &'a [Edge],
    active: Vec<Edge>,
    events: Vec<Event>,
}

impl<'a> Sweep<'a> {
    /// Rows must be asked for from the first to the last.
    pub fn new(zone: &'a Zone, rect: Rect, rule: Rule) -> Self {
        Sweep { rect, rule, edges: zone.edges(), active: Vec::new(), events: Vec::new() }
    }

    /// Calls `take` with the runs of equal shares above 0 of one row, from left to right.
    ///
    /// # Errors
    /// A share that no valid polygon has.
    pub fn row(&mut self, row: u64, mut take: impl FnMut(Range<u64>, f64)) -> Result<()> {
        self.advance(row);
        self.events.clear();
        for edge in &self.active {
            let mut line = Line { edge, row: row as f64, rect: self.rect, events: &mut self.events };
            match self.rule {
                Rule::Fractional { .. } => line.cover(),
                Rule::Center => line.cross_centres(),
                Rule::AllTouched => {
                    line.cover();
                    line.touch();
                }
            }
        }
        self.events.sort_unstable_by_key(|event| event.col);
        let (mut share, mut touches) = (0i64, 0i32);
        let mut events = self.events.iter().peekable();
        while let Some(event) = events.next() {
            share = share.wrapping_add(event.share);
            touches = touches.wrapping_add(event.touches);
            let end = events.peek().map_or(self.rect.col_end(), |next| next.col);
            if event.col == end {
                continue;
            }
            if !(-TOLERANCE..=WHOLE + TOLERANCE).contains(&share) {
                return Err(invalid(event.col, row, share));
            }
            let value = value(self.rule, share.clamp(0, WHOLE), touches);
            if value > 0.0 {
                take(event.col..end, value);
            }
        }
        Ok(())
    }

    /// Brings in the edges that reach the row, and drops those that ended above.
    fn advance(&mut self, row: u64) {
        let (top, bottom) = (row as f64, (row + 1) as f64);
        self.active.retain(|edge| edge.y1 > top);
        let right = self.rect.col_end() as f64;
        while let Some((edge, rest)) = self.edges.split_first().filter(|(edge, _)| edge.y0 < bottom) {
            self.edges = rest;
            // What lies to the right of the rectangle adds nothing to it.
            if edge.y1 > top && edge.x0.min(edge.x1) < right {
                self.active.push(*edge);
            }
        }
    }
}

fn value(rule: Rule, share: i64, touches: i32) -> f64 {
    let exact = share as f64 / WHOLE as f64;
    match rule {
        Rule::Fractional { least } if exact < least => 0.0,
        Rule::Fractional { .. } | Rule::Center => exact,
        Rule::AllTouched => f64::from(u8::from(share > 0 || touches > 0)),
    }
}

fn invalid(col: u64, row: u64, share: i64) -> Error {
    let times = share as f64 / WHOLE as f64;
    Error::Argument(format!(
        "the polygon is not valid: it crosses itself or its parts overlap at column {col}, row {row} of the grid (covered {times:.3} \
         times); mend it, with ST_MakeValid of DuckDB's spatial extension for example"
    ))
}

/// An edge within a row.
struct Line<'a> {
    edge: &'a Edge,
    row: f64,
    rect: Rect,
    events: &'a mut Vec<Event>,
}

impl Line<'_> {
    /// The part within the row: its upper and its lower end.
    fn ends(&self) -> [(f64, f64); 2] {
        let Edge { x0, y0, x1, y1, .. } = *self.edge;
        let at = |y: f64| (self.edge.x_at(y), y);
        let upper = if y0 >= self.row { (x0, y0) } else { at(self.row) };
        let lower = if y1 <= self.row + 1.0 { (x1, y1) } else { at(self.row + 1.0) };
        [upper, lower]
    }

    /// Height within the row, in 2^-48 of it. Pieces of edges that meet have the same there, so that they add up.
    fn height(&self, y: f64) -> i64 {
        ((y - self.row) * WHOLE as f64 + 0.5) as i64
    }

    fn push(&mut self, col: u64, height: i64) {
        let share = height * i64::from(self.edge.winding);
        match self.events.last_mut() {
            _ if share == 0 || col >= self.rect.col_end() => {}
            // Pixels side by side give each other the next event, too.
            Some(last) if last.col == col => last.share = last.share.wrapping_add(share),
            _ => self.events.push(Event { col, share, touches: 0 }),
        }
    }

    /// Adds the heights that the edge covers, pixel by pixel from left to right.
    fn cover(&mut self) {
        let [upper, lower] = self.ends();
        if upper.1 == lower.1 {
            return;
        }
        let (left, right) = if upper.0 <= lower.0 { (upper, lower) } else { (lower, upper) };
        let between = (self.height(upper.1), self.height(lower.1));
        let (mut x, mut y, last) = (left.0, self.height(left.1), self.height(right.1));
        let first = self.rect.col as f64;
        if x < first {
            // All that lies to the left of the rectangle counts from its first column on.
            let next = if right.0 < first { last } else { self.crossing(first, between) };
            self.push(self.rect.col, (next - y).abs());
            if right.0 < first {
                return;
            }
            (x, y) = (first, next);
        }
        let mut col = x.floor();
        while col < self.rect.col_end() as f64 {
            let is_last = right.0 <= col + 1.0;
            let (next_x, next_y) =
                if is_last { (right.0, last) } else { (col + 1.0, self.crossing(col + 1.0, between)) };
            let height = (next_y - y).abs();
            let beyond = (height as f64 * (((x - col) + (next_x - col)) / 2.0) + 0.5) as i64;
            self.push(col as u64, height - beyond);
            self.push(col as u64 + 1, beyond);
            if is_last {
                return;
            }
            (x, y, col) = (next_x, next_y, next_x);
        }
    }

    /// Height of the crossing with a side of a pixel.
    fn crossing(&self, x: f64, (upper, lower): (i64, i64)) -> i64 {
        self.height(self.edge.y_at(x)).clamp(upper, lower)
    }

    /// Counts the edge in where it crosses the line through the centres of the row. The arithmetic is that of GDAL's rasterizer, so
    /// that centres very close to an edge fall to the same side.
    fn cross_centres(&mut self) {
        let Edge { x0, y0, x1, y1, .. } = *self.edge;
        let y = self.row + 0.5;
        if y0 <= y && y < y1 {
            let x = (y - y0) * (x1 - x0) / (y1 - y0) + x0;
            let col = (x + 0.5).floor().max(self.rect.col as f64);
            self.push(col as u64, WHOLE);
        }
    }

    /// Marks the pixels through whose inside the edge passes.
    fn touch(&mut self) {
        let [(x0, _), (x1, _)] = self.ends();
        // Nothing is left of an edge that runs along the sides of pixels.
        let first = x0.min(x1).floor().max(self.rect.col as f64);
        let end = x0.max(x1).ceil().min(self.rect.col_end() as f64);
        if first < end {
            self.events.push(Event { col: first as u64, share: 0, touches: 1 });
            self.events.push(Event { col: end as u64, share: 0, touches: -1 });
        }
    }
}
