//! The arguments of a call, one per line: period, datetime, crs, bbox, resolution, href, base, the two of href_replace, dtype,
//! nodata, mosaic, the transform and size of a source, store_options. The CRS is one of a few, by the length of its line: PROJ takes long
//! over others, and has the target `crs` of its own.

use std::collections::BTreeMap;

use lazycogs::area::{Area, Margin};
use lazycogs::cog::Nodata;
use lazycogs::crs::{Crs, LONLAT, transformer};
use lazycogs::grid::{Affine, Grid};
use lazycogs::items::fuzzing::sql_is_closed;
use lazycogs::mosaic::Method;
use lazycogs::pixels::DataType;
use lazycogs::store::config::check_options;
use lazycogs::store::{Address, Config, Hints, Location, shown};
use lazycogs::time::{Interval, Period, parse_instant};
use lazycogs::warp::{Kernel, Kind, Mapping, OUTSIDE, Source, choose_level, pixel_size, target_size};
use regex::Regex;

/// Mappings of larger grids are not made, for speed.
const MAX_PIXELS: u64 = 1 << 16;

const CRSS: [&str; 6] = ["EPSG:32615", "OGC:CRS84", "EPSG:3995", "EPSG:3857", "+proj=sinu +R=6371007.181", "EPSG:4807"];

pub fn arguments(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    times(next(), next());
    space(next(), next(), next(), &text);
    let hrefs = hrefs([next(), next(), next(), next()]);
    types(next(), next(), next());
    stores(&hrefs, &text);
}

fn times(period: &str, datetime: &str) {
    let interval = Interval::parse(datetime);
    if let Ok(interval) = &interval {
        let _ = interval.to_string();
        assert!(interval.start.is_none_or(|start| interval.end.is_none_or(|end| start < end)), "{interval:?}");
    }
    let Ok(period) = Period::parse(Some(period)) else { return };
    assert!(sql_is_closed(&period.step_sql("c1")));
    let known = [0, -1, i64::MIN, i64::MAX];
    for time in known.into_iter().chain(parse_instant(datetime)).chain(interval.ok().and_then(|i| i.start)) {
        let step = period.step_of(time);
        assert!(step <= time, "{period:?} {time} {step}");
    }
}

fn numbers<const N: usize>(line: &str) -> Option<[f64; N]> {
    let numbers: Option<Vec<f64>> = line.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers?.try_into().ok()
}

fn space(crs: &str, bbox: &str, resolution: &str, text: &str) {
    let crs = Crs::new(CRSS[crs.len() % CRSS.len()]);
    let (Some(bbox), Some([resolution])) = (numbers(bbox), numbers(resolution)) else { return };
    let (Ok(grid), Ok(crs)) = (Grid::new(bbox, resolution), crs) else { return };
    if let Ok(area) = Area::of(&grid, &crs, grid.rect()) {
        for [west, south, east, north] in area.boxes(Margin::NONE) {
            let longitudes = -180.0 <= west && west <= east && east <= 180.0;
            assert!(longitudes && south <= north, "{area:?} of {bbox:?}");
        }
        assert!(area.meets(&Area::EARTH, Margin::NONE), "{:?}", area.bounds());
    }
    let source = text.split('\n').nth(12).and_then(numbers::<8>);
    if let (Some(source), true) = (source, grid.width * grid.height <= MAX_PIXELS) {
        mapping(&grid, &crs, source);
    }
}

fn mapping(grid: &Grid, crs: &Crs, [a, b, c, d, e, f, width, height]: [f64; 8]) {
    let transform = Affine { a, b, c, d, e, f };
    let side = |value: f64| (value as u32).clamp(1, i32::MAX as u32);
    let (width, height) = (side(width), side(height));
    for source_crs in [&LONLAT, crs] {
        let source = Source { crs: source_crs.clone(), transform, width, height, tile: (16, 512) };
        if let Ok(Some(size)) = target_size(grid, crs, source_crs, grid.width as f64 / 2.0, grid.height as f64 / 2.0) {
            choose_level([pixel_size(&transform)], size);
        }
        // One flag per tile under the window: a window of a wide source would take them all.
        if u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(512)) > 1 << 20 {
            continue;
        }
        let Ok(Some(mapping)) = Mapping::new(grid, crs, grid.rect(), &source, Kernel::Nearest) else { continue };
        assert!(mapping.rect.col_end() <= grid.width && mapping.rect.row_end() <= grid.height);
        assert!(mapping.col + mapping.width <= width && mapping.row + mapping.height <= height);
        let inside = |places: &[u32], size: u64| places.iter().all(|p| *p == OUTSIDE || u64::from(*p) < size);
        match &mapping.kind {
            Kind::Aligned { cols, rows } => {
                assert!(inside(cols, mapping.width.into()) && inside(rows, mapping.height.into()));
            }
            Kind::Scattered { places } => assert!(inside(places, mapping.window_pixels())),
            _ => {}
        }
    }
}

fn hrefs([href, base, pattern, replacement]: [&str; 4]) -> Vec<Location> {
    let replaced = Regex::new(pattern).map(|pattern| pattern.replace_all(href, replacement).into_owned());
    let hrefs: Vec<String> = [Some(href.to_owned()), replaced.ok()].into_iter().flatten().collect();
    for href in &hrefs {
        let is_remote = matches!(Location::resolve(base, None), Ok(Location::Http(_) | Location::Cloud(_)));
        let is_local = matches!(Location::resolve(href, Some(base)), Ok(Location::File(_)));
        assert!(!(is_remote && is_local), "what a URL named is remote");
    }
    let places = hrefs.iter().flat_map(|href| [None, Some(base)].map(|base| (href, base)));
    let ways = places.flat_map(|(href, base)| [Location::resolve(href, base), Location::resolve_anywhere(href, base)]);
    ways.flatten().collect()
}

/// `store_options` are pairs such as `region=us-west-2`, with `;` between them.
fn stores(locations: &[Location], text: &str) {
    let options = text.split('\n').nth(13).unwrap_or_default();
    let options: BTreeMap<String, String> =
        options.split(';').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let _ = check_options(&options);
    for location in locations {
        let told = location.to_string();
        shown::place(&told);
        location.secrets().hide(&told);
        let address = match location {
            Location::Cloud(url) => Address::of_cloud(url).ok(),
            Location::Http(url) => Address::of_https(url),
            Location::File(_) => None,
        };
        let hints = Hints {
            region: options.get("region").cloned(),
            endpoint: options.get("endpoint").cloned(),
            account: options.get("account_name").cloned(),
            ..Hints::default()
        };
        if let Some(address) = address
            && let Ok(config) = Config::resolve(address, Some(&hints), &options, &BTreeMap::new())
        {
            let parts = [config.region(), config.account()].into_iter().flatten();
            let is_part = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            assert!(parts.map(|part| &part.value).all(|text| is_part(text)));
            config.leads();
        }
    }
}

/// The definition of a CRS, by an argument, an item or a file.
pub fn crs(data: &[u8]) {
    let Ok(crs) = Crs::new(&String::from_utf8_lossy(data)) else { return };
    let _ = crs.same_as(&LONLAT);
    if let Ok(to_lonlat) = transformer(&crs, &LONLAT) {
        let (lon, lat) = to_lonlat.point(500_000.0, 4_000_000.0);
        assert!(lon.is_finite() == lat.is_finite(), "{lon} {lat}");
    }
}

fn types(dtype: &str, nodata: &str, mosaic: &str) {
    let _ = Method::from_name(mosaic);
    let named = DataType::from_name(dtype);
    for dtype in named.into_iter().chain(DataType::ALL) {
        let Some(value) = Nodata::parse(nodata, dtype) else { continue };
        // What a type was said to hold must hold it.
        let held = lazycogs::with_type!(dtype, T => value.cast::<T>().is_some());
        assert!(held, "{nodata} as {dtype}: {value:?}");
    }
}
