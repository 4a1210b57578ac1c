//! Item rows and filters.

use std::sync::LazyLock;

use lazycogs::area::Area;
use lazycogs::crs::LONLAT;
use lazycogs::grid::Grid;
use lazycogs::items::fuzzing::{Shape, filter_sql, first_item, layout_sql, read_item, sql_is_closed};
use serde_json::Value;

static AREA: LazyLock<Area> = LazyLock::new(|| {
    let grid = Grid::new([-100.0, 30.0, -80.0, 50.0], 1.0).expect("a valid grid");
    Area::of(&grid, &LONLAT, grid.rect()).expect("a valid area")
});

/// A STAC item: a letter whose bits tell how the table is typed, the item as JSON, a NUL, its geometry as WKB or GeoJSON.
pub fn rows(data: &[u8]) {
    let Some((bits, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (json, geometry) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let item: Value = serde_json::from_slice(json).unwrap_or_default();
    let bit = |n: u8| bits & 1 << n != 0;
    let shape = Shape { map: bit(0), text: bit(1), several: bit(2) };
    for sql in layout_sql(&item, shape).unwrap_or_default() {
        assert!(sql_is_closed(&sql), "{sql}");
    }
    if let Ok(Some(item)) = read_item(&item, geometry, bit(3)) {
        assert!(item.place.touches(&Area::EARTH), "{:?}", item.place);
        assert!(!item.place.touches(&AREA) || item.place.reaches(&AREA), "{:?}", item.place);
        let share = item.place.share_of(&AREA);
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
    let assets = item.get("assets").and_then(Value::as_object).into_iter().flatten();
    let assets: Vec<(String, String)> = assets.map(|(key, asset)| (key.clone(), asset.to_string())).collect();
    let _ = first_item(&item, &assets);
}

/// A CQL2 filter, text or JSON.
pub fn filter(data: &[u8]) {
    if let Ok(sql) = filter_sql(&String::from_utf8_lossy(data)) {
        assert!(sql_is_closed(&sql), "{sql}");
    }
}
