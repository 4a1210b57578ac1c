//! Where the pixels of an item lie, out of the projection extension: `proj:transform` with `proj:shape`, or `proj:bbox`, of the
//! requested assets, else of the item.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::assets::{AssetSql, Assets, packed};
use super::{facts, json};
use crate::grid::Affine;
use crate::place::Pixels;

/// Members of an item, and of an asset, which may have a CRS of its own.
pub(super) const OF_ITEM: [&str; 7] =
    ["proj:transform", "proj:shape", "proj:bbox", "proj:code", "proj:epsg", "proj:wkt2", "proj:projjson"];

/// What the column that tells of the assets holds.
#[derive(Debug)]
pub(super) enum Form {
    /// One text with all assets, of which these count.
    Whole(Vec<String>),
    /// A VARCHAR[] of asset after asset.
    Texts,
    /// The same, with no other members than ours.
    Packed,
}

/// The SQL that tells of assets; `None` where it tells nothing.
pub(super) fn of_assets(assets: &Assets, keys: &[String], own: &str) -> Option<(String, Form)> {
    if assets.is_read_whole(keys) && !keys.is_empty() {
        return Some((assets.whole(), Form::Whole(keys.to_vec())));
    }
    let mut form = Form::Packed;
    let mut text = |key: &String| {
        packed(assets, key, &OF_ITEM, own).or_else(|| match assets.sql(key, &[], own)? {
            AssetSql::Json(json) => {
                form = Form::Texts;
                Some(json)
            }
            AssetSql::Typed { .. } => None,
        })
    };
    let texts: Vec<String> = keys.iter().filter_map(&mut text).collect();
    (!texts.is_empty()).then(|| (format!("[{}]", texts.join(", ")), form))
}

/// Our members of an object that is a text; `None` where there are none. What cannot be read tells nothing: bbox and footprint say
/// where the item is, and whoever reads the asset what is wrong with it.
pub(super) fn of_text(text: &str) -> Option<String> {
    if !text.contains("proj:") {
        return None;
    }
    let picked = match text.trim_start().starts_with('"') {
        true => json::pick(json::parse(text).ok()?.as_str()?, &[&OF_ITEM]),
        false => json::pick(text, &[&OF_ITEM]),
    };
    picked.ok().map(|object| object.to_string())
}

/// [`of_text`] of some of the members of an object.
pub(super) fn members_of<'a>(text: &'a str, keys: &[String]) -> Vec<Option<Cow<'a, str>>> {
    if !text.contains("proj:") {
        return Vec::new();
    }
    // As above.
    let members: HashMap<Cow<str>, &str> = json::members(text).unwrap_or_default().into_iter().collect();
    keys.iter().map(|key| members.get(key.as_str()).and_then(|json| of_text(json)).map(Cow::Owned)).collect()
}

/// Reads the pixels of items, of which many repeat: scenes come back to the same grid.
#[derive(Default)]
pub(super) struct Known(HashMap<String, Option<Arc<Pixels>>>);

impl Known {
    /// `item` are its columns and its properties; `assets` are objects with our members.
    pub(super) fn read(&mut self, item: [Option<&str>; 2], assets: &[Option<Cow<str>>]) -> Option<Arc<Pixels>> {
        const LIMIT: usize = 4096;
        let [columns, properties] = item;
        let properties = properties.and_then(of_text);
        let item = [columns, properties.as_deref()];
        let assets: Vec<Option<&str>> = assets.iter().map(Option::as_deref).collect();
        if item.iter().chain(&assets).all(Option::is_none) {
            return None;
        }
        let parts = item.into_iter().chain(assets.iter().copied());
        let key = parts.map(|part| part.unwrap_or_default()).collect::<Vec<_>>().join("\0");
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        if self.0.len() >= LIMIT {
            self.0.clear();
        }
        let found = pixels(item, &assets).map(Arc::new);
        self.0.insert(key, found.clone());
        found
    }
}

/// What one object tells: a CRS, and corners or a transform with a shape.
struct Told {
    crs: Option<Arc<str>>,
    raster: Option<(Affine, f64, f64)>,
}

/// The smallest raster that holds all rasters there are; `None` where they do not lie along each other.
fn pixels(item: [Option<&str>; 2], assets: &[Option<&str>]) -> Option<Pixels> {
    // What cannot be read tells nothing: bbox and footprint say where the item is.
    let object = |text: &str| match json::parse(text).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    };
    let [columns, properties] = item;
    let mut of_item = properties.and_then(object).unwrap_or_default();
    // Columns win over members of `properties`, as they do by name.
    of_item.extend(columns.and_then(object).unwrap_or_else(Map::new).into_iter().filter(|(_, value)| !value.is_null()));
    let Told { crs, raster: of_item } = told(&Value::Object(of_item));
    let of_assets: Vec<Told> =
        assets.iter().flatten().filter_map(|text| object(text)).map(|asset| told(&Value::Object(asset))).collect();
    let mut found: Option<(String, Affine, f64, f64)> = None;
    let told: Vec<&Told> = of_assets.iter().filter(|asset| asset.raster.is_some() || of_item.is_some()).collect();
    let item_alone = [&Told { crs: None, raster: None }];
    for asset in if told.is_empty() { &item_alone[..] } else { &told } {
        let crs = asset.crs.as_deref().or(crs.as_deref())?;
        let (affine, width, height) = asset.raster.or(of_item)?;
        found = Some(match found {
            None => (crs.to_owned(), affine, width, height),
            Some(found) => together(found, (crs, affine, width, height))?,
        });
    }
    found.map(|(crs, affine, width, height)| Pixels::new(crs.into(), affine, width, height))
}

fn together(a: (String, Affine, f64, f64), b: (&str, Affine, f64, f64)) -> Option<(String, Affine, f64, f64)> {
    let ((crs, affine, width, height), (other_crs, other, other_width, other_height)) = (a, b);
    let far = affine.apply(width, height);
    let other_far = other.apply(other_width, other_height);
    let aligned = affine.is_axis_aligned() && other.is_axis_aligned();
    if crs != other_crs || !aligned {
        return None;
    }
    let least = |values: [f64; 4]| values.into_iter().fold(f64::INFINITY, f64::min);
    let most = |values: [f64; 4]| values.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let (xs, ys) = ([affine.c, far.0, other.c, other_far.0], [affine.f, far.1, other.f, other_far.1]);
    let (affine, width, height) = of_corners([least(xs), least(ys), most(xs), most(ys)])?;
    Some((crs, affine, width, height))
}

fn told(object: &Value) -> Told {
    let numbers = |name: &str| numbers(object, name);
    let transform = || {
        let [a, b, c, d, e, f, ..] = numbers("proj:transform")?[..] else { return None };
        let [height, width] = numbers("proj:shape")?[..] else { return None };
        let affine = Affine { a, b, c, d, e, f };
        (affine.inverse().is_some() && width > 0.0 && height > 0.0).then_some((affine, width, height))
    };
    let corners = || match numbers("proj:bbox")?[..] {
        [xmin, ymin, xmax, ymax] | [xmin, ymin, _, xmax, ymax, _] => of_corners([xmin, ymin, xmax, ymax]),
        _ => None,
    };
    Told { crs: facts::crs(object).ok().flatten(), raster: transform().or_else(corners) }
}

fn of_corners([xmin, ymin, xmax, ymax]: [f64; 4]) -> Option<(Affine, f64, f64)> {
    let affine = Affine { a: xmax - xmin, b: 0.0, c: xmin, d: 0.0, e: ymin - ymax, f: ymax };
    (xmin < xmax && ymin < ymax).then_some((affine, 1.0, 1.0))
}

/// A list of finite numbers, or JSON text of one.
fn numbers(object: &Value, name: &str) -> Option<Vec<f64>> {
    let list = json::elements(object, name).ok()?;
    list.iter().map(|number| number.as_f64().filter(|n| n.is_finite())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSFORM: &str = r#"{"proj:transform":[10,0,500000,0,-10,5200000,0,0,1],"proj:shape":[200,100]}"#;

    /// An item of a CRS, with what else it says and its assets.
    fn pixels(item: Option<&str>, crs: Option<&str>, assets: &[Option<&str>]) -> Option<Pixels> {
        let crs = crs.map(|crs| format!("{{\"proj:code\":\"{crs}\"}}"));
        super::pixels([crs.as_deref(), item], assets)
    }

    fn corners(pixels: &Pixels) -> [f64; 4] {
        let (xmax, ymin) = pixels.affine.apply(pixels.width, pixels.height);
        [pixels.affine.c, ymin, xmax, pixels.affine.f]
    }

    #[test]
    fn transform_and_shape_or_corners() {
        let wanted = [500000.0, 5198000.0, 501000.0, 5200000.0];
        for text in [TRANSFORM, r#"{"proj:bbox":"[500000, 5198000, 0, 501000, 5200000, 9]"}"#] {
            let found = pixels(Some(text), Some("EPSG:32633"), &[]).unwrap();
            assert_eq!((corners(&found), &*found.crs), (wanted, "EPSG:32633"), "{text}");
        }
    }

    #[test]
    fn assets_come_before_the_item_and_are_put_together() {
        let other = r#"{"proj:bbox":[500000,5198000,501000,5200000],"proj:epsg":32634}"#;
        let found = pixels(Some(other), Some("EPSG:32633"), &[Some(TRANSFORM), Some(TRANSFORM)]).unwrap();
        assert_eq!(&*found.crs, "EPSG:32633");
        let larger = r#"{"proj:bbox":[499000,5198000,500500,5200500]}"#;
        let found = pixels(None, Some("EPSG:32633"), &[Some(TRANSFORM), Some(larger)]).unwrap();
        assert_eq!(corners(&found), [499000.0, 5198000.0, 501000.0, 5200500.0]);
        assert_eq!(pixels(None, Some("EPSG:32633"), &[Some(TRANSFORM), Some(other)]), None, "two CRSs");
        let texts = r#"{"proj:transform":"[10,0,0,0,-10,0]","proj:shape":[2,3],"proj:epsg":"3857"}"#;
        assert_eq!(corners(&pixels(None, None, &[Some(texts)]).unwrap()), [0.0, -20.0, 30.0, 0.0]);
    }

    #[test]
    fn nonsense_tells_nothing() {
        for text in ["", "{", "{}", r#"{"proj:bbox":[1,2,3]}"#, r#"{"proj:bbox":[3,0,1,2]}"#, r#"{"proj:shape":[1,2]}"#]
        {
            assert_eq!(pixels(Some(text), Some("EPSG:4326"), &[]), None, "{text}");
        }
        assert_eq!(pixels(Some(TRANSFORM), None, &[]), None);
    }
}
