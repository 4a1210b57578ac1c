//! Out of a row of a batch: where its item is.

use std::sync::Arc;

use duckdb::arrow::array::{ArrayRef, RecordBatch};
use geo::Geometry;

use super::geometry::{self, Encoding};
use super::layout::Layout;
use super::{pixels, rows};
use crate::crs::{Crs, LONLAT, transformer};
use crate::error::{Error, Result};
use crate::place::{Pixels, Place};

/// Where among the columns of a batch the parts are that tell where an item is.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub bbox: Option<[usize; 4]>,
    /// With the CRS of its coordinates, if they are no longitude and latitude.
    pub geometry: Option<(usize, Encoding, Option<Crs>)>,
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
        let geometry = layout.geometry.as_ref();
        let geometry = geometry.map(|found| (add(found.sql.clone()), found.encoding, found.crs.clone()));
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
        let parsed = self.columns.geometry.as_ref().and_then(|(index, encoding, crs)| {
            let bytes = at(*index).and_then(|column| rows::bytes(column, row))?;
            Some((geometry::parse(*encoding, bytes), crs))
        });
        let lonlat = |geometry: Geometry, crs: &Option<Crs>| match crs {
            Some(crs) => transformer(crs, &LONLAT).map(|to_lonlat| geometry::projected(geometry, &to_lonlat)),
            None => Ok(geometry),
        };
        let geometry = match parsed {
            None => None,
            Some((Ok(geometry), crs)) => geometry.map(|geometry| lonlat(geometry, crs)).transpose()?,
            // The bbox still tells where the item is.
            Some((Err(_), _)) if bbox.is_some_and(|edges| edges.iter().all(|edge| edge.is_finite())) => None,
            Some((Err(what), _)) => {
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
