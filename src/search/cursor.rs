//! A search, page by page: every item once, no more than asked for, and what does not add up.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::api::{Api, has_collection, lacks, landing_of};
use super::ask::Search;
use super::client::Client;
use super::collections::names;
use super::item::{Row, row};
use super::pages::{Page, Pages};
use crate::error::{Error, Result};
use crate::items::near_misses;
use crate::store::shown;

/// What is missing of a search, or may be.
#[derive(Debug, PartialEq)]
pub struct Missing {
    /// Empty where no item is meant.
    pub item: String,
    /// Where it should have come from.
    pub url: String,
    pub message: String,
}

/// What one page brings.
#[derive(Default)]
pub struct Batch {
    pub rows: Vec<Row>,
    pub missing: Vec<Missing>,
}

/// The items of a search.
pub struct Cursor {
    search: Search,
    client: Client,
    /// What cannot be read is left out and told, where it would be an error.
    lenient: bool,
    /// `None` before the first page.
    parts: Option<Parts>,
    seen: Seen,
    given: u64,
    by_collection: HashMap<String, u64>,
    /// As many as the servers say, when all parts have said it.
    matched: Option<u64>,
}

/// The searches that one becomes: two at the antimeridian.
struct Parts {
    api: Option<Api>,
    waiting: VecDeque<Pages>,
    current: Option<Part>,
}

struct Part {
    pages: Pages,
    /// Items of this part, each once.
    seen: Seen,
    matched: Option<u64>,
}

/// Which items have come. Hashes of 128 bits stand for them.
#[derive(Default)]
struct Seen {
    known: HashSet<(u64, u64)>,
    hash: (RandomState, RandomState),
}

impl Seen {
    /// Whether it is new.
    fn insert(&mut self, row: &Row) -> bool {
        let name = (&row.collection, &row.id);
        self.known.insert((self.hash.0.hash_one(name), self.hash.1.hash_one(name)))
    }

    fn len(&self) -> u64 {
        self.known.len() as u64
    }
}

impl Cursor {
    pub fn new(search: Search, client: Client, lenient: bool) -> Cursor {
        let (seen, by_collection) = (Seen::default(), HashMap::new());
        Cursor { search, client, lenient, parts: None, seen, given: 0, by_collection, matched: None }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How many items there will be, as far as the server says.
    pub fn total(&self) -> Option<u64> {
        self.matched.map(|matched| matched.min(self.search.most.unwrap_or(u64::MAX)))
    }

    /// The items of the next page, perhaps none; `None` behind the last one.
    ///
    /// # Errors
    /// What is no API, or cannot do what was asked; pages and, unless the cursor is lenient, items that cannot be read.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        if self.is_full() {
            return Ok(None);
        }
        if self.parts.is_none() {
            self.parts = Some(self.begin().await?);
        }
        let Some(parts) = &mut self.parts else { return Ok(None) };
        if parts.current.is_none() {
            let Some(pages) = parts.waiting.pop_front() else { return Ok(None) };
            parts.current = Some(Part { pages, seen: Seen::default(), matched: None });
        }
        let Some(part) = &mut parts.current else { return Ok(None) };
        let page = part.pages.next(&mut self.client).await.map_err(|given_up| given_up.error)?;
        let mut batch = Batch::default();
        match page {
            Some(page) => self.take(page, &mut batch)?,
            None => self.end_of_part(&mut batch)?,
        }
        if self.is_over() {
            self.check_collections().await?;
        }
        Ok(Some(batch))
    }

    fn is_full(&self) -> bool {
        self.search.most.is_some_and(|most| self.given >= most)
    }

    fn is_over(&self) -> bool {
        let done = |parts: &Parts| parts.current.is_none() && parts.waiting.is_empty();
        !self.is_full() && self.parts.as_ref().is_some_and(done)
    }

    /// Finds out where to search.
    async fn begin(&mut self) -> Result<Parts> {
        let url = &self.search.url;
        let own = landing_of(url);
        let mut api = None;
        if own.is_none() || self.search.filter.is_some() {
            let mut found = Api::of(&mut self.client, own.as_ref().unwrap_or(url)).await?;
            if self.search.filter.is_some() && !found.filters(&mut self.client).await? {
                return Err(lacks(
                    url,
                    "the API has no filter extension, so that filter would do nothing; leave it out, and \
                    use WHERE on properties",
                ));
            }
            api = Some(found);
        }
        let endpoint = match (&own, &api) {
            (None, Some(Api { search: Some(search), .. })) => search,
            (None, _) => return Err(lacks(url, "the API has no search (its landing page has no link 'search')")),
            (Some(_), _) => url,
        };
        let waiting = self.search.asks(endpoint).into_iter().map(|ask| Pages::new("features", ask)).collect();
        Ok(Parts { api, waiting, current: None })
    }

    fn take(&mut self, page: Page, batch: &mut Batch) -> Result<()> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let Some(part) = &mut parts.current else { return Ok(()) };
        part.matched = page.matched.or(part.matched);
        let before = part.seen.len();
        for feature in &page.members {
            match row(feature, &page.url) {
                Ok(row) => {
                    let in_part = part.seen.insert(&row);
                    let room = self.search.most.is_none_or(|most| self.given < most);
                    if in_part && room && self.seen.insert(&row) {
                        self.given += 1;
                        *self.by_collection.entry(row.collection.clone().unwrap_or_default()).or_default() += 1;
                        batch.rows.push(row);
                    }
                }
                Err((item, why)) if self.lenient => {
                    batch.missing.push(Missing {
                        item,
                        url: shown::url(&page.url),
                        message: format!("the item {why}"),
                    });
                }
                Err((item, why)) => {
                    return Err(Error::Items(format!(
                        "{}: the item '{item}' {why}; errors := 'ignore' leaves it out",
                        shown::url(&page.url)
                    )));
                }
            }
        }
        part.pages.note(part.seen.len() > before);
        // The first part of two cannot speak for both.
        self.matched = part
            .matched
            .filter(|_| parts.waiting.is_empty())
            .map(|matched| matched + self.given.saturating_sub(part.seen.len()));
        Ok(())
    }

    /// What does not add up.
    fn end_of_part(&mut self, batch: &mut Batch) -> Result<()> {
        let Some(part) = self.parts.as_mut().and_then(|parts| parts.current.take()) else { return Ok(()) };
        let (came, url) = (part.seen.len(), shown::url(&self.search.url));
        let is_all = part.matched.is_some_and(|matched| came >= matched);
        if let Some(why) = part.pages.stopped.filter(|_| !is_all) {
            let message = format!(
                "{why}, behind {came} items of {}",
                part.matched.map_or("an unknown number".into(), |n| n.to_string())
            );
            if !self.lenient {
                return Err(Error::Items(format!("{url}: {message}; errors := 'ignore' takes those")));
            }
            batch.missing.push(Missing { item: String::new(), url, message });
        } else if let Some(matched) = part.matched.filter(|matched| *matched != came) {
            let message = format!("the server counts {matched} items (numberMatched) and gave {came}");
            batch.missing.push(Missing { item: String::new(), url, message });
        }
        Ok(())
    }

    /// A collection that gave nothing must exist: otherwise its name is wrong.
    ///
    /// # Errors
    /// An unknown collection, with the names that are near.
    async fn check_collections(&mut self) -> Result<()> {
        let without: Vec<String> =
            self.search.collections.iter().filter(|id| !self.by_collection.contains_key(*id)).cloned().collect();
        if without.is_empty() {
            return Ok(());
        }
        let known = self.parts.as_mut().and_then(|parts| parts.api.take()).and_then(|api| api.collections);
        let listed = match (known, landing_of(&self.search.url)) {
            (Some(listed), _) => listed,
            (None, Some(landing)) => match Api::of(&mut self.client, &landing).await {
                Ok(Api { collections: Some(listed), .. }) => listed,
                // It does not tell what there is.
                Ok(_) | Err(_) => return Ok(()),
            },
            (None, None) => return Ok(()),
        };
        for id in without {
            if has_collection(&mut self.client, &listed, &id).await == Some(false) {
                let known = names(&mut self.client, &listed).await;
                let near = if known.is_empty() { String::new() } else { near_misses(&id, &known) };
                return Err(lacks(&self.search.url, &format!("the API has no collection '{id}'{near}")));
            }
        }
        Ok(())
    }
}
