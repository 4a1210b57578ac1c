//! The pixels of a zone within a rectangle, and the share of each.

use std::ops::Range;

use super::sweep::{Rule, Sweep};
use super::zone::Zone;
use crate::error::Result;
use crate::grid::Rect;

/// Which pixels of a rectangle a zone covers, and how much of each. A pixel's share is the same in every rectangle that holds it, bit
/// for bit, so that a grid may be cut in any way.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    rows: Vec<Begin>,
    runs: Vec<Run>,
    /// Of the runs that are not covered as a whole, one after the other.
    shares: Vec<f64>,
}

/// A row, and where its runs and shares begin.
#[derive(Debug, Clone, Copy)]
struct Begin {
    row: u64,
    run: usize,
    share: usize,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    col: u32,
    width: u32,
    is_full: bool,
}

/// The pixels of one row that a zone covers.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub row: u64,
    runs: &'a [Run],
    shares: &'a [f64],
}

/// Neighbouring pixels of a row. Columns are those of the grid.
#[derive(Debug, Clone, PartialEq)]
pub enum Span<'a> {
    /// Columns that the zone covers as a whole.
    Full(Range<u64>),
    /// The first column, and the share of each from there on, above 0 and at most 1.
    Part(u64, &'a [f64]),
}

impl Span<'_> {
    /// Its columns.
    pub fn cols(&self) -> Range<u64> {
        match self {
            Span::Full(cols) => cols.clone(),
            Span::Part(col, shares) => *col..*col + shares.len() as u64,
        }
    }
}

impl Coverage {
    /// The coverage of a zone within a rectangle, which must lie within 2^31 rows and columns. It takes time in proportion to the
    /// edges, the rows and the pixels that edges cross, not to those inside; [`Zone::rect`] gives the least rectangle.
    ///
    /// # Errors
    /// A share below 0 or above 1, which no valid polygon has; it says where. Polygons that overlap within a pixel by less than
    /// what they leave free of it are not found out.
    pub fn of(zone: &Zone, rect: Rect, rule: Rule) -> Result<Coverage> {
        let mut coverage = Coverage::default();
        let mut sweep = Sweep::new(zone, rect, rule);
        for row in rect.row..rect.row_end() {
            coverage.add(row, &mut sweep)?;
        }
        Ok(coverage)
    }

    /// As [`Coverage::of`], one row after the other, none of which is kept. Rows without pixels of the zone are left out.
    ///
    /// # Errors
    /// As [`Coverage::of`], and what `take` returns.
    pub fn each_row(zone: &Zone, rect: Rect, rule: Rule, mut take: impl FnMut(Row) -> Result<()>) -> Result<()> {
        let mut coverage = Coverage::default();
        let mut sweep = Sweep::new(zone, rect, rule);
        for row in rect.row..rect.row_end() {
            coverage.clear();
            coverage.add(row, &mut sweep)?;
            coverage.rows().try_for_each(&mut take)?;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.runs.clear();
        self.shares.clear();
    }

    fn add(&mut self, row: u64, sweep: &mut Sweep) -> Result<()> {
        let begin = Begin { row, run: self.runs.len(), share: self.shares.len() };
        let Coverage { rows, runs, shares } = self;
        sweep.row(row, |cols, share| {
            let width = (cols.end - cols.start) as u32;
            let run = Run { col: cols.start as u32, width, is_full: share == 1.0 };
            if !run.is_full {
                shares.extend(std::iter::repeat_n(share, width as usize));
            }
            let ours = runs.len() > begin.run;
            match runs.last_mut().filter(|last| ours && last.is_full == run.is_full && last.col + last.width == run.col)
            {
                Some(last) => last.width += width,
                None => runs.push(run),
            }
        })?;
        if runs.len() > begin.run {
            rows.push(begin);
        }
        Ok(())
    }

    /// The rows that have pixels of the zone, from the uppermost down.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let ends = self.rows.iter().skip(1).map(|next| (next.run, next.share));
        let ends = ends.chain([(self.runs.len(), self.shares.len())]);
        self.rows.iter().zip(ends).map(|(begin, (run, share))| Row {
            row: begin.row,
            runs: self.runs.get(begin.run..run).unwrap_or_default(),
            shares: self.shares.get(begin.share..share).unwrap_or_default(),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of memory beside the struct itself: 12 for each run of a row, 8 for each pixel that is not covered as a whole, 24
    /// for each row.
    pub fn memory(&self) -> usize {
        self.rows.capacity() * size_of::<Begin>()
            + self.runs.capacity() * size_of::<Run>()
            + self.shares.capacity() * size_of::<f64>()
    }
}

impl<'a> Row<'a> {
    /// The pixels of the row, from left to right.
    pub fn spans(&self) -> impl Iterator<Item = Span<'a>> + use<'a> {
        let mut shares = self.shares;
        self.runs.iter().map(move |run| {
            let col = u64::from(run.col);
            if run.is_full {
                return Span::Full(col..col + u64::from(run.width));
            }
            let (own, rest) = shares.split_at_checked(run.width as usize).unwrap_or_default();
            shares = rest;
            Span::Part(col, own)
        })
    }
}
