use proptest::prelude::*;

use super::*;
use crate::crs::Crs;
use crate::grid::Affine;
use crate::grid::Grid;
use crate::warp::kernel::Kernel;

fn crs(code: &str) -> Crs {
    Crs::new(code).unwrap()
}

/// The source pixel of every pixel of `rect`, by the exact transformation.
fn brute_force(grid: &Grid, grid_crs: &Crs, rect: Rect, source: &Source) -> Vec<(u32, u32)> {
    let to_source = transformer(grid_crs, &source.crs).unwrap();
    let inverse = source.transform.inverse().unwrap();
    let mut out = Vec::new();
    for row in rect.row..rect.row_end() {
        for col in rect.col..rect.col_end() {
            let (x, y) = to_source.point(grid.x(col), grid.y(row));
            let (c, r) = inverse.apply(x, y);
            let (c, r) = (index(c, source.width), index(r, source.height));
            out.push(if c == OUTSIDE || r == OUTSIDE { (OUTSIDE, OUTSIDE) } else { (c, r) });
        }
    }
    out
}

/// The same from a mapping.
fn expanded(mapping: Option<&Mapping>, rect: Rect) -> Vec<(u32, u32)> {
    let mut out = vec![(OUTSIDE, OUTSIDE); rect.pixels()];
    let Some(m) = mapping else { return out };
    for row in 0..m.rect.height {
        for col in 0..m.rect.width {
            let (c, r) = match &m.kind {
                Kind::Aligned { cols, rows } => (cols[col as usize], rows[row as usize]),
                Kind::Scattered { places } => match places[(row * m.rect.width + col) as usize] {
                    OUTSIDE => (OUTSIDE, OUTSIDE),
                    place => (place % m.width, place / m.width),
                },
                _ => panic!("no places"),
            };
            if c != OUTSIDE && r != OUTSIDE {
                let at = (m.rect.row + row - rect.row) * rect.width + (m.rect.col + col - rect.col);
                assert!(c < m.width && r < m.height);
                out[at as usize] = (c + m.col, r + m.row);
            }
        }
    }
    out
}

/// The tiles that a mapping says it touches are those of its pixels.
fn check_touched(m: &Mapping, source: &Source) {
    let first = (m.col / source.tile.0, m.row / source.tile.1);
    let across = ((m.col + m.width - 1) / source.tile.0 - first.0 + 1) as usize;
    let mut touched = vec![false; m.touched.len()];
    for (col, row) in expanded(Some(m), m.rect).into_iter().filter(|p| p.0 != OUTSIDE) {
        touched[(row / source.tile.1 - first.1) as usize * across + (col / source.tile.0 - first.0) as usize] = true;
    }
    assert_eq!(m.touched, touched);
}

fn utm_scene() -> Source {
    Source {
        crs: crs("EPSG:32615"),
        transform: Affine { a: 10.0, b: 0.0, c: 499_980.0, d: 0.0, e: -10.0, f: 4_900_020.0 },
        width: 3000,
        height: 2500,
        tile: (512, 256),
    }
}

#[test]
fn equals_the_exact_transformation() {
    let cases = [
        ("EPSG:5070", [230_000.0, 2_350_000.0, 262_000.0, 2_380_000.0], 30.0, utm_scene()),
        ("EPSG:4326", [-93.05, 44.0, -92.6, 44.3], 0.0004, utm_scene()),
        ("EPSG:32616", [20_000.0, 4_870_000.0, 60_000.0, 4_905_000.0], 50.0, utm_scene()),
        (
            "EPSG:3995",
            [-4_000_000.0, -4_000_000.0, 4_000_000.0, 4_000_000.0],
            10_000.0,
            Source {
                crs: crs("EPSG:4326"),
                transform: Affine { a: 1.0, b: 0.0, c: -180.0, d: 0.0, e: -1.0, f: 90.0 },
                width: 360,
                height: 180,
                tile: (64, 64),
            },
        ),
        (
            "EPSG:32601",
            [100_000.0, 0.0, 900_000.0, 800_000.0],
            2000.0,
            Source {
                crs: crs("EPSG:4326"),
                transform: Affine { a: 0.05, b: 0.0, c: -180.0, d: 0.0, e: -0.05, f: 90.0 },
                width: 7200,
                height: 3600,
                tile: (512, 512),
            },
        ),
        (
            "EPSG:32615",
            [495_000.0, 4_880_000.0, 520_000.0, 4_905_000.0],
            20.0,
            // Rotated by 30 degrees.
            Source {
                transform: Affine { a: 8.66, b: 5.0, c: 500_000.0, d: 5.0, e: -8.66, f: 4_890_000.0 },
                ..utm_scene()
            },
        ),
    ];
    for (code, bbox, resolution, source) in cases {
        let grid = Grid::new(bbox, resolution).unwrap();
        let mapping = Mapping::new(&grid, &crs(code), grid.rect(), &source, Kernel::Nearest).unwrap();
        let got = expanded(mapping.as_ref(), grid.rect());
        let expected = brute_force(&grid, &crs(code), grid.rect(), &source);
        let inside = expected.iter().filter(|p| p.0 != OUTSIDE).count();
        assert!(inside > 1000, "{code}: the case covers nothing");
        check_touched(mapping.as_ref().unwrap(), &source);
        let different = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(different, 0, "{code}: of {} pixels, {inside} inside", got.len());
    }
}

#[test]
fn a_part_is_a_part_of_the_whole() {
    let grid = Grid::new([230_000.0, 2_350_000.0, 262_000.0, 2_380_000.0], 30.0).unwrap();
    let (albers, source) = (crs("EPSG:5070"), utm_scene());
    let whole =
        expanded(Mapping::new(&grid, &albers, grid.rect(), &source, Kernel::Nearest).unwrap().as_ref(), grid.rect());
    let tiling = crate::grid::Tiling { width: grid.width, height: grid.height, size: 187 };
    for (row, col) in (0..tiling.down()).flat_map(|r| (0..tiling.across()).map(move |c| (r, c))) {
        let rect = tiling.rect(row, col);
        let part = expanded(Mapping::new(&grid, &albers, rect, &source, Kernel::Nearest).unwrap().as_ref(), rect);
        for (i, pixel) in part.iter().enumerate() {
            let at = (rect.row + i as u64 / rect.width) * grid.width + rect.col + i as u64 % rect.width;
            assert_eq!(*pixel, whole[at as usize]);
        }
    }
}

#[test]
fn a_centre_on_an_edge_takes_the_right_and_lower_pixel() {
    let source = Source { width: 100, height: 100, ..utm_scene() };
    let grid = Grid::new([499_980.0, 4_899_820.0, 500_180.0, 4_900_020.0], 20.0).unwrap();
    let mapping = Mapping::new(&grid, &source.crs, grid.rect(), &source, Kernel::Nearest).unwrap().unwrap();
    let Kind::Aligned { cols, rows } = &mapping.kind else { panic!("not aligned") };
    assert_eq!((mapping.col, mapping.row), (1, 1));
    assert_eq!(cols, &[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    assert_eq!(rows, cols);
}

#[test]
fn beside_the_source_there_is_nothing() {
    let grid = Grid::new([0.0, 0.0, 10_000.0, 10_000.0], 10.0).unwrap();
    assert_eq!(Mapping::new(&grid, &crs("EPSG:32615"), grid.rect(), &utm_scene(), Kernel::Nearest).unwrap(), None);
    assert_eq!(Mapping::new(&grid, &crs("EPSG:5070"), grid.rect(), &utm_scene(), Kernel::Nearest).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_affine_source_is_exact(a in 5.0f64..40.0, b in -20.0f64..20.0, south_up: bool, dx in -3e3f64..3e3,
                                  resolution in 7.0f64..200.0) {
        let e = if south_up { a } else { -a };
        let source = Source {
            transform: Affine { a, b, c: 500_000.0 + dx, d: b * 0.7, e, f: 4_890_000.0 },
            width: 300, height: 200, ..utm_scene()
        };
        let grid = Grid::new([497_000.0, 4_884_000.0, 509_000.0, 4_896_000.0], resolution).unwrap();
        let mapping = Mapping::new(&grid, &source.crs, grid.rect(), &source, Kernel::Nearest).unwrap();
        prop_assert_eq!(expanded(mapping.as_ref(), grid.rect()), brute_force(&grid, &source.crs, grid.rect(), &source));
    }
}

#[test]
fn a_level_maps_to_another_level() {
    let to_mercator = transformer(&crs("EPSG:32615"), &crs("EPSG:3857")).unwrap();
    let (x, y) = to_mercator.point(505_000.0, 4_890_000.0);
    let levels = [
        // Twice as fine, south-up; turned; half as fine in another CRS.
        Source { transform: Affine { a: 5.0, b: 0.0, c: 500_000.0, d: 0.0, e: 5.0, f: 4_889_000.0 }, ..utm_scene() },
        Source { transform: Affine { a: 8.0, b: 5.0, c: 502_000.0, d: 5.0, e: -8.0, f: 4_895_000.0 }, ..utm_scene() },
        Source {
            crs: crs("EPSG:3857"),
            transform: Affine { a: 28.0, b: 0.0, c: x - 4000.0, d: 0.0, e: -28.0, f: y + 2000.0 },
            ..utm_scene()
        },
    ];
    let to = Source { width: 1100, height: 1200, ..utm_scene() };
    let rect = Rect { col: 40, row: 70, width: 300, height: 200 };
    for from in levels {
        let mapping = Mapping::between(&from, rect, &to).unwrap().unwrap();
        let back = transformer(&from.crs, &to.crs).unwrap();
        let inverse = to.transform.inverse().unwrap();
        let expected = (0..rect.pixels() as u64).map(|i| {
            let (col, row) = ((rect.col + i % rect.width) as f64 + 0.5, (rect.row + i / rect.width) as f64 + 0.5);
            let (x, y) = from.transform.apply(col, row);
            let (x, y) = back.point(x, y);
            let (c, r) = inverse.apply(x, y);
            let (c, r) = (index(c, to.width), index(r, to.height));
            if c == OUTSIDE || r == OUTSIDE { (OUTSIDE, OUTSIDE) } else { (c, r) }
        });
        let got = expanded(Some(&mapping), rect);
        assert!(got.iter().filter(|p| p.0 != OUTSIDE).count() > 1000);
        assert_eq!(got, expected.collect::<Vec<_>>());
    }
}
