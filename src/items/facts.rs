//! What an item and its assets say about pixels and where they are, out of JSON.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::item::{Asset, Named, PerBand};
use super::json::{self, elements, told};
use super::storage::{self, Storage};

/// What of an asset can matter to a read.
pub(super) const FACTS: [&str; 9] = [
    "nodata",
    "bands",
    "raster:bands",
    "raster:scale",
    "raster:offset",
    "proj:code",
    "proj:epsg",
    "proj:wkt2",
    "proj:projjson",
];
/// What an item may say for all of its assets.
pub(super) const OF_ITEM: [&str; 7] =
    ["nodata", "raster:scale", "raster:offset", "proj:code", "proj:epsg", "proj:wkt2", "proj:projjson"];
/// What of a band can matter: STAC 1.1 `bands` and the raster extension's `raster:bands`.
pub(super) const BAND_FACTS: [&str; 5] = ["nodata", "scale", "offset", "raster:scale", "raster:offset"];
/// What a band can be called by.
pub(super) const BAND_NAMES: [&str; 3] = ["name", "common_name", "eo:common_name"];

/// What an asset (or an item's properties) says about pixels, and about where they are stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Facts {
    pub nodata: PerBand,
    pub scale: PerBand,
    pub offset: PerBand,
    pub crs: Option<Arc<str>>,
    pub storage: Option<Arc<Storage>>,
    /// The href that the call chose instead of the asset's own.
    pub href: Option<String>,
}

impl Facts {
    /// The asset with these facts, and with those of its item where these say nothing.
    pub(super) fn asset(&self, href: &str, item: &Facts) -> Asset {
        let hints = storage::hints(self.storage.as_deref(), item.storage.as_deref());
        Asset {
            href: self.href.as_deref().unwrap_or(href).into(),
            base: None,
            nodata: self.nodata.or(&item.nodata),
            scale: self.scale.or(&item.scale),
            offset: self.offset.or(&item.offset),
            crs: self.crs.clone().or_else(|| item.crs.clone()),
            store: hints.map(Arc::new),
            fault: None,
        }
    }
}

/// What matters of an asset that is a text, with the members that `more` names.
///
/// # Errors
/// A text that is no JSON object.
pub(super) fn asset_object(json: &str, chosen: Option<&str>, more: &[&str]) -> Result<Value, String> {
    let chosen = chosen.and_then(|path| path.split('.').next());
    let wanted = [&["href"], &FACTS[..], &storage::OF_ASSET, more, chosen.as_slice()];
    // An asset may be a text that holds the object.
    match json.trim_start().starts_with('"') {
        true => match json::parse(json)? {
            Value::String(text) => json::pick(&text, &wanted),
            _ => json::pick(json, &wanted),
        },
        false => json::pick(json, &wanted),
    }
}

/// The href of an asset object.
pub(super) fn href(asset: &Value) -> Result<String, String> {
    asset.get("href").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| "has no href".to_owned())
}

/// What an item says for all of its assets: in columns, here as the text of an object, and in properties that are JSON.
///
/// # Errors
/// Properties that are no JSON object.
pub(super) fn of_item(columns: Option<&str>, properties: Option<&str>) -> Result<Facts, String> {
    let wanted = [&OF_ITEM[..], &storage::OF_ITEM];
    let mut known = match properties.map(str::trim) {
        None | Some("null") => Value::Null,
        Some(text) => json::pick(text, &wanted).map_err(|what| format!("the text of 'properties' {what}"))?,
    };
    if let Some(Value::Object(columns)) = columns.map(json::parse).transpose()? {
        let columns = columns.into_iter().filter(|(_, value)| !value.is_null());
        match &mut known {
            Value::Object(known) => known.extend(columns),
            _ => known = Value::Object(columns.collect()),
        }
    }
    facts(&known, None)
}

/// Reads the facts of an asset object, or of the properties of an item. `bands` and `raster:bands` speak per band, the object
/// itself for all of them. `chosen` is the way to the href that the call wants.
///
/// # Errors
/// A text that should hold JSON and does not; an asset without the href that the call wants.
pub(super) fn facts(object: &Value, chosen: Option<&str>) -> Result<Facts, String> {
    let mut facts = Facts { crs: crs(object)?, ..Facts::default() };
    facts.nodata.all = number(object, "nodata")?;
    // A scale of NaN is a column of numbers without one.
    let finite = |object: &Value, names: [&str; 2]| -> Result<Option<f64>, String> {
        let [a, b] = names;
        Ok(number(object, a)?.or(number(object, b)?).filter(|number| number.is_finite()))
    };
    facts.scale.all = finite(object, ["scale", "raster:scale"])?;
    facts.offset.all = finite(object, ["offset", "raster:offset"])?;
    for name in ["raster:bands", "bands"] {
        for (index, band) in elements(object, name)?.iter().enumerate() {
            facts.nodata.set(index, number(band, "nodata")?);
            facts.scale.set(index, finite(band, ["scale", "raster:scale"])?);
            facts.offset.set(index, finite(band, ["offset", "raster:offset"])?);
        }
    }
    let mut storage_of = Cow::Borrowed(object);
    if let Some(path) = chosen {
        let (href, holder) = chosen_href(object, path)?;
        facts.href = Some(href);
        if storage::read(&holder)?.is_some() {
            storage_of = Cow::Owned(holder);
        }
    }
    facts.storage = storage::read(&storage_of)?.map(Arc::new);
    Ok(facts)
}

/// The href at the end of a path such as `alternate.s3`, and the object that holds it.
fn chosen_href(object: &Value, path: &str) -> Result<(String, Value), String> {
    let missing = || format!("has no '{path}'");
    let mut place = object.clone();
    for name in path.split('.') {
        place = told(place.get(name).ok_or_else(missing)?)?.into_owned();
    }
    match &place {
        Value::String(href) => Ok((href.clone(), Value::Null)),
        _ => {
            let href = place.get("href").and_then(Value::as_str).ok_or_else(missing)?.to_owned();
            Ok((href, place))
        }
    }
}

/// What the bands of an asset are called, by `eo:bands` and `bands`.
pub(super) fn band_names(asset: &Value) -> Result<Vec<Named>, String> {
    let mut names: Vec<Named> = Vec::new();
    for list in ["bands", "eo:bands"] {
        for (index, band) in elements(asset, list)?.iter().enumerate() {
            let text = |name: &str| band.get(name).and_then(Value::as_str).map(str::to_owned);
            if names.len() <= index {
                names.resize_with(index + 1, Named::default);
            }
            if let Some(named) = names.get_mut(index) {
                named.name = named.name.take().or_else(|| text("name"));
                let common = text("eo:common_name").or_else(|| text("common_name"));
                named.common_name = named.common_name.take().or(common);
            }
        }
    }
    Ok(names)
}

/// A definition for PROJ.
pub(super) fn crs(object: &Value) -> Result<Option<Arc<str>>, String> {
    let member = |name: &str| object.get(name).map(told).transpose().map_err(|what| format!("'{name}' {what}"));
    for name in ["proj:code", "proj:epsg"] {
        let found = match member(name)?.as_deref() {
            Some(Value::Number(number)) => number.as_f64().map(|code| format!("EPSG:{code}")),
            Some(Value::String(text)) => match text.trim().parse::<f64>() {
                Ok(code) if code.is_finite() => Some(format!("EPSG:{code}")),
                Ok(_) => None,
                Err(_) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            },
            _ => None,
        };
        if let Some(found) = found {
            return Ok(Some(found.into()));
        }
    }
    for name in ["proj:wkt2", "proj:projjson"] {
        match member(name)?.as_deref() {
            Some(Value::String(text)) if !text.is_empty() => return Ok(Some(text.as_str().into())),
            Some(projjson) if projjson.get("type").is_some_and(Value::is_string) => {
                return Ok(Some(projjson.to_string().into()));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// A number, or the text of one: STAC writes NaN and the infinities as text. Another text says nothing (`"none"`).
fn number(object: &Value, name: &str) -> Result<Option<f64>, String> {
    let Some(value) = object.get(name) else { return Ok(None) };
    Ok(match told(value).map_err(|what| format!("'{name}' {what}"))?.as_ref() {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts_of(asset: Value) -> Facts {
        facts(&asset, None).unwrap()
    }

    #[test]
    fn facts_of_bands_come_before_those_of_the_asset() {
        let facts = facts_of(
            json!({"nodata": 7, "raster:bands": [{"nodata": "nan", "scale": 0.1}, {"offset": -1, "unit": "m"}]}),
        );
        assert!(facts.nodata.of(0).unwrap().is_nan());
        assert_eq!((facts.nodata.of(1), facts.nodata.of(5)), (Some(7.0), Some(7.0)));
        assert_eq!([facts.scale.of(0), facts.scale.of(1)], [Some(0.1), None]);
        assert_eq!([facts.offset.of(0), facts.offset.of(1)], [None, Some(-1.0)]);
    }

    #[test]
    fn bands_that_say_nothing_leave_it_to_the_asset_and_it_to_the_item() {
        let asset = facts_of(json!({"nodata": 0, "raster:scale": 2, "bands": [{"name": "red"}, {"name": "nir"}]}));
        assert_eq!((asset.nodata.of(1), asset.scale.of(0), asset.crs.clone()), (Some(0.0), Some(2.0), None));
        assert_eq!(facts_of(json!({"href": "x"})), Facts::default());
        let item = facts_of(json!({"nodata": -1, "raster:offset": "3", "raster:scale": "NaN", "proj:epsg": 4326}));
        let both = asset.asset("x", &item);
        assert_eq!((both.nodata.of(0), both.scale_offset_of(1)), (Some(0.0), Some((2.0, 3.0))));
        assert_eq!(both.crs.as_deref(), Some("EPSG:4326"));
        assert_eq!(Facts::default().asset("x", &item).scale_offset_of(0), Some((1.0, 3.0)));
    }

    #[test]
    fn crs_in_every_spelling() {
        let crs = |value: Value| facts_of(value).crs.map(|crs| crs.to_string());
        assert_eq!(crs(json!({"proj:code": "IAU:1", "proj:epsg": 4326})), Some("IAU:1".into()));
        assert_eq!(crs(json!({"proj:code": null, "proj:epsg": 32615})), Some("EPSG:32615".into()));
        assert_eq!(crs(json!({"proj:epsg": "32615.0"})), Some("EPSG:32615".into()));
        assert_eq!(crs(json!({"proj:epsg": "\"EPSG:32615\""})), Some("EPSG:32615".into()));
        assert_eq!(crs(json!({"proj:epsg": "nan"})), None);
        assert_eq!(crs(json!({"proj:epsg": null, "proj:wkt2": "PROJCRS[]"})), Some("PROJCRS[]".into()));
        let projjson = json!({"type": "GeographicCRS"});
        assert_eq!(crs(json!({"proj:projjson": projjson.to_string()})), Some(projjson.to_string()));
        assert_eq!(crs(json!({"proj:projjson": projjson})), Some(projjson.to_string()));
        assert_eq!(crs(json!({"proj:projjson": {"type": null}})), None);
    }

    #[test]
    fn json_as_text_is_read_and_what_is_none_is_an_error() {
        let facts =
            facts_of(json!({"nodata": "\"inf\"", "raster:bands": "[{\"nodata\": NaN}, \"{\\\"scale\\\": 2}\"]"}));
        assert!(facts.nodata.of(0).unwrap().is_nan());
        assert_eq!((facts.nodata.of(1), facts.scale.of(1)), (Some(f64::INFINITY), Some(2.0)));
        assert!(super::facts(&json!({"raster:bands": "[{"}), None).unwrap_err().contains("'raster:bands'"));
        assert_eq!(facts_of(json!({"nodata": "none"})), Facts::default());
    }

    #[test]
    fn another_href_by_its_path() {
        let asset = json!({"href": "a", "alternate": {"s3": {"href": "s3://b/c"}, "plain": "d", "odd": {}}});
        let href = |path: &str| facts(&asset, Some(path)).map(|facts| facts.href.unwrap());
        assert_eq!(href("alternate.s3"), Ok("s3://b/c".into()));
        assert_eq!(href("alternate.plain"), Ok("d".into()));
        for path in ["alternate.odd", "alternate.none", "", "href.x", "alternate"] {
            assert_eq!(href(path), Err(format!("has no '{path}'")));
        }
        assert_eq!(
            facts(&json!({"alternate": "{\"s3\": {\"href\": \"x\"}}"}), Some("alternate.s3")).unwrap().href.unwrap(),
            "x"
        );
    }

    #[test]
    fn names_of_bands() {
        let asset = json!({"eo:bands": [{"name": "B4", "common_name": "red"}], "bands": [{"name": "a"}, {"eo:common_name": "nir"}]});
        let names = band_names(&asset).unwrap();
        assert_eq!((names[0].name.as_deref(), names[0].common_name.as_deref()), (Some("a"), Some("red")));
        assert_eq!(names[1].common_name.as_deref(), Some("nir"));
    }
}
