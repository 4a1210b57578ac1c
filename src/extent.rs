//! Whether a grid lies where its CRS can place anything: a box elsewhere would be read as nothing, without a word.

use crate::crs::{Crs, transformer, way_back};
use crate::error::{Error, Result};
use crate::grid::Grid;

/// Looks at the grid of `bbox`.
///
/// # Errors
/// Pixel centres beyond a pole, longitudes turns away, or no pixel centre that has a place on the ground: with what may be wrong
/// with the box.
pub fn check(grid: &Grid, crs: &Crs, bbox: [f64; 4]) -> Result<()> {
    match crs.turn() {
        Some(turn) => within_turn(grid, crs, turn, bbox),
        None => has_place(grid, crs, bbox),
    }
}

fn within_turn(grid: &Grid, crs: &Crs, turn: f64, bbox: [f64; 4]) -> Result<()> {
    let pole = turn / 4.0;
    // Global grids count from pole to pole by pixel centres, so their edges lie half a pixel beyond.
    let beyond = [grid.y(0), grid.y(grid.height - 1)].into_iter().find(|y| y.abs() > pole * (1.0 + 1e-9));
    if let Some(y) = beyond {
        let [x0, y0, x1, y1] = bbox.map(f64::abs);
        let swapped = x0.max(x1) <= pole && y0.max(y1) <= turn;
        let hint = match swapped {
            true => "did you swap latitude and longitude? x is the longitude".to_owned(),
            false => format!("the unit of {} is the {}", short(crs), crs.unit_name()),
        };
        return Err(refused(bbox, crs, &format!("reaches a latitude of {y}, but latitudes end at {pole}; {hint}")));
    }
    let far = turn * 1.5;
    match [grid.x(0), grid.x(grid.width - 1)].into_iter().find(|x| x.abs() > far) {
        Some(x) => {
            let counted = format!("longitudes are counted from {} to {far}, in units of the crs", -far);
            Err(refused(bbox, crs, &format!("reaches a longitude of {x}; {counted}")))
        }
        None => Ok(()),
    }
}

fn has_place(grid: &Grid, crs: &Crs, bbox: [f64; 4]) -> Result<()> {
    /// Centres along each side: few tell for nearly all grids, and many for one that reaches beyond the body nearly everywhere.
    const LATTICES: [u64; 3] = [3, 17, 257];
    for side in LATTICES {
        if has_place_among(grid, crs, side)? {
            return Ok(());
        }
    }
    let hint = looks_like_degrees(bbox, crs).unwrap_or_else(|| "; is the box in units of that CRS?".to_owned());
    let body = if crs.body() == "Earth" { "the Earth" } else { crs.body() };
    Err(refused(bbox, crs, &format!("has no pixel with a place on {body}{hint}")))
}

/// Whether one of `side` by `side` centres of pixels has a longitude and a latitude.
fn has_place_among(grid: &Grid, crs: &Crs, side: u64) -> Result<bool> {
    let along = |length: u64| {
        let count = side.min(length);
        (0..count).map(move |i| if count == 1 { 0 } else { i * (length - 1) / (count - 1) })
    };
    let centres = along(grid.height).flat_map(|row| along(grid.width).map(move |col| (grid.x(col), grid.y(row))));
    let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = centres.unzip();
    let given = ys.clone();
    let lonlat = crs.own_lonlat()?;
    transformer(crs, &lonlat)?.transform(&mut xs, &mut ys);
    for (x, y) in xs.iter_mut().zip(&mut ys).filter(|(_, y)| y.abs() > 90.0 + 1e-9) {
        (*x, *y) = (f64::INFINITY, f64::INFINITY);
    }
    // Far outside some projections give places that are others': those do not lead back. Only y tells, x may come round.
    way_back(crs, &lonlat)?.transform(&mut xs, &mut ys);
    let leads_back = |(y, given): (&f64, &f64)| (y - given).abs() <= grid.resolution / 2.0 + 1e-6 * given.abs();
    Ok(ys.iter().zip(&given).any(leads_back))
}

fn refused(bbox: [f64; 4], crs: &Crs, why: &str) -> Error {
    Error::Argument(format!("{} {why}; bbox is [xmin, ymin, xmax, ymax]", typed(bbox, crs)))
}

/// What to say of a box whose numbers are degrees, where the unit is another.
pub fn looks_like_degrees([x0, y0, x1, y1]: [f64; 4], crs: &Crs) -> Option<String> {
    if crs.turn().is_some() || [x0, x1].iter().any(|x| x.abs() > 360.0) || [y0, y1].iter().any(|y| y.abs() > 90.0) {
        return None;
    }
    let crs_named = short(crs);
    let unit = match crs.unit_name() {
        "metre" => format!("{crs_named} is in metres"),
        unit => format!("the unit of {crs_named} is the {unit}"),
    };
    Some(format!("; the box looks like degrees, {unit}"))
}

/// `bbox [1, 2, 3, 4] in EPSG:32615`, as it was typed.
pub fn typed(bbox: [f64; 4], crs: &Crs) -> String {
    format!("bbox {} in {}", shown(bbox), short(crs))
}

/// A box as it was typed.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(crs: &str, bbox: [f64; 4], resolution: f64) -> Result<()> {
        check(&Grid::new(bbox, resolution).unwrap(), &Crs::new(crs).unwrap(), bbox)
    }

    #[test]
    fn boxes_that_exist_are_taken() {
        for (crs, bbox, resolution) in [
            ("EPSG:4326", [-180.125, -90.125, 179.875, 90.125], 0.25),
            ("OGC:CRS84", [170.0, -10.0, 530.0, 10.0], 1.0),
            ("EPSG:4807", [0.0, 90.0, 400.0, 100.0], 1.0),
            ("EPSG:32615", [166_021.0, 0.0, 833_978.0, 9_329_005.0], 1000.0),
            ("EPSG:3857", [19_900_000.0, 0.0, 20_300_000.0, 1e6], 1000.0),
            ("EPSG:3857", [20_100_000.0, 0.0, 20_300_000.0, 1e6], 1000.0),
            ("EPSG:3031", [-3e6, -3e6, 3e6, 3e6], 1e4),
            ("ESRI:54009", [-18_040_096.0, -9_020_048.0, 18_040_096.0, 9_020_048.0], 1e5),
            ("IAU_2015:49910", [-1e6, -1e6, 1e6, 1e6], 1e4),
        ] {
            checked(crs, bbox, resolution).unwrap_or_else(|e| panic!("{crs}: {e}"));
        }
    }

    #[test]
    fn boxes_of_nowhere_are_refused() {
        for (crs, bbox, resolution, why) in [
            ("EPSG:4326", [44.49, -90.05, 44.52, -90.01], 0.001, "latitudes end at 90"),
            ("EPSG:4326", [0.0, 85.0, 10.0, 95.0], 1.0, "latitudes end at 90"),
            ("EPSG:4326", [500_000.0, 4.0, 500_001.0, 5.0], 0.1, "longitude"),
            ("EPSG:4807", [0.0, 90.0, 10.0, 110.0], 1.0, "latitudes end at 100"),
            ("EPSG:4326", [44.49, -90.05, 44.52, -90.01], 0.001, "did you swap latitude and longitude?"),
            ("EPSG:4326", [5e5, 4e6, 5.1e5, 4.1e6], 1e3, "the unit of EPSG:4326 is the degree"),
            ("EPSG:32615", [500_000.0, 5e7, 600_000.0, 5.1e7], 1000.0, "is the box in units of that CRS?"),
            ("EPSG:32615", [5e8, 0.0, 5.01e8, 1e5], 1000.0, "no pixel with a place on the Earth"),
            ("ESRI:54009", [0.0, 1e7, 1e6, 1.1e7], 1000.0, "bbox [0, 10000000, 1000000, 11000000] in ESRI:54009"),
            ("IAU_2015:49910", [1e8, 1e8, 1.1e8, 1.1e8], 1e4, "no pixel with a place on Mars"),
        ] {
            let message = checked(crs, bbox, resolution).map(|()| format!("{crs} {bbox:?}")).unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
        }
    }
}
