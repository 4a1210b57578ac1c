//! Out of a row of a batch: where its item is.

use std::sync::Arc;

use duckdb::arrow::array::{ArrayRef, RecordBatch};

use super::geometry::{self, Encoding};
use super::layout::Layout;
use super::{pixels, rows};
use crate::error::{Error, Result};
use crate::place::{Pixels, Place};

/// Where among the columns of a batch the parts are that tell where an item is.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub bbox: Option<[usize; 4]>,
    pub geometry: Option<(usize, Encoding)>,
    /// The projection metadata of the item and of its assets, and the CRS of the item.
    pub pixels: Pixelwise,
}

#[derive(Debug, Default)]
pub(super) struct Pixelwise {
    pub item: Option<usize>,
    pub assets: Option<usize>,
    pub crs: Option<usize>,
}

impl Columns {
    /// Those of a layout, with the pixels of the assets `keys`. `add` takes the SQL of a column and tells its place.
    pub(super) fn of(layout: &Layout, keys: &[String], mut add: impl FnMut(String) -> usize) -> Columns {
        let bbox =
            layout.bbox.as_ref().map(|bbox| bbox.edges.clone().map(|edge| add(format!("CAST({edge} AS DOUBLE)"))));
        let geometry = layout.geometry.as_ref().map(|(sql, encoding)| (add(sql.clone()), *encoding));
        let item = pixels::of_item(&layout.properties).map(&mut add);
        let assets = pixels::of_assets(&layout.assets, keys).map(&mut add);
        let crs = (item.is_some() || assets.is_some()).then(|| layout.crs().map(&mut add)).flatten();
        Columns { bbox, geometry, pixels: Pixelwise { item, assets, crs } }
    }
}

/// Reads the place of each row.
pub(super) struct Locator {
    columns: Columns,
    known: pixels::Known,
}

impl Locator {
    pub(super) fn new(columns: Columns) -> Locator {
        Locator { columns, known: pixels::Known::default() }
    }

    /// `None` where nothing says where the item is.
    ///
    /// # Errors
    /// A geometry that cannot be read, beside no bbox.
    pub(super) fn place(&mut self, batch: &RecordBatch, row: usize, id: &str) -> Result<Option<Place>> {
        let at = |index: usize| batch.columns().get(index);
        let edge = |index: usize| at(index).and_then(|edges| rows::double(edges, row));
        let bbox = self.columns.bbox.and_then(|[w, s, e, n]| Some([edge(w)?, edge(s)?, edge(e)?, edge(n)?]));
        let bytes = self
            .columns
            .geometry
            .and_then(|(index, encoding)| Some((encoding, at(index).and_then(|column| rows::bytes(column, row))?)));
        let geometry = match bytes.map(|(encoding, bytes)| geometry::parse(encoding, bytes)) {
            None => None,
            Some(Ok(geometry)) => geometry,
            // The bbox still tells where the item is.
            Some(Err(_)) if bbox.is_some_and(|edges| edges.iter().all(|edge| edge.is_finite())) => None,
            Some(Err(what)) => {
                return Err(Error::Items(format!("item '{id}' has no bbox, and its geometry is {what}")));
            }
        };
        Ok(Place::new(bbox, geometry, self.pixels(batch, row)))
    }

    fn pixels(&mut self, batch: &RecordBatch, row: usize) -> Option<Arc<Pixels>> {
        let Pixelwise { item, assets, crs } = self.columns.pixels;
        let column = |index: Option<usize>| -> Option<&ArrayRef> { batch.columns().get(index?) };
        let text = |index| column(index).and_then(|column| rows::text(column, row));
        let count = column(assets).map_or(0, |column| rows::list_length(column, row));
        let assets: Vec<Option<&str>> =
            (0..count).map(|i| column(assets).and_then(|column| rows::text_element(column, row, i))).collect();
        let item = text(item);
        (item.is_some() || !assets.is_empty()).then(|| self.known.read(item, text(crs), &assets))?
    }
}
