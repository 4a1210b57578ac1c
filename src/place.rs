//! Where an item is. The one place that decides it: which items a query takes, and which tiles an item may have pixels in.
//!
//! An item declares a bbox and a footprint. Each is judged by itself, in every turn in which longitudes can be counted, and an
//! item is where both say that it is. Where the transform of its pixels is known, they say it better, see [`Outline`].

use std::sync::{Arc, OnceLock};

use geo::{Area as _, BoundingRect, Coord, Geometry, LineString, Polygon};

use crate::area::{Area, Margin};
use crate::crs::{Crs, LONLAT, transformer};
use crate::error::Result;
use crate::grid::Affine;

/// Some footprints are simplified, and boxes rounded: their true size is taken to be this share larger to each side.
const SIMPLIFIED: f64 = 0.02;
/// Degrees by which numbers of six decimals, or of 32 bits, are off.
const ROUNDED: f64 = 2e-5;

/// Where an item is, in longitude and latitude.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    bbox: Option<Area>,
    /// Polygons, each by itself: one that crosses the antimeridian may be cut there or not.
    footprint: Vec<Area>,
    pixels: Option<Arc<Pixels>>,
    margins: Margins,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Margins {
    bbox: Margin,
    footprint: Margin,
}

/// Longitudes that are some number of turns.
pub const LARGEST_LONGITUDE: f64 = 3600.0;
/// With room for half a pixel of a coarse raster.
pub const LARGEST_LATITUDE: f64 = 91.0;

/// How far pixels may lie beyond the straight edges of bounds.
fn margin_of([west, south, east, north]: [f64; 4]) -> Margin {
    largest_margin(east - west, north - south, [south, north])
}

/// The margin of what is so many degrees wide and high, and lies between two latitudes. A row of pixels is close to a great
/// circle, whose bend against a parallel grows with the tangent of the latitude; a column bends as much against a meridian.
pub fn largest_margin(width: f64, height: f64, [south, north]: [f64; 2]) -> Margin {
    /// Nearer to a pole, a row of pixels may run in any direction.
    const FARTHEST: f64 = 89.0;
    let least = if south > 0.0 || north < 0.0 { south.abs().min(north.abs()).min(FARTHEST) } else { 0.0 };
    let most = south.abs().max(north.abs()).min(FARTHEST).to_radians();
    let across = width.to_radians() * least.to_radians().cos();
    // What goes all around, as a cap over a pole does, ends at its farthest corner.
    let bend = if width < 360.0 { (across.powi(2) + height.to_radians().powi(2)) / 8.0 * most.tan() } else { 0.0 };
    let bend = bend.to_degrees();
    Margin {
        x: (width * SIMPLIFIED + bend / most.cos() + ROUNDED).min(180.0),
        y: (height * SIMPLIFIED + bend + ROUNDED).min(90.0),
    }
}

/// Whether a bbox says where an item is: one without area, of NaN, or beyond the poles does not.
fn is_regular(bbox: &[f64; 4]) -> bool {
    let [west, south, east, north] = bbox;
    is_on_earth(bbox) && south < north && west != east
}

fn is_on_earth([west, south, east, north]: &[f64; 4]) -> bool {
    let within = |v: &f64, largest: f64| v.abs() <= largest;
    [west, east].iter().all(|v| within(v, LARGEST_LONGITUDE))
        && [south, north].iter().all(|v| within(v, LARGEST_LATITUDE))
}

/// What of a box lies on earth; some rasters in degrees run on beyond a pole.
fn on_earth([west, south, east, north]: [f64; 4]) -> Option<[f64; 4]> {
    let [low, high] = [south, north].map(|v| v.clamp(-LARGEST_LATITUDE, LARGEST_LATITUDE));
    let meets = south.min(north) <= LARGEST_LATITUDE && south.max(north) >= -LARGEST_LATITUDE;
    let cut = [west, low, east, high];
    (meets && is_on_earth(&cut)).then_some(cut)
}

impl Place {
    /// `None` if nothing says where the item is. The bbox is west, south, east, north; west > east crosses the antimeridian.
    pub fn new(bbox: Option<[f64; 4]>, geometry: Option<Geometry>, pixels: Option<Arc<Pixels>>) -> Option<Place> {
        let bounds = geometry.as_ref().and_then(bounds);
        let (footprint, at_pole) = footprint(geometry);
        let regular = bbox.filter(|bbox| is_regular(bbox) && !at_pole).map(area_of_bbox);
        let bbox = match footprint.is_empty() {
            // What has no area is better than nothing.
            true => regular.or(bounds).or_else(|| bbox.and_then(on_earth).map(area_of_bbox)),
            false => regular,
        };
        if bbox.is_none() && footprint.is_empty() && pixels.is_none() {
            return None;
        }
        let margins = Margins {
            bbox: bbox.as_ref().map_or(Margin::NONE, |bbox| margin_of(bbox.bounds())),
            footprint: common_margin(&footprint, bbox.as_ref()),
        };
        let mut place = Place { bbox, footprint, pixels, margins };
        if place.contradicts_itself() {
            // Either may be right, and no pixel shall be lost: the item may be at both.
            place.footprint.extend(place.bbox.take());
            let Margins { bbox, footprint } = place.margins;
            place.margins.footprint = Margin { x: bbox.x.max(footprint.x), y: bbox.y.max(footprint.y) };
        }
        Some(place)
    }

    /// That of an item whose own cannot be told.
    pub fn anywhere() -> Place {
        let margins = Margins { bbox: Margin::NONE, footprint: Margin::NONE };
        Place { bbox: Some(Area::EARTH), footprint: Vec::new(), pixels: None, margins }
    }

    /// Longitude of its centre, from -180 to 180; 0 where none can be told.
    pub fn longitude(&self) -> f64 {
        let bounds = |areas: &[Area]| {
            let west = areas.iter().map(|area| area.bounds()[0]).reduce(f64::min)?;
            Some([west, areas.iter().map(|area| area.bounds()[2]).reduce(f64::max)?])
        };
        let bbox = self.bbox.as_ref().map(|bbox| [bbox.bounds()[0], bbox.bounds()[2]]);
        let outline = || self.outline().map(|outline| [outline.area.bounds()[0], outline.area.bounds()[2]]);
        let Some([west, east]) = bbox.or_else(|| bounds(&self.footprint)).or_else(outline) else { return 0.0 };
        let centre = (west + east) / 2.0;
        // Untouched where it is one already.
        if (-180.0..=180.0).contains(&centre) { centre } else { (centre + 180.0).rem_euclid(360.0) - 180.0 }
    }

    /// Bytes of memory beside the struct itself; outlines of pixels are shared.
    pub fn memory(&self) -> usize {
        let outlines = self.bbox.iter().chain(&self.footprint).map(Area::outline_memory);
        self.footprint.capacity() * size_of::<Area>() + outlines.sum::<usize>()
    }

    fn contradicts_itself(&self) -> bool {
        let Some(bbox) = &self.bbox else { return false };
        !self.footprint.is_empty() && !self.footprint.iter().any(|part| bbox.meets(part, self.margins.footprint))
    }

    fn is_declared(&self) -> bool {
        self.bbox.is_some() || !self.footprint.is_empty()
    }

    /// Whether bbox and footprint both say that the item is in the area, or as near as their margins.
    fn is_in(&self, area: &Area, Margins { bbox, footprint }: Margins) -> bool {
        self.is_declared()
            && self.bbox.as_ref().is_none_or(|own| area.meets(own, bbox))
            && (self.footprint.is_empty() || self.footprint.iter().any(|part| area.meets(part, footprint)))
    }

    /// Whether the item is in the area, so that a query over it takes the item. Close to what is declared the outline of the
    /// pixels decides where it is known, unless the footprint is another, such as that of what is valid.
    pub fn touches(&self, area: &Area) -> bool {
        const WITHOUT: Margins = Margins { bbox: Margin::NONE, footprint: Margin::NONE };
        if self.is_in(area, WITHOUT) {
            return true;
        }
        match self.is_declared() {
            true if !self.is_in(area, self.margins) => false,
            true => self.outline().is_none_or(|outline| !self.is_drawing_of(outline) || outline.meets(area)),
            false => self.outline().is_some_and(|outline| outline.meets(area)),
        }
    }

    /// Whether pixels of the item may lie in the area, as far as the item tells. More than where it [touches](Place::touches):
    /// footprints leave out pixels, since they are those of what is valid, or drawn by hand.
    pub fn reaches(&self, area: &Area) -> bool {
        self.bbox.as_ref().is_some_and(|bbox| area.meets(bbox, self.margins.bbox))
            || self.footprint.iter().any(|part| area.meets(&part.hull(), self.margins.footprint))
            || self.outline().is_some_and(|outline| outline.meets(area))
    }

    /// Whether all of a raster lies where the item [reaches](Place::reaches).
    pub fn encloses(&self, raster: &Outline) -> bool {
        self.bbox.as_ref().is_some_and(|bbox| bbox.encloses(&raster.area, self.margins.bbox))
            || self.footprint.iter().any(|part| part.encloses(&raster.area, self.margins.footprint))
            || self.outline().is_some_and(|outline| outline.area.encloses(&raster.area, outline.margin()))
            || self.parts_enclose(&raster.area)
    }

    /// Parts that are cut at the antimeridian, put together.
    fn parts_enclose(&self, raster: &Area) -> bool {
        const COLUMNS: u32 = 16;
        let [west, south, east, north] = raster.bounds();
        (0..=COLUMNS).all(|i| {
            let lon = west + (east - west) * f64::from(i) / f64::from(COLUMNS);
            let edge = Area::of_box([lon, south, lon, north]);
            self.footprint.iter().any(|part| part.encloses(&edge, self.margins.footprint))
        })
    }

    /// The outline of the pixels, if what is declared is a part of it: projection metadata may be wrong.
    fn outline(&self) -> Option<&Outline> {
        let outline = self.pixels.as_ref()?.outline()?;
        let holds = |declared: &Area, margin| outline.area.encloses(declared, margin);
        let all = self.bbox.iter().all(|bbox| holds(bbox, self.margins.bbox))
            && self.footprint.iter().all(|part| holds(part, self.margins.footprint));
        all.then_some(outline)
    }

    /// Whether what is declared goes through the corners of the outline. The footprint of what is valid does not.
    fn is_drawing_of(&self, outline: &Outline) -> bool {
        let at = |(lon, lat): &(f64, f64)| self.is_in(&Area::of_box([*lon, *lat, *lon, *lat]), self.margins);
        outline.corners.iter().all(at)
    }

    /// Whether a point lies where the item says that it is, without any margin.
    pub fn covers(&self, lon: f64, lat: f64) -> bool {
        self.is_declared()
            && self.bbox.as_ref().is_none_or(|bbox| bbox.holds(lon, lat))
            && (self.footprint.is_empty() || self.footprint.iter().any(|part| part.holds(lon, lat)))
    }

    /// Share of an area that the item is likely to cover, 0 to 1, by bounding boxes.
    pub fn share_of(&self, area: &Area) -> f64 {
        match &self.bbox {
            Some(bbox) => area.share_of(bbox),
            None if self.footprint.is_empty() => 1.0,
            None => self.footprint.iter().map(|part| area.share_of(part)).sum::<f64>().min(1.0),
        }
    }
}

/// The pixels of an item, as its projection metadata tell.
#[derive(Debug)]
pub struct Pixels {
    /// A definition for PROJ.
    pub crs: Arc<str>,
    pub affine: Affine,
    pub width: f64,
    pub height: f64,
    /// Found at the first question, since most items are asked none.
    outline: OnceLock<Option<Outline>>,
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Pixels) -> bool {
        (&self.crs, self.affine, self.width, self.height) == (&other.crs, other.affine, other.width, other.height)
    }
}

impl Pixels {
    pub fn new(crs: Arc<str>, affine: Affine, width: f64, height: f64) -> Pixels {
        Pixels { crs, affine, width, height, outline: OnceLock::new() }
    }

    fn outline(&self) -> Option<&Outline> {
        // A CRS that PROJ refuses tells nothing; whoever reads the pixels will say so.
        let found =
            || Crs::new(&self.crs).and_then(|crs| Outline::of(&self.affine, self.width, self.height, &crs)).ok();
        self.outline.get_or_init(found).as_ref()
    }
}

/// Where the pixels of a raster lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    area: Area,
    /// In longitude and latitude.
    corners: [(f64, f64); 4],
}

impl Outline {
    /// # Errors
    /// No transformation from `crs` to longitude and latitude.
    pub fn of(affine: &Affine, width: f64, height: f64, crs: &Crs) -> Result<Outline> {
        let to_lonlat = transformer(crs, &LONLAT)?;
        let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
        let corners = corners.map(|(col, row)| affine.apply(col, row)).map(|(x, y)| to_lonlat.point(x, y));
        Ok(Outline { area: Area::of_pixels(affine, [0.0, 0.0, width, height], &to_lonlat), corners })
    }

    /// What a chord between two points of its edges leaves out.
    fn margin(&self) -> Margin {
        let Margin { x, y } = margin_of(self.area.bounds());
        Margin { x: x / 20.0, y: y / 20.0 }
    }

    /// Whether pixels may lie in an area.
    pub fn meets(&self, area: &Area) -> bool {
        area.meets(&self.area, self.margin())
    }
}

/// A box whose west is greater than its east crosses the antimeridian.
fn area_of_bbox([west, south, east, north]: [f64; 4]) -> Area {
    let east = if west > east { east + 360.0 * ((west - east) / 360.0).ceil() } else { east };
    Area::of_box([west, south, east, north])
}

/// One margin for all parts, since they are of one raster.
fn common_margin(footprint: &[Area], bbox: Option<&Area>) -> Margin {
    let widths = || footprint.iter().map(|part| part.bounds()[2] - part.bounds()[0]);
    let width = widths().sum::<f64>().min(360.0);
    let width = bbox.map_or(width, |bbox| width.min(bbox.bounds()[2] - bbox.bounds()[0])).max(0.0);
    let south = footprint.iter().map(|part| part.bounds()[1]).fold(f64::INFINITY, f64::min);
    let north = footprint.iter().map(|part| part.bounds()[3]).fold(f64::NEG_INFINITY, f64::max);
    if footprint.is_empty() { Margin::NONE } else { margin_of([0.0, south, width, north]) }
}

/// The polygons of a geometry, and whether one surrounds a pole. None for points, lines, and what has no area.
fn footprint(geometry: Option<Geometry>) -> (Vec<Area>, bool) {
    let polygons = match geometry {
        Some(Geometry::Polygon(polygon)) => vec![polygon],
        Some(Geometry::MultiPolygon(polygons)) => polygons.0,
        _ => Vec::new(),
    };
    let (mut parts, mut at_pole) = (Vec::with_capacity(polygons.len()), false);
    for polygon in polygons {
        let ring = &polygon.exterior().0;
        if ring.len() < 4 || !ring.iter().all(|c| is_on_earth(&[c.x, c.y, c.x, c.y])) {
            continue;
        }
        let jumps = ring.windows(2).any(|pair| (pair[1].x - pair[0].x).abs() > 180.0);
        let followed = jumps.then(|| unwrapped(ring));
        match followed {
            Some(Unwrapped::AroundPole(cap)) => {
                at_pole = true;
                parts.push(cap);
                continue;
            }
            Some(Unwrapped::Ring(ring)) => parts.extend(with_area(Polygon::new(ring, Vec::new()))),
            None => {}
        }
        // An edge longer than half a turn may be meant, too: nobody can tell, and no pixel shall be lost.
        parts.extend(with_area(polygon));
    }
    (parts, at_pole)
}

enum Unwrapped {
    Ring(LineString),
    AroundPole(Area),
}

/// A ring whose longitudes jump at the antimeridian, which is not cut there.
fn unwrapped(ring: &[Coord]) -> Unwrapped {
    let mut turns = 0.0;
    let mut points: Vec<Coord> = Vec::with_capacity(ring.len());
    for point in ring {
        if let Some(last) = points.last() {
            turns -= ((point.x + turns - last.x) / 360.0).round() * 360.0;
        }
        points.push(Coord { x: point.x + turns, y: point.y });
    }
    match turns == 0.0 {
        true => Unwrapped::Ring(LineString::new(points)),
        false => Unwrapped::AroundPole(Area::around_pole(&points)),
    }
}

fn with_area(polygon: Polygon) -> Option<Area> {
    (polygon.unsigned_area() > 0.0).then(|| Area::of_polygon(polygon))
}

/// The bounds of a geometry, which may be a point.
fn bounds(geometry: &Geometry) -> Option<Area> {
    let rect = geometry.bounding_rect()?;
    let bounds = [rect.min().x, rect.min().y, rect.max().x, rect.max().y];
    on_earth(bounds).map(Area::of_box)
}

#[cfg(test)]
mod tests;
