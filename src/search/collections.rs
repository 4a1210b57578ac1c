//! The collections of an API.

use serde_json::value::RawValue;
use url::Url;

use super::api::{Api, lacks};
use super::ask::Ask;
use super::client::Client;
use super::item::{Members, edges, text};
use super::pages::Pages;
use crate::error::Result;
use crate::time::parse_instant;

/// One collection.
#[derive(Debug, PartialEq)]
pub struct CollectionRow {
    pub id: String,
    pub title: Option<String>,
    pub description: Option<String>,
    /// West, south, east and north of all its items.
    pub bbox: Option<[f64; 4]>,
    /// Of the first and of the last item, in microseconds since 1970-01-01T00:00Z; `None` is open, or not said.
    pub times: [Option<i64>; 2],
    /// As the server wrote it.
    pub item_assets: Option<String>,
}

/// The collections of an API, page by page.
pub struct Collections {
    client: Client,
    url: Url,
    pages: Option<Pages>,
}

impl Collections {
    /// Of the API with the landing page `url`, or of its `/collections`.
    pub fn new(client: Client, url: Url) -> Collections {
        Collections { client, url, pages: None }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The next page; `None` behind the last one.
    ///
    /// # Errors
    /// What is no API, or lists no collections; what cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<CollectionRow>>> {
        if self.pages.is_none() {
            let named = self.url.path().trim_end_matches('/').ends_with("/collections");
            let listed = match named {
                true => self.url.clone(),
                false => Api::of(&mut self.client, &self.url).await?.collections.ok_or_else(|| {
                    lacks(&self.url, "the API lists no collections (its landing page has no link 'data')")
                })?,
            };
            self.pages = Some(Pages::new("collections", Ask::of(listed)));
        }
        let Some(pages) = &mut self.pages else { return Ok(None) };
        let Some(page) = pages.next(&mut self.client).await.map_err(|given_up| given_up.error)? else {
            return Ok(None);
        };
        pages.note(!page.members.is_empty());
        if let Some(why) = &pages.stopped {
            return Err(lacks(&page.url, why));
        }
        page.members
            .iter()
            .map(|member| row(member).map_err(|why| lacks(&page.url, &why)))
            .collect::<Result<_>>()
            .map(Some)
    }
}

fn row(member: &RawValue) -> Result<CollectionRow, String> {
    let members: Members = serde_json::from_str(member.get()).map_err(|e| format!("a collection is no object: {e}"))?;
    let id = text(&members, "id").ok_or("a collection has no id")?;
    let extent = object(&members, "extent").unwrap_or_default();
    // The first speaks for all of them.
    let overall = |name: &str, list: &str| -> Option<&RawValue> {
        let parts: Vec<&RawValue> = serde_json::from_str(object(&extent, name)?.get(list)?.get()).ok()?;
        parts.into_iter().next()
    };
    let interval: Vec<Option<String>> =
        overall("temporal", "interval").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let time = |at: usize| interval.get(at)?.as_deref().and_then(parse_instant);
    Ok(CollectionRow {
        title: text(&members, "title"),
        description: text(&members, "description"),
        bbox: overall("spatial", "bbox").and_then(|raw| edges(raw.get())),
        times: [time(0), time(1)],
        item_assets: members.get("item_assets").map(|raw| raw.get().to_owned()),
        id,
    })
}

fn object<'a>(members: &Members<'a>, name: &str) -> Option<Members<'a>> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// The names of the collections that an API lists, as far as it does.
pub async fn names(client: &mut Client, collections: &Url) -> Vec<String> {
    /// Names are for a message: who has more of them has not all of them looked through.
    const MOST_PAGES: usize = 10;
    let (mut pages, mut names) = (Pages::new("collections", Ask::of(collections.clone())), Vec::new());
    for _ in 0..MOST_PAGES {
        let Ok(Some(page)) = pages.next(client).await else { break };
        names.extend(page.members.iter().filter_map(|member| row(member).ok()).map(|row| row.id));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collection_says() {
        let json = r#"{"type":"Collection","id":"c","title":"C","extent":{"spatial":{"bbox":[[-180,-90,0,180,90,9],[0,0,1,1]]},
            "temporal":{"interval":[["2020-01-01T00:00:00Z",null]]}},"item_assets":{"red" : {}}}"#;
        let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
        let found = row(&raw).unwrap();
        assert_eq!((found.id.as_str(), found.title.as_deref(), found.description), ("c", Some("C"), None));
        assert_eq!(found.bbox, Some([-180.0, -90.0, 180.0, 90.0]));
        assert_eq!(found.times, [Some(1_577_836_800_000_000), None]);
        assert_eq!(found.item_assets.as_deref(), Some(r#"{"red" : {}}"#));
        let bare: Box<RawValue> = serde_json::from_str(r#"{"id":"c","extent":null}"#).unwrap();
        assert_eq!(row(&bare).unwrap().bbox, None);
    }
}
