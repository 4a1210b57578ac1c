use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::executor::block_on;

use super::*;
use crate::cog::headers::Headers;
use crate::crs::LONLAT;
use crate::grid::{Grid, Tiling};
use crate::items::{Memo, Selection, Source};
use crate::mosaic::Method;
use crate::place::Place;
use crate::request::{Caller, Choice, Request};
use crate::store::{Access, Options, Session};
use crate::time::Period;
use crate::warp::Kernel;

/// 3 rows of 4 tiles of 10 degrees: from longitude 0 to 35, from latitude 25 down to 0.
fn cube(target: impl FnOnce(Tiling) -> Target) -> Arc<Cube> {
    let (grid, crs) = (Grid::new([0.0, 0.0, 35.0, 25.0], 0.5).unwrap(), LONLAT.clone());
    let area = Area::of(&grid, &crs, grid.rect()).unwrap();
    let selection = Selection {
        passes_over: false,
        source: Source::Paths(Vec::new()),
        area: area.clone(),
        datetime: None,
        filter: None,
        ids: None,
        sortby: Vec::new(),
        period: Period::Instant,
        hive: None,
        asset_href: None,
        named: None,
        threads: 1,
        memo: Memo::default(),
    };
    let store = Options {
        store: BTreeMap::new(),
        max_concurrent: 1,
        timeout: Duration::from_secs(1),
        max_retries: 0,
        access: Access::default(),
        allow_local: true,
        files: None,
    };
    let request = Request {
        bbox: [0.0, 0.0, 35.0, 25.0],
        grid,
        crs: crs.clone(),
        selection,
        bands: None,
        mosaic: Choice::all(Method::First),
        resampling: Choice::all(Kernel::Nearest),
        overviews: true,
        mask: None,
        dtype: None,
        nodata: None,
        scale: false,
        errors: OnError::Raise,
        allow_empty: false,
        blobs: false,
        chunk_size: None,
        store: store.clone(),
        href_replace: None,
        items_base: None,
        threads: 1,
        memory_budget: 1 << 28,
        cache_size: 0,
        progress: false,
        caller: Caller { database: 0, connection: 0 },
    };
    Arc::new(Cube {
        request,
        area,
        target: target(Tiling { width: grid.width, height: grid.height, size: 20 }),
        bands: Vec::new(),
        mask: None,
        native: None,
        zoned: None,
        session: Session::new(store),
        headers: Headers::default(),
        levels: Levels::new(grid, crs, true),
        source_pixels: 1.0,
        stored: HashMap::new(),
        is_local: true,
        warnings: HashMap::new(),
        is_parallel: true,
        declares_truly: true,
        unread: Vec::new(),
    })
}

fn item(id: &str, order: u64, step: i64, bbox: [f64; 4]) -> Item {
    let place = Place::new(Some(bbox), None, None).unwrap();
    Item { id: id.into(), order, time: step, step, place, assets: Vec::new(), fault: None }
}

/// Step, tile and items of a unit, and whether it is the last of its step.
type Seen = (u64, (u64, u64), Vec<String>, bool);

fn units(cube: Arc<Cube>) -> Vec<Seen> {
    let items = vec![
        item("west", 0, 100, [1.0, 1.0, 9.0, 24.0]),
        item("all", 1, 100, [0.0, 0.0, 35.0, 25.0]),
        item("middle", 2, 200, [12.0, 7.0, 18.0, 13.0]),
    ];
    let mut units = Units::of(cube.clone(), ItemStream::of(items));
    let mut found = Vec::new();
    while let Some(unit) = block_on(units.next()) {
        let unit = unit.unwrap();
        let ids = unit.items.iter().map(|item| item.id.to_string()).collect();
        assert_eq!(unit.rect.col, unit.chunk_col * 20);
        assert_eq!(*unit.area, Area::of(&cube.request.grid, cube.crs(), unit.rect).unwrap());
        found.push((unit.time_index, (unit.chunk_row, unit.chunk_col), ids, unit.is_last));
    }
    found
}

fn wanted_tiles(tiling: Tiling, wanted: &[(u64, u64)]) -> Target {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    Target::parts(tiling, wanted.into_iter().map(|(row, col)| OutputTile { row, col, rect: tiling.rect(row, col) }))
}

#[test]
fn units_are_those_of_the_wanted_tiles_with_the_items_that_reach_them() {
    let wanted = [(2, 3), (0, 0), (1, 1)];
    let sparse = units(cube(|tiling| wanted_tiles(tiling, &wanted)));
    let ids = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let expected = [
        (0, (0, 0), ids(&["west", "all"]), false),
        (0, (1, 1), ids(&["all"]), false),
        (0, (2, 3), ids(&["all"]), true),
        (1, (0, 0), ids(&[]), false),
        (1, (1, 1), ids(&["middle"]), false),
        (1, (2, 3), ids(&[]), true),
    ];
    assert_eq!(sparse, expected);
    // The same as of the whole grid, without the tiles between.
    let mut dense = units(cube(Target::grid));
    assert_eq!(dense.len(), 24);
    assert_eq!(dense.iter().filter(|(.., is_last)| *is_last).count(), 2);
    dense.retain(|(_, tile, ..)| wanted.contains(tile));
    assert_eq!(dense, expected);
}

#[test]
fn a_target_without_tiles_has_no_units() {
    assert_eq!(units(cube(|tiling| wanted_tiles(tiling, &[]))), []);
}
