//! Why there is nothing: words for an area without items.

use crate::area::{Area, Margin};
use crate::error::Error;
use crate::extent::{self, shown};
use crate::grid::Grid;
use crate::interrupt;
use crate::items::{Memo, Selection};
use crate::request::Request;

/// The error where no item matches, with what was asked for and what may be wrong with it.
pub fn nothing_matches(request: &Request, area: &Area) -> Error {
    let degrees = extent::looks_like_degrees(request.bbox, &request.crs);
    nothing(request, area, &degrees.or_else(|| elsewhere(request)).unwrap_or_default())
}

/// The error where items match by their boxes, but none by its footprint.
pub fn nothing_touches(request: &Request, area: &Area) -> Error {
    nothing(request, area, "; the bounding boxes of items reach into it, their footprints do not")
}

fn nothing(request: &Request, area: &Area, why: &str) -> Error {
    let selection = &request.selection;
    let mut text = format!("no item matches: {}", extent::typed(request.bbox, &request.crs));
    // The box is refused for other reasons where a CRS has no longitude and latitude.
    if request.crs.lonlat().is_ok_and(|lonlat| !request.crs.same_as(&lonlat)) {
        let boxes: Vec<String> =
            area.boxes(Margin::NONE).iter().map(|[w, s, e, n]| format!("[{w:.6}, {s:.6}, {e:.6}, {n:.6}]")).collect();
        let counted = match request.crs.body() {
            "Earth" => "EPSG:4326".to_owned(),
            body => format!("longitude and latitude on {body}"),
        };
        text += &format!(", which is {} in {counted}", boxes.join(" and "));
    }
    text += &selection.datetime.map(|i| format!(", datetime {i}")).unwrap_or_default();
    text += &selection.ids.as_ref().map(|ids| format!(", ids {}", some_of(ids))).unwrap_or_default();
    text += &selection.filter.as_ref().map(|f| format!(", filter {f}")).unwrap_or_default();
    Error::Items(text + why)
}

fn some_of(ids: &[String]) -> String {
    const SHOWN: usize = 5;
    match ids.len() {
        0..=SHOWN => format!("{ids:?}"),
        all => format!("{:?} and {} more", &ids[..SHOWN], all - SHOWN),
    }
}

/// Which mistake would explain it: looked for in the index, at the place alone.
fn elsewhere(request: &Request) -> Option<String> {
    let [x0, y0, x1, y1] = request.bbox;
    let any = |bbox: [f64; 4]| {
        // The error is known; what goes wrong while an explanation is looked for is no part of it.
        let grid = Grid::new(bbox, request.grid.resolution).ok()?;
        // What reaches beyond the body would find items anywhere.
        extent::check(&grid, &request.crs, bbox).ok()?;
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
