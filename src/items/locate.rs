//! Out of a row of a batch: where its item is.

use std::borrow::Cow;
use std::sync::Arc;

use duckdb::arrow::array::RecordBatch;
use geo::Geometry;

use super::geometry::{self, Encoding};
use super::layout::Layout;
use super::{pixels, rows};
use crate::crs::{Crs, LONLAT, transformer};
use crate::error::Result;
use crate::place::{Pixels, Place};

/// Where among the columns of a batch the parts are that tell where an item is.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub bbox: Option<[usize; 4]>,
    /// With the CRS of its coordinates, if they are no longitude and latitude.
    pub geometry: Option<(usize, Encoding, Option<Crs>)>,
    /// The projection metadata of the item and of its assets.
    pub pixels: Pixelwise,
    /// Shapes that the geometry must meet, in all turns.
    pub shapes: Vec<Geometry>,
}

#[derive(Debug, Default)]
pub(super) struct Pixelwise {
    /// Its columns, and its properties where they are JSON.
    pub item: [Option<usize>; 2],
    pub assets: Option<(usize, pixels::Form)>,
}

impl Columns {
    /// Those of a layout, with the pixels of the assets `keys`. `add` takes the SQL of a column and tells its place.
    pub(super) fn of(layout: &Layout, keys: &[String], mut add: impl FnMut(String) -> usize) -> Columns {
        let bbox =
            layout.bbox.as_ref().map(|bbox| bbox.edges.clone().map(|edge| add(format!("CAST({edge} AS DOUBLE)"))));
        let geometry = layout.geometry.as_ref();
        let geometry = geometry.map(|found| (add(found.sql.clone()), found.encoding, found.crs.clone()));
        let item = layout.of_item(&pixels::OF_ITEM).map(|sql| sql.map(&mut add));
        let assets = pixels::of_assets(&layout.assets, keys, &layout.own).map(|(sql, form)| (add(sql), form));
        Columns { bbox, geometry, pixels: Pixelwise { item, assets }, shapes: Vec::new() }
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

    /// `None` where nothing says where the item is, or where its geometry does not meet the shapes; or why it cannot be told: a
    /// geometry that cannot be read, beside no bbox.
    ///
    /// # Errors
    /// What is wrong with the columns, not with the item.
    pub(super) fn place(&mut self, batch: &RecordBatch, row: usize, id: &str) -> Result<Result<Option<Place>, String>> {
        let at = |index: usize| batch.columns().get(index);
        let edge = |index: usize| at(index).map_or(Ok(None), |edges| rows::double(edges, row));
        let bbox = match self.columns.bbox {
            Some([w, s, e, n]) => match [edge(w)?, edge(s)?, edge(e)?, edge(n)?] {
                [Some(west), Some(south), Some(east), Some(north)] => Some([west, south, east, north]),
                _ => None,
            },
            None => None,
        };
        let geometry = match &self.columns.geometry {
            Some((index, encoding, crs)) => {
                let bytes = at(*index).map_or(Ok(None), |column| rows::bytes(column, row))?;
                match bytes.map(|bytes| geometry::parse(*encoding, bytes)) {
                    None => None,
                    Some(Ok(geometry)) => geometry.map(|geometry| lonlat(geometry, crs.as_ref())).transpose()?,
                    // The bbox still tells where the item is.
                    Some(Err(_)) if bbox.is_some_and(|edges| edges.iter().all(|edge| edge.is_finite())) => None,
                    Some(Err(what)) => {
                        return Ok(Err(format!("item '{id}' has no bbox, and its geometry is {what}")));
                    }
                }
            }
            None => None,
        };
        if !self.columns.shapes.is_empty() && !geometry::meets_all(geometry.as_ref(), bbox, &self.columns.shapes) {
            return Ok(Ok(None));
        }
        Ok(Ok(Place::new(bbox, geometry, self.pixels(batch, row)?)))
    }

    fn pixels(&mut self, batch: &RecordBatch, row: usize) -> Result<Option<Arc<Pixels>>> {
        let Pixelwise { item, assets } = &self.columns.pixels;
        let column = |index: usize| batch.columns().get(index);
        let text = |index: Option<usize>| index.and_then(column).map_or(Ok(None), |column| rows::text(column, row));
        let item = [text(item[0])?, text(item[1])?];
        let assets = match assets {
            None => Vec::new(),
            Some((index, pixels::Form::Whole(keys))) => {
                text(Some(*index))?.map_or_else(Vec::new, |json| pixels::members_of(json, keys))
            }
            Some((index, form)) => {
                let texts = column(*index).map_or_else(|| Ok(Vec::new()), |column| rows::text_elements(column, row))?;
                let is_packed = matches!(form, pixels::Form::Packed);
                let told =
                    |text| if is_packed { Some(Cow::Borrowed(text)) } else { pixels::of_text(text).map(Cow::Owned) };
                texts.into_iter().map(|text| text.and_then(told)).collect()
            }
        };
        Ok(self.known.read(item, &assets))
    }
}

fn lonlat(geometry: Geometry, crs: Option<&Crs>) -> Result<Geometry> {
    match crs {
        Some(crs) => transformer(crs, &LONLAT).map(|to_lonlat| geometry::projected(geometry, &to_lonlat)),
        None => Ok(geometry),
    }
}
