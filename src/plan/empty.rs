//! Why there is nothing: words for an area without items, or without a place on the Earth.

use crate::area::{Area, Margin};
use crate::crs::{Crs, LONLAT, transformer};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::interrupt;
use crate::items::{Memo, Selection};
use crate::request::Request;

/// Refuses a grid none of whose pixels has a place on the Earth: it would be NULL throughout.
///
/// # Errors
/// Such a grid, with what may be wrong with its box.
pub fn check_place(request: &Request) -> Result<()> {
    /// Centres along each side: few tell for nearly all grids, and many for one that reaches beyond the Earth nearly everywhere.
    const LATTICES: [u64; 3] = [3, 17, 257];
    for side in LATTICES {
        if has_place(&request.grid, &request.crs, side)? {
            return Ok(());
        }
    }
    let [x0, y0, x1, y1] = request.bbox;
    let in_degrees = request.crs.turn().is_some();
    let (xs, ys) = (x0.abs().max(x1.abs()), y0.abs().max(y1.abs()));
    let hint = match () {
        () if in_degrees && xs <= 90.0 && ys <= 360.0 => {
            "; latitudes beyond 90 degrees do not exist: did you swap latitude and longitude? x is the longitude"
                .to_owned()
        }
        () if in_degrees => format!("; {} is in degrees", short(&request.crs)),
        () => looks_like_degrees(request).unwrap_or_else(|| "; is the box in units of that CRS?".to_owned()),
    };
    let of = typed_box(request);
    Err(Error::Argument(format!(
        "no pixel of the grid has a place on the Earth: {of}{hint}; bbox is [xmin, ymin, xmax, ymax]"
    )))
}

/// Whether one of `side` by `side` centres of pixels has a longitude and a latitude.
fn has_place(grid: &Grid, crs: &Crs, side: u64) -> Result<bool> {
    let along = |length: u64| {
        let count = side.min(length);
        (0..count).map(move |i| if count == 1 { 0 } else { i * (length - 1) / (count - 1) })
    };
    let centres = along(grid.height).flat_map(|row| along(grid.width).map(move |col| (grid.x(col), grid.y(row))));
    let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = centres.unzip();
    transformer(crs, &LONLAT)?.transform(&mut xs, &mut ys);
    Ok(xs.iter().zip(&ys).any(|(x, y)| x.is_finite() && y.abs() <= 90.0 + 1e-9))
}

/// The error where no item matches, with what was asked for and what may be wrong with it.
pub fn nothing_matches(request: &Request, area: &Area) -> Error {
    nothing(request, area, &looks_like_degrees(request).or_else(|| elsewhere(request)).unwrap_or_default())
}

/// The error where items match by their boxes, but none by its footprint.
pub fn nothing_touches(request: &Request, area: &Area) -> Error {
    nothing(request, area, "; the bounding boxes of items reach into it, their footprints do not")
}

fn nothing(request: &Request, area: &Area, why: &str) -> Error {
    let selection = &request.selection;
    let mut text = format!("no item matches: {}", typed_box(request));
    if !request.crs.same_as(&LONLAT) {
        let boxes: Vec<String> =
            area.boxes(Margin::NONE).iter().map(|[w, s, e, n]| format!("[{w:.6}, {s:.6}, {e:.6}, {n:.6}]")).collect();
        text += &format!(", which is {} in EPSG:4326", boxes.join(" and "));
    }
    text += &selection.datetime.map(|i| format!(", datetime {i}")).unwrap_or_default();
    text += &selection.ids.as_ref().map(|ids| format!(", ids {}", some_of(ids))).unwrap_or_default();
    text += &selection.filter.as_ref().map(|f| format!(", filter {f}")).unwrap_or_default();
    Error::Items(text + why)
}

/// `bbox [1, 2, 3, 4] in EPSG:32615`, as it was typed.
fn typed_box(request: &Request) -> String {
    format!("bbox {} in {}", shown(request.bbox), short(&request.crs))
}

pub fn shown([x0, y0, x1, y1]: [f64; 4]) -> String {
    format!("[{x0}, {y0}, {x1}, {y1}]")
}

/// The definition of a CRS, or its beginning: WKT fills a screen.
fn short(crs: &Crs) -> String {
    const LONGEST: usize = 60;
    let text = crs.definition();
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("...".chars()).collect()
    }
}

fn some_of(ids: &[String]) -> String {
    const SHOWN: usize = 5;
    match ids.len() {
        0..=SHOWN => format!("{ids:?}"),
        all => format!("{:?} and {} more", &ids[..SHOWN], all - SHOWN),
    }
}

fn looks_like_degrees(request: &Request) -> Option<String> {
    let [x0, y0, x1, y1] = request.bbox;
    if request.crs.turn().is_some()
        || [x0, x1].iter().any(|x| x.abs() > 360.0)
        || [y0, y1].iter().any(|y| y.abs() > 90.0)
    {
        return None;
    }
    let crs = short(&request.crs);
    let unit = match request.crs.unit_name() {
        "metre" => format!("{crs} is in metres"),
        unit => format!("the unit of {crs} is the {unit}"),
    };
    Some(format!("; the box looks like degrees, {unit}"))
}

/// Which mistake would explain it: looked for in the index, at the place alone.
fn elsewhere(request: &Request) -> Option<String> {
    const SIDE: u64 = 17;
    let [x0, y0, x1, y1] = request.bbox;
    let any = |bbox: [f64; 4]| {
        // The error is known; what goes wrong while an explanation is looked for is no part of it.
        let grid = Grid::new(bbox, request.grid.resolution).ok()?;
        // What reaches beyond the Earth would find items anywhere.
        let beyond = request.crs.turn().is_some() && (bbox[1] < -90.0 || bbox[3] > 90.0);
        if beyond || !has_place(&grid, &request.crs, SIDE).ok()? {
            return None;
        }
        let area = Area::of(&grid, &request.crs, grid.rect()).ok()?;
        let selection = all_within(&request.selection, area);
        interrupt::apart(move || selection.first()).ok().flatten()
    };
    if any(request.bbox).is_some() {
        return Some("; there are items in the box, but not of that datetime, those ids or that filter".into());
    }
    if any([y0, x0, y1, x1]).is_some() {
        let axes = if request.crs.turn().is_some() { "latitude and longitude" } else { "x and y" };
        return Some(format!("; there are items in {}: did you swap {axes}?", shown([y0, x0, y1, x1])));
    }
    let reordered = [x0, x1, y0, y1];
    // An order that was not meant makes a box enormous, rarely a smaller one.
    let size = |[x0, y0, x1, y1]: [f64; 4]| (x1 - x0).abs() * (y1 - y0).abs();
    if size(reordered) < size(request.bbox) && any(reordered).is_some() {
        return Some(format!("; there are items in {}: bbox is [xmin, ymin, xmax, ymax]", shown(reordered)));
    }
    let plausible = request.crs.turn().is_some() && x0.abs().max(x1.abs()) <= 90.0;
    plausible.then(|| "; x is the longitude, y the latitude: did you swap latitude and longitude?".to_owned())
}

/// The same items without any condition, in the same order.
pub fn anywhere(selection: &Selection) -> Selection {
    all_within(selection, Area::EARTH)
}

fn all_within(selection: &Selection, area: Area) -> Selection {
    let mut all = Selection { area, datetime: None, filter: None, ids: None, ..selection.clone() };
    // What is known of the other selection does not hold for this one.
    all.memo = Memo::of(&all);
    all
}
