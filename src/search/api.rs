//! The landing page of an API: where to search, and what it can.

use serde_json::Value;
use url::Url;

use super::ask::{Ask, secured};
use super::client::{Client, GivenUp, Unread};
use super::item::{Members, text};
use super::pages::{links_of, object, what};
use crate::error::{Error, Result};
use crate::store::{Answer, shown};

/// An API.
#[derive(Debug, Default)]
pub struct Api {
    /// Where items are searched.
    pub search: Option<Url>,
    /// Where collections are listed.
    pub collections: Option<Url>,
    conformance: Option<Url>,
    conforms_to: Option<Vec<String>>,
}

impl Api {
    /// Reads the landing page.
    ///
    /// # Errors
    /// What is no landing page of an API, with what it is.
    pub async fn of(client: &mut Client, landing: &Url) -> Result<Api> {
        Ok(client.page(&Ask::of(landing.clone()), read).await.map_err(|given_up| given_up.error)?.1)
    }

    /// Whether the API says that it filters searches.
    ///
    /// # Errors
    /// That cannot be told.
    pub async fn filters(&mut self, client: &mut Client) -> Result<bool> {
        if let (None, Some(url)) = (&self.conforms_to, &self.conformance) {
            let told = client.page(&Ask::of(url.clone()), |answer| Ok(conforms_to(&object(answer)?))).await;
            self.conforms_to = told.map_err(|given_up| given_up.error)?.1;
        }
        let of_search = |class: &String| class.contains("item-search") && class.contains("#filter");
        let of_features = |class: &String| class.contains("ogcapi-features-3") && class.ends_with("conf/filter");
        Ok(self.conforms_to.iter().flatten().any(|class| of_search(class) || of_features(class)))
    }
}

/// The landing page that the URL of a search belongs to; `None` for a URL that is none of a search.
pub fn landing_of(search: &Url) -> Option<Url> {
    let path = search.path().trim_end_matches('/').strip_suffix("/search")?;
    let mut landing = search.clone();
    landing.set_path(if path.is_empty() { "/" } else { path });
    Some(landing)
}

fn conforms_to(members: &Members) -> Option<Vec<String>> {
    serde_json::from_str(members.get("conformsTo")?.get()).ok()
}

fn read(answer: &Answer) -> Result<Api, Unread> {
    let members = object(answer)?;
    let links = links_of(&members);
    let link = |rel: &str| {
        let named = links.iter().find(|link| link.get("rel").and_then(Value::as_str) == Some(rel))?;
        let url = answer.url.join(named.get("href")?.as_str()?).ok()?;
        matches!(url.scheme(), "http" | "https").then(|| secured(url, &answer.url))
    };
    let api = Api {
        search: link("search"),
        collections: link("data"),
        conformance: link("conformance"),
        conforms_to: conforms_to(&members),
    };
    let kind = text(&members, "type");
    let is_landing = !matches!(kind.as_deref(), Some("Collection" | "Feature" | "FeatureCollection"));
    if is_landing && (api.search.is_some() || api.collections.is_some()) {
        return Ok(api);
    }
    let remedy = match kind.as_deref() {
        Some("Catalog") => "it has no search: a static catalog is read file by file, as lazycogs_read reads its items",
        Some("FeatureCollection") => "lazycogs_read takes its URL as it is",
        _ => "give the URL of the API's landing page, or of its search",
    };
    Err(Unread::Wrong(format!("is {}, no landing page of a STAC API; {remedy}", what(answer, &members))))
}

/// Whether the API has a collection; `None` where it does not say.
pub async fn has_collection(client: &mut Client, collections: &Url, id: &str) -> Option<bool> {
    let mut url = collections.clone();
    url.path_segments_mut().ok()?.pop_if_empty().push(id);
    match client.page(&Ask::of(url), object_is_there).await {
        Ok(_) => Some(true),
        Err(GivenUp { status: Some(404), .. }) => Some(false),
        Err(_) => None,
    }
}

fn object_is_there(answer: &Answer) -> Result<(), Unread> {
    object(answer).map(drop)
}

/// An API without what was asked for.
pub fn lacks(url: &Url, what: &str) -> Error {
    Error::Argument(format!("{}: {what}", shown::url(url)))
}
