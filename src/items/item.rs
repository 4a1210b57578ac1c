//! STAC items, as far as a read needs them.

use std::sync::Arc;

use geo::MultiPolygon;

/// One STAC item that a selection matched.
#[derive(Debug, Clone)]
pub struct Item {
    pub id: Arc<str>,
    /// Position in the order of the mosaic within the whole selection: `sortby`, then file order.
    pub order: u64,
    /// Microseconds since 1970-01-01T00:00Z: `datetime`, else `start_datetime`.
    pub time: i64,
    /// Start of the step the item falls into, in the same unit.
    pub step: i64,
    /// `[west, south, east, north]` in EPSG:4326 degrees; `west > east` for a box that crosses the antimeridian.
    pub bbox: [f64; 4],
    /// The true footprint in EPSG:4326, where the item has one.
    pub footprint: Option<MultiPolygon>,
    /// One entry per requested asset key, in that order; `None` where the item lacks the asset.
    pub assets: Vec<Option<Asset>>,
}

/// One asset of an item.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asset {
    /// As the item gives it; relative hrefs are resolved against `base` when they are opened.
    pub href: Arc<str>,
    /// The file or URL that the item came from.
    pub base: Option<Arc<str>>,
    /// STAC `nodata` of each band (`bands`, `raster:bands`, else the asset's own).
    pub nodata: Vec<Option<f64>>,
    /// STAC `scale` and `offset` of each band, where either is given.
    pub scale_offset: Vec<Option<(f64, f64)>>,
    /// `proj:code`, `proj:epsg`, `proj:wkt2` or `proj:projjson` of the asset, else of the item: a definition for PROJ.
    pub crs: Option<Arc<str>>,
}
