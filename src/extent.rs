//! Whether a grid lies where its CRS can place anything: a box elsewhere would be read as nothing, without a word.

use crate::crs::{Crs, transformer, way_back};
use crate::error::{Error, Result};
use crate::grid::Grid;

/// Pixels looked at along each side of a grid.
const SAMPLES: u64 = 9;

/// Looks at the grid of `bbox`.
///
/// # Errors
/// Pixel centres beyond a pole, longitudes turns away, or no pixel centre that has a place on the ground.
pub fn check(grid: &Grid, crs: &Crs, bbox: [f64; 4]) -> Result<()> {
    match crs.turn() {
        Some(turn) => within_turn(grid, turn, bbox),
        None => has_places(grid, crs, bbox),
    }
}

fn within_turn(grid: &Grid, turn: f64, bbox: [f64; 4]) -> Result<()> {
    let pole = turn / 4.0;
    // Global grids count from pole to pole by pixel centres, so their edges lie half a pixel beyond.
    let beyond = [grid.y(0), grid.y(grid.height - 1)].into_iter().find(|y| y.abs() > pole * (1.0 + 1e-9));
    if let Some(y) = beyond {
        return Err(Error::Argument(format!(
            "bbox {bbox:?} reaches a latitude of {y}, but latitudes end at {pole}; give [xmin, ymin, xmax, ymax], longitudes as x, in \
             units of the crs"
        )));
    }
    let far = turn * 1.5;
    match [grid.x(0), grid.x(grid.width - 1)].into_iter().find(|x| x.abs() > far) {
        Some(x) => Err(Error::Argument(format!(
            "bbox {bbox:?} reaches a longitude of {x}; longitudes are counted from {} to {far}, in units of the crs",
            -far
        ))),
        None => Ok(()),
    }
}

fn has_places(grid: &Grid, crs: &Crs, bbox: [f64; 4]) -> Result<()> {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    let along = |side: u64, i: u64| (side - 1) * i / (SAMPLES - 1);
    for i in 0..SAMPLES * SAMPLES {
        xs.push(grid.x(along(grid.width, i % SAMPLES)));
        ys.push(grid.y(along(grid.height, i / SAMPLES)));
    }
    let given = ys.clone();
    let lonlat = crs.own_lonlat()?;
    transformer(crs, &lonlat)?.transform(&mut xs, &mut ys);
    for (x, y) in xs.iter_mut().zip(&mut ys).filter(|(_, y)| y.abs() > 90.0 + 1e-9) {
        (*x, *y) = (f64::INFINITY, f64::INFINITY);
    }
    // Far outside some projections give places that are others': those do not lead back. Only y tells, x may come round.
    way_back(crs, &lonlat)?.transform(&mut xs, &mut ys);
    let leads_back = |(y, given): (&f64, &f64)| (y - given).abs() <= grid.resolution / 2.0 + 1e-6 * given.abs();
    if ys.iter().zip(&given).any(leads_back) {
        return Ok(());
    }
    Err(Error::Argument(format!(
        "bbox {bbox:?} lies outside of what '{}' can express: none of its pixels has a place on the ground; are they in units of the crs?",
        crs.definition().chars().take(120).collect::<String>()
    )))
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
            ("EPSG:32615", [500_000.0, 5e7, 600_000.0, 5.1e7], 1000.0, "EPSG:32615"),
            ("EPSG:32615", [5e8, 0.0, 5.01e8, 1e5], 1000.0, "EPSG:32615"),
            ("ESRI:54009", [0.0, 1e7, 1e6, 1.1e7], 1000.0, "ESRI:54009"),
        ] {
            let message = checked(crs, bbox, resolution).map(|()| format!("{crs} {bbox:?}")).unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
        }
    }
}
