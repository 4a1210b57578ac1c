//! The pages of an answer: one after the other by the link `next`, each once.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;
use url::Url;

use super::ask::{Ask, is_post};
use super::client::{Client, GivenUp, Unread};
use super::item::{Members, text};
use crate::store::{Answer, shown};

/// Pages in a row that bring nothing new. Behind so many nothing more is looked for.
const MOST_BARREN: usize = 200;

/// One page.
pub struct Page {
    /// Where it came from.
    pub url: Url,
    /// The texts of what it lists.
    pub members: Vec<Box<RawValue>>,
    /// How many there are in all, as the server says.
    pub matched: Option<u64>,
}

/// The pages that list `member`, such as `features`.
pub struct Pages {
    member: &'static str,
    next: Option<Ask>,
    /// Hashes of the pages that were asked for.
    asked: HashSet<u64>,
    hash: RandomState,
    barren: usize,
    /// Why there is no further page although the server names one.
    pub stopped: Option<String>,
}

impl Pages {
    pub fn new(member: &'static str, first: Ask) -> Pages {
        let (asked, hash) = (HashSet::new(), RandomState::new());
        Pages { member, next: Some(first), asked, hash, barren: 0, stopped: None }
    }

    /// The next page; `None` behind the last one.
    ///
    /// # Errors
    /// As [`Client::page`]; an answer that is no page.
    pub async fn next(&mut self, client: &mut Client) -> Result<Option<Page>, GivenUp> {
        let Some(ask) = self.next.take() else { return Ok(None) };
        self.asked.insert(self.hash.hash_one(&ask));
        let member = self.member;
        let (url, (page, links)) = client.page(&ask, |answer| read(answer, member)).await?;
        let following = |link: &&Value| link.get("rel").and_then(Value::as_str) == Some("next");
        let same_method = links.iter().find(|link| following(link) && is_post(link) == ask.body.is_some());
        match same_method.or_else(|| links.iter().find(following)).map(|link| ask.next(link, &url)) {
            None => {}
            Some(Err(why)) => self.stopped = Some(why),
            Some(Ok(next)) if self.asked.contains(&self.hash.hash_one(&next)) => {
                self.stopped = Some(format!("the link to the next page leads back to {}", shown::url(&next.url)));
            }
            Some(Ok(next)) => self.next = Some(next),
        }
        Ok(Some(Page { url, ..page }))
    }

    /// Tells whether the last page had something new: pages without it come to an end.
    pub fn note(&mut self, is_new: bool) {
        self.barren = if is_new { 0 } else { self.barren + 1 };
        if self.barren >= MOST_BARREN && self.next.take().is_some() {
            self.stopped = Some(format!("{MOST_BARREN} pages in a row brought nothing new"));
        }
    }
}

fn read(answer: &Answer, member: &str) -> Result<(Page, Vec<Value>), Unread> {
    let members = object(answer)?;
    let of_no_page = || Unread::Wrong(format!("it answers {}, and no list of {member}", what(answer, &members)));
    let listed = members.get(member).ok_or_else(of_no_page)?;
    let listed: Vec<&RawValue> = serde_json::from_str(listed.get()).map_err(|_| of_no_page())?;
    let count = |value: &RawValue| serde_json::from_str::<u64>(value.get()).ok();
    let of_context = || {
        let context: Members = serde_json::from_str(members.get("context")?.get()).ok()?;
        context.get("matched").and_then(|matched| count(matched))
    };
    let matched = members.get("numberMatched").and_then(|matched| count(matched)).or_else(of_context);
    let links = links_of(&members);
    let page = Page { url: answer.url.clone(), members: listed.into_iter().map(ToOwned::to_owned).collect(), matched };
    Ok((page, links))
}

/// The members of the object that an answer is.
pub fn object(answer: &Answer) -> Result<Members<'_>, Unread> {
    let bytes = answer.bytes.as_ref();
    let is_html = answer.content_type.contains("html") || bytes.trim_ascii_start().starts_with(b"<");
    serde_json::from_slice(bytes).map_err(|e| match e.classify() {
        _ if is_html => {
            Unread::Wrong("it answers a web page (HTML or XML), no JSON: is this the URL of a STAC API?".into())
        }
        Category::Eof => Unread::Incomplete(format!("the answer ends early: {e}")),
        Category::Data => Unread::Wrong("it answers JSON that is no object: is this the URL of a STAC API?".into()),
        Category::Io | Category::Syntax => Unread::Wrong(format!("it answers what is no JSON: {e}")),
    })
}

/// What a document of STAC is, for a person.
pub fn what(answer: &Answer, members: &Members) -> String {
    let id = text(members, "id").map(|id| format!(" '{id}'")).unwrap_or_default();
    let root = links_of(members).into_iter().find(|link| link.get("rel").and_then(Value::as_str) == Some("root"));
    let root = root.and_then(|link| answer.url.join(link.get("href")?.as_str()?).ok());
    let root = root.map(|root| format!(" (of the catalog {})", shown::url(&root))).unwrap_or_default();
    match text(members, "type").as_deref() {
        Some("Collection") => format!("the collection{id}{root}"),
        Some("Feature") => format!("the item{id}{root}"),
        Some("Catalog") => format!("the catalog{id}"),
        Some("FeatureCollection") => "a FeatureCollection".to_owned(),
        _ => "JSON that is nothing of STAC".to_owned(),
    }
}

/// The links of a document.
pub fn links_of(members: &Members) -> Vec<Value> {
    members.get("links").and_then(|links| serde_json::from_str(links.get()).ok()).unwrap_or_default()
}
