//! The STAC Storage Extension: what an item says about the stores of its assets.
//!
//! Version 1 has `storage:platform`, `storage:region`, `storage:requester_pays` and `storage:tier` on the asset or the item;
//! version 2 has `storage:schemes` on the item and `storage:refs`, names of schemes, on the asset.
//! <https://github.com/stac-extensions/storage>

use serde_json::{Map, Value};

use super::json::{elements, told};
use crate::store::{Hints, Service, is_name};

/// Fields of an asset.
pub(super) const OF_ASSET: [&str; 5] =
    ["storage:platform", "storage:region", "storage:requester_pays", "storage:tier", "storage:refs"];
/// Fields of an item.
pub(super) const OF_ITEM: [&str; 5] =
    ["storage:platform", "storage:region", "storage:requester_pays", "storage:tier", "storage:schemes"];

/// Bytes of the URL of a store: no host takes more.
const MAX_URL: usize = 4096;

/// What one object, an asset or an item, says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Storage {
    own: Hints,
    refs: Vec<String>,
    schemes: Vec<Hints>,
}

/// `None` where nothing is said.
///
/// # Errors
/// A text that should hold JSON and does not.
pub(super) fn read(object: &Value) -> Result<Option<Storage>, String> {
    let own = Hints {
        service: text(object, "storage:platform").as_deref().and_then(service_of_platform),
        region: text(object, "storage:region"),
        requester_pays: boolean(object.get("storage:requester_pays")),
        tier: text(object, "storage:tier"),
        ..Hints::default()
    };
    let refs = elements(object, "storage:refs")?;
    let refs = refs.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    // It may be a column of text.
    let schemes =
        object.get("storage:schemes").map(told).transpose().map_err(|what| format!("'storage:schemes' {what}"))?;
    let schemes = match schemes.as_deref() {
        Some(Value::Object(schemes)) => schemes.iter().filter_map(scheme).collect(),
        _ => Vec::new(),
    };
    let storage = Storage { own, refs, schemes };
    Ok((storage != Storage::default()).then_some(storage))
}

/// What holds for an asset: the first of its schemes that the item has, else the asset's own fields before those of the item.
pub(super) fn hints(asset: Option<&Storage>, item: Option<&Storage>) -> Option<Hints> {
    let schemes = item.map_or(&[][..], |item| &item.schemes);
    let refs = asset.map_or(&[][..], |asset| &asset.refs);
    let named = refs.iter().find_map(|name| schemes.iter().find(|s| s.scheme.as_ref() == Some(name)));
    if named.is_some() {
        return named.cloned();
    }
    let (asset, item) = (asset.map(|a| &a.own), item.map(|i| &i.own));
    let either = [asset, item].into_iter().flatten();
    let merged = either.fold(Hints::default(), |merged, own| Hints {
        service: merged.service.or(own.service),
        region: merged.region.or_else(|| own.region.clone()),
        requester_pays: merged.requester_pays.or(own.requester_pays),
        tier: merged.tier.or_else(|| own.tier.clone()),
        ..merged
    });
    (merged != Hints::default()).then_some(merged)
}

fn service_of_platform(platform: &str) -> Option<Service> {
    match platform.to_ascii_uppercase().as_str() {
        "AWS" => Some(Service::S3),
        "GCP" => Some(Service::Gcs),
        "AZURE" => Some(Service::Azure),
        _ => None,
    }
}

/// One scheme of version 2. Its `platform` is the URL of the store, in which other fields stand in braces.
fn scheme((name, scheme): (&String, &Value)) -> Option<Hints> {
    let members = scheme.as_object()?;
    let kind = text(scheme, "type").unwrap_or_default().to_ascii_lowercase();
    let service = match kind.as_str() {
        "aws-s3" | "custom-s3" => Some(Service::S3),
        "ms-azure" => Some(Service::Azure),
        _ if kind.contains("s3") => Some(Service::S3),
        _ if kind.contains("google") || kind.contains("gcs") || kind.contains("gcp") => Some(Service::Gcs),
        _ => None,
    };
    // Of a custom store the URL is the only way to it; the others have hosts that are known.
    let endpoint = text(scheme, "platform").filter(|_| service == Some(Service::S3) && kind != "aws-s3");
    let endpoint = endpoint.and_then(|platform| filled(&platform, members));
    Some(Hints {
        service,
        region: text(scheme, "region"),
        requester_pays: boolean(scheme.get("requester_pays")),
        endpoint,
        account: text(scheme, "account"),
        tier: None,
        scheme: Some(name.clone()),
    })
}

/// `template` with the text of members where their names stand in braces, but for `{bucket}` and what is more than a part of a host; `None` if it comes to more than
/// a URL. What is put in is not looked at again: members that name each other would grow without end.
fn filled(template: &str, members: &Map<String, Value>) -> Option<String> {
    let (mut url, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        url.push_str(before);
        let member = after.split_once('}').filter(|(name, _)| *name != "bucket");
        let value = |name: &str| members.get(name)?.as_str().filter(|value| is_name(value));
        match member.and_then(|(name, after)| Some((value(name)?, after))) {
            Some((value, after)) => {
                url.push_str(value);
                rest = after;
            }
            None => {
                url.push('{');
                rest = after;
            }
        }
        if url.len() > MAX_URL {
            return None;
        }
    }
    url.push_str(rest);
    (url.len() <= MAX_URL).then_some(url)
}

fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A truth value, or the text of one, as a column of text holds it.
fn boolean(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(value) => Some(*value),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(asset: Value, item: Value) -> Option<Hints> {
        hints(read(&asset).unwrap().as_ref(), read(&item).unwrap().as_ref())
    }

    #[test]
    fn version_1_on_asset_and_item() {
        let item = json!({"storage:platform": "AWS", "storage:region": "us-west-2", "storage:tier": "Standard"});
        let found = of(json!({"storage:requester_pays": "true", "storage:region": "eu-west-1"}), item).unwrap();
        assert_eq!(found.service, Some(Service::S3));
        assert_eq!((found.region.as_deref(), found.requester_pays), (Some("eu-west-1"), Some(true)));
        assert_eq!(found.tier.as_deref(), Some("Standard"));
        assert_eq!(of(json!({"href": "x"}), json!({"storage:region": null})), None);
    }

    #[test]
    fn members_that_name_each_other_do_not_grow() {
        let mut scheme = json!({"type": "custom-s3", "platform": "https://{bucket}.{m0}.{none}.{"});
        for i in 0..20 {
            scheme[format!("m{i}")] = format!("{{m{}}}", i + 1).repeat(50).into();
        }
        let endpoint = of(json!({"storage:refs": ["x"]}), json!({"storage:schemes": {"x": scheme}})).unwrap().endpoint;
        assert_eq!(endpoint.as_deref(), Some("https://{bucket}.{m0}.{none}.{"));
        let long = json!({"type": "custom-s3", "platform": "{a}".repeat(1000), "a": "a".repeat(60)});
        assert_eq!(of(json!({"storage:refs": ["x"]}), json!({"storage:schemes": {"x": long}})).unwrap().endpoint, None);
    }

    #[test]
    fn version_2_by_reference() {
        let schemes = json!({
            "aws": {"type": "aws-s3", "platform": "https://{bucket}.s3.{region}.amazonaws.com", "region": "us-west-2",
                    "requester_pays": true},
            "own": {"type": "custom-s3", "platform": "https://{bucket}.{zone}.example.org", "zone": "a"},
            "gone": null,
        });
        for item in [json!({"storage:schemes": schemes}), json!({"storage:schemes": schemes.to_string()})] {
            let aws = of(json!({"storage:refs": ["none", "aws"]}), item.clone()).unwrap();
            assert_eq!((aws.region.as_deref(), aws.requester_pays), (Some("us-west-2"), Some(true)));
            assert_eq!((aws.endpoint, aws.scheme.as_deref()), (None, Some("aws")));
            let own = of(json!({"storage:refs": ["own"]}), item.clone()).unwrap();
            assert_eq!(own.endpoint.as_deref(), Some("https://{bucket}.a.example.org"));
            assert_eq!(of(json!({"storage:refs": ["gone"]}), item.clone()), None);
            assert_eq!(of(json!({}), item), None);
        }
    }
}
