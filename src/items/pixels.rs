//! Where the pixels of an item lie, out of the projection extension: `proj:transform` with `proj:shape`, or `proj:bbox`, of the
//! requested assets, else of the item.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::assets::{Assets, map_value, packed};
use super::fields::{Kind, Properties, pointer};
use super::session::{identifier, list};
use crate::grid::Affine;
use crate::place::Pixels;

const OF_ITEM: [&str; 3] = ["proj:transform", "proj:shape", "proj:bbox"];
/// An asset may have a CRS of its own.
const OF_ASSET: [&str; 5] = ["proj:transform", "proj:shape", "proj:bbox", "proj:code", "proj:epsg"];

/// The members of the item, as JSON text; `None` where no item has them.
pub(super) fn of_item(properties: &Properties) -> Option<String> {
    let members: Vec<String> = OF_ITEM
        .iter()
        .filter_map(|name| {
            let field = properties.resolve(name)?;
            let known = matches!(field.kind, Kind::List | Kind::Text | Kind::Json);
            known.then(|| format!("{} := {}", identifier(name), field.sql))
        })
        .collect();
    (!members.is_empty()).then(|| format!("CAST(to_json(struct_pack({})) AS VARCHAR)", members.join(", ")))
}

/// The members of assets, as a VARCHAR[]: an object for each asset, or where assets are JSON the members one by one.
pub(super) fn of_assets(assets: &Assets, keys: &[String]) -> Option<String> {
    let texts: Vec<String> = match assets {
        Assets::Json => {
            let paths = keys.iter().flat_map(|key| OF_ASSET.map(|name| pointer(&[key, name])));
            return Some(format!("CAST(json_extract(\"assets\", {}) AS VARCHAR[])", list(paths)));
        }
        Assets::MapOfJson => {
            let paths = list(OF_ASSET.map(|name| pointer(&[name])));
            keys.iter().map(|key| format!("CAST(json_extract({}, {paths}) AS VARCHAR[])", map_value(key))).collect()
        }
        _ => keys.iter().filter_map(|key| packed(assets, key, &OF_ASSET)).collect(),
    };
    match (texts.is_empty(), assets) {
        (true, _) => None,
        (_, Assets::MapOfJson) => Some(format!("flatten([{}])", texts.join(", "))),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}

/// Reads the pixels of items, of which many repeat: scenes come back to the same grid.
#[derive(Default)]
pub(super) struct Known(HashMap<String, Option<Arc<Pixels>>>);

impl Known {
    /// `item` is what [`of_item`] gives, `assets` what [`of_assets`] does, `crs` the definition of the item's CRS.
    pub(super) fn read(
        &mut self,
        item: Option<&str>,
        crs: Option<&str>,
        assets: &[Option<&str>],
    ) -> Option<Arc<Pixels>> {
        const LIMIT: usize = 4096;
        let parts = [item, crs].into_iter().chain(assets.iter().copied());
        let key = parts.map(|part| part.unwrap_or_default()).collect::<Vec<_>>().join("\0");
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        if self.0.len() >= LIMIT {
            self.0.clear();
        }
        let found = pixels(item, crs, assets).map(Arc::new);
        self.0.insert(key, found.clone());
        found
    }
}

/// What one object tells: a CRS, and corners or a transform with a shape.
struct Told {
    crs: Option<String>,
    raster: Option<(Affine, f64, f64)>,
}

/// The smallest raster that holds all rasters there are; `None` where they do not lie along each other.
fn pixels(item: Option<&str>, crs: Option<&str>, assets: &[Option<&str>]) -> Option<Pixels> {
    // What cannot be read tells nothing: bbox and footprint say where the item is.
    let object = |text: &str| serde_json::from_str::<Value>(text).ok();
    let member_of = |text: &str| object(text).unwrap_or_else(|| Value::String(text.to_owned()));
    let of_item = item.and_then(object).and_then(|item| told(&|name| item.get(name).cloned()).raster);
    let of_assets: Vec<Told> = match assets.first() {
        Some(_) if assets.iter().flatten().all(|text| text.starts_with('{')) => {
            let objects = assets.iter().flatten().filter_map(|text| object(text));
            objects.map(|asset| told(&|name| asset.get(name).cloned())).collect()
        }
        _ => assets
            .chunks(OF_ASSET.len())
            .map(|members| {
                told(&|name| {
                    let at = OF_ASSET.iter().position(|known| *known == name)?;
                    (*members.get(at)?).map(member_of)
                })
            })
            .collect(),
    };
    let mut found: Option<(String, Affine, f64, f64)> = None;
    let told: Vec<&Told> = of_assets.iter().filter(|asset| asset.raster.is_some() || of_item.is_some()).collect();
    let item_alone = [&Told { crs: None, raster: None }];
    for asset in if told.is_empty() { &item_alone[..] } else { &told } {
        let crs = asset.crs.as_deref().or(crs)?;
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

fn told(member: &dyn Fn(&str) -> Option<Value>) -> Told {
    let text = |name: &str| member(name).and_then(|value| value.as_str().map(str::to_owned));
    let epsg = || match member("proj:epsg")? {
        Value::Number(code) => Some(format!("EPSG:{code}")),
        Value::String(code) => Some(format!("EPSG:{code}")),
        _ => None,
    };
    let crs = text("proj:code").or_else(epsg);
    let transform = || {
        let [a, b, c, d, e, f, ..] = numbers(member("proj:transform")?)?[..] else { return None };
        let [height, width] = numbers(member("proj:shape")?)?[..] else { return None };
        let affine = Affine { a, b, c, d, e, f };
        (affine.inverse().is_some() && width > 0.0 && height > 0.0).then_some((affine, width, height))
    };
    let corners = || match numbers(member("proj:bbox")?)?[..] {
        [xmin, ymin, xmax, ymax] | [xmin, ymin, _, xmax, ymax, _] => of_corners([xmin, ymin, xmax, ymax]),
        _ => None,
    };
    Told { crs, raster: transform().or_else(corners) }
}

fn of_corners([xmin, ymin, xmax, ymax]: [f64; 4]) -> Option<(Affine, f64, f64)> {
    let affine = Affine { a: xmax - xmin, b: 0.0, c: xmin, d: 0.0, e: ymin - ymax, f: ymax };
    (xmin < xmax && ymin < ymax).then_some((affine, 1.0, 1.0))
}

/// A list of finite numbers, or JSON text of one.
fn numbers(value: Value) -> Option<Vec<f64>> {
    let list = match value {
        Value::Array(list) => list,
        Value::String(text) => serde_json::from_str(&text).ok()?,
        _ => return None,
    };
    list.iter().map(|number| number.as_f64().filter(|n| n.is_finite())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSFORM: &str = r#"{"proj:transform":[10,0,500000,0,-10,5200000,0,0,1],"proj:shape":[200,100]}"#;

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
        let members = [Some("[10,0,0,0,-10,0]"), Some("[2,3]"), None, Some("\"EPSG:3857\""), None];
        assert_eq!(corners(&pixels(None, None, &members).unwrap()), [0.0, -20.0, 30.0, 0.0]);
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
