//! One item as a server sends it, and what of it becomes columns. What is JSON stays as it was written.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::items::wkb_of_geojson;
use crate::time::parse_instant;

/// An item.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub id: String,
    pub collection: Option<String>,
    pub stac_version: Option<String>,
    /// `datetime`, `start_datetime` and `end_datetime` in microseconds since 1970-01-01T00:00Z.
    pub times: [Option<i64>; 3],
    pub geometry: Option<Vec<u8>>,
    /// West, south, east and north.
    pub bbox: Option<[f64; 4]>,
    /// As the server wrote them, but for relative hrefs, which are made absolute.
    pub assets: String,
    pub properties: String,
}

/// The members of an object, each as text. Of two with one name the last counts.
pub type Members<'a> = HashMap<String, &'a RawValue>;

/// Reads an item of a page that came from `page`.
///
/// # Errors
/// What it is called, as far as it says so, and what is wrong with it.
pub fn row(feature: &RawValue, page: &Url) -> Result<Row, (String, String)> {
    let members: Members =
        serde_json::from_str(feature.get()).map_err(|e| (String::new(), format!("is no object: {e}")))?;
    let Some(id) = text(&members, "id") else { return Err((String::new(), "has no id".to_owned())) };
    read(&members, id.clone(), page).map_err(|why| (id, why))
}

fn read(members: &Members, id: String, page: &Url) -> Result<Row, String> {
    let kind = text(members, "type");
    if kind.as_deref() != Some("Feature") {
        return Err(format!("is no Feature, but {}", kind.map_or("nothing".to_owned(), |kind| format!("a '{kind}'"))));
    }
    let object = |name: &str| -> Result<&RawValue, String> {
        members.get(name).copied().filter(|value| value.get().starts_with('{')).ok_or(format!("has no object '{name}'"))
    };
    let (assets, properties) = (object("assets")?, object("properties")?);
    let of_time: Members = serde_json::from_str(properties.get()).map_err(|e| e.to_string())?;
    let geometry = members.get("geometry").map_or("null", |geometry| geometry.get());
    Ok(Row {
        collection: text(members, "collection"),
        stac_version: text(members, "stac_version"),
        times: [time(&of_time, "datetime")?, time(&of_time, "start_datetime")?, time(&of_time, "end_datetime")?],
        geometry: wkb_of_geojson(geometry).map_err(|why| format!("has a geometry that is {why}"))?,
        bbox: members.get("bbox").and_then(|bbox| edges(bbox.get())),
        assets: absolute(assets.get(), || base(members, page)),
        properties: properties.get().to_owned(),
        id,
    })
}

/// A member that is text.
pub fn text(members: &Members, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// Four numbers, or six with the heights between.
pub fn edges(json: &str) -> Option<[f64; 4]> {
    match serde_json::from_str::<Vec<f64>>(json).ok()?.as_slice() {
        &[west, south, east, north] | &[west, south, _, east, north, _] => Some([west, south, east, north]),
        _ => None,
    }
}

fn time(properties: &Members, name: &str) -> Result<Option<i64>, String> {
    let Some(value) = properties.get(name).filter(|value| value.get() != "null") else { return Ok(None) };
    let read = serde_json::from_str::<String>(value.get()).ok().and_then(|text| parse_instant(text.trim()));
    read.map(Some).ok_or_else(|| format!("has a {name} that is no time: {}", value.get()))
}

/// What relative hrefs of an item belong to: where it says it is, else the page that it came on.
fn base(members: &Members, page: &Url) -> Url {
    let links: Vec<Value> =
        members.get("links").and_then(|links| serde_json::from_str(links.get()).ok()).unwrap_or_default();
    let own = links.iter().find(|link| link.get("rel").and_then(Value::as_str) == Some("self"));
    let own = own.and_then(|link| page.join(link.get("href")?.as_str()?).ok());
    own.filter(|url| matches!(url.scheme(), "http" | "https")).unwrap_or_else(|| page.clone())
}

/// Assets whose hrefs have a scheme each: only the text of those that have none is written anew.
fn absolute(assets: &str, base: impl FnOnce() -> Url) -> String {
    let Ok(by_key) = serde_json::from_str::<Members>(assets) else { return assets.to_owned() };
    let mut found: Vec<(usize, &str, String)> =
        by_key.values().filter_map(|asset| relative(assets, asset.get())).collect();
    if found.is_empty() {
        return assets.to_owned();
    }
    found.sort();
    let (base, mut written, mut from) = (base(), String::with_capacity(assets.len() + 64), 0);
    for (at, json, href) in found {
        let Ok(url) = base.join(&href) else { continue };
        written.push_str(assets.get(from..at).unwrap_or_default());
        written.push_str(&Value::from(url.as_str()).to_string());
        from = at + json.len();
    }
    written.push_str(assets.get(from..).unwrap_or_default());
    written
}

/// Where in `assets` the href of `asset`, a part of it, stands, as JSON and as text, if it is relative.
fn relative<'a>(assets: &str, asset: &'a str) -> Option<(usize, &'a str, String)> {
    let members: HashMap<String, &'a RawValue> = serde_json::from_str(asset).ok()?;
    let json = members.get("href")?.get();
    let href: String = serde_json::from_str(json).ok()?;
    let has_scheme = Url::parse(&href).is_ok() || href.trim_start().contains("://");
    let at = (json.as_ptr() as usize).checked_sub(assets.as_ptr() as usize)?;
    (!has_scheme && !href.is_empty()).then_some((at, json, href))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Row, (String, String)> {
        let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
        row(&raw, &Url::parse("https://h/v1/search").unwrap())
    }

    fn item(more: &str) -> String {
        let times = r#""properties": {"datetime": "2024-05-03T12:00:00+02:00"}"#;
        format!(r#"{{"type": "Feature", "id": "a", "assets": {{ }}, {times}, "geometry": null {more}}}"#)
    }

    #[test]
    fn what_is_json_stays_as_it_was_written() {
        let json = r#"{"type":"Feature","id":"\u0061","stac_version":"1.1.0","collection":"c","bbox":[1,2,0,3,4,9],
            "geometry":{"type":"Point","coordinates":[1,2,3]},
            "properties":{"a" : 1.50, "datetime":null,"start_datetime":"2024-01-01T00:00:00Z","end_datetime":"2024-01-01 01:00:00.5"},
            "assets":{"x": {"href":"s3://b/k","n":[ 1e2 ]}}}"#;
        let row = of(json).unwrap();
        assert_eq!((row.id.as_str(), row.bbox), ("a", Some([1.0, 2.0, 3.0, 4.0])));
        assert_eq!(row.times, [None, Some(1_704_067_200_000_000), Some(1_704_070_800_500_000)]);
        assert!(row.properties.starts_with(r#"{"a" : 1.50, "#));
        assert_eq!(row.assets, r#"{"x": {"href":"s3://b/k","n":[ 1e2 ]}}"#);
        assert_eq!(row.geometry.unwrap().len(), 21);
    }

    #[test]
    fn relative_hrefs_belong_to_the_place_of_the_item() {
        let assets = r#"{"b" : {"n":1.0,"href":"./b.tif"},"a": {"href" :"/a.tif?x"}, "c":{"href":"https://o/c"},"d":{"href":"\/d"},"e":5}"#;
        let written = absolute(assets, || Url::parse("https://h/v1/collections/c/items/i").unwrap());
        assert_eq!(
            written,
            r#"{"b" : {"n":1.0,"href":"https://h/v1/collections/c/items/b.tif"},"a": {"href" :"https://h/a.tif?x"}, "c":{"href":"https://o/c"},"d":{"href":"https://h/d"},"e":5}"#
        );
        let links = |href: &str| {
            item(&format!(r#", "links": [{{"rel": "self", "href": "{href}"}}]"#))
                .replace("{ }", r#"{"r":{"href":"r.tif"}}"#)
        };
        for (own, wanted) in [
            ("https://o/items/a", "https://o/items/r.tif"),
            ("items/a", "https://h/v1/items/r.tif"),
            ("file:///etc/a", "https://h/v1/r.tif"),
        ] {
            assert_eq!(of(&links(own)).unwrap().assets, format!(r#"{{"r":{{"href":"{wanted}"}}}}"#), "{own}");
        }
    }

    #[test]
    fn what_is_no_item_is_told_by_its_name() {
        let why = |json: &str| of(json).unwrap_err();
        assert_eq!(why("[]").0, "");
        assert_eq!(why("{}").1, "has no id");
        assert_eq!(
            why(r#"{"id": "x", "type": "Collection"}"#),
            ("x".into(), "is no Feature, but a 'Collection'".into())
        );
        assert!(why(&item("").replace("{ }", "[]")).1.contains("'assets'"));
        assert!(why(&item("").replace("2024-05-03T", "2024-05-03 at ")).1.contains("datetime that is no time"));
        assert!(why(&item("").replace("null", r#"{"type": "Point", "coordinates": [1]}"#)).1.contains("geometry"));
        assert!(of(&item("")).is_ok());
        assert_eq!(of(&item(r#", "bbox": null"#)).unwrap().bbox, None);
    }
}
