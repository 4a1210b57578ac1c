//! A search, page by page: every item once, no more than asked for, and what does not add up.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use url::Url;

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
    /// Known from the first page on, unless the URL of the search was enough.
    api: Option<Api>,
    /// The searches that one becomes, two at the antimeridian; `None` before the first page.
    waiting: Option<VecDeque<Pages>>,
    current: Option<Part>,
    seen: Seen,
    given: u64,
    /// Those of which an item came.
    collections: HashSet<String>,
    /// As many as the server says, once all parts have been counted.
    matched: Option<u64>,
}

/// One of the searches.
struct Part {
    pages: Pages,
    /// Items of this part, each once.
    seen: Seen,
    matched: Option<u64>,
}

impl Part {
    fn new(pages: Pages) -> Part {
        Part { pages, seen: Seen::default(), matched: None }
    }
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
        Cursor {
            search,
            client,
            lenient,
            api: None,
            waiting: None,
            current: None,
            seen: Seen::default(),
            given: 0,
            collections: HashSet::new(),
            matched: None,
        }
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
        if self.waiting.is_none() {
            self.waiting = Some(self.begin().await?);
        }
        let following = self.current.take().or_else(|| self.waiting.as_mut()?.pop_front().map(Part::new));
        let Some(mut part) = following else { return Ok(None) };
        let mut batch = Batch::default();
        match part.pages.next(&mut self.client).await.map_err(|given_up| given_up.error)? {
            Some(page) => {
                self.take(&mut part, &page, &mut batch)?;
                self.current = Some(part);
            }
            None => {
                batch.missing.extend(self.what_is_missing(part)?);
                if self.waiting.as_ref().is_some_and(VecDeque::is_empty) {
                    self.check_collections().await?;
                }
            }
        }
        Ok(Some(batch))
    }

    fn is_full(&self) -> bool {
        self.search.most.is_some_and(|most| self.given >= most)
    }

    /// Finds out where to search.
    async fn begin(&mut self) -> Result<VecDeque<Pages>> {
        let url = &self.search.url;
        let own = landing_of(url);
        if own.is_none() || self.search.filter.is_some() {
            let mut found = Api::of(&mut self.client, own.as_ref().unwrap_or(url)).await?;
            if self.search.filter.is_some() && !found.filters(&mut self.client).await? {
                return Err(lacks(
                    url,
                    "the API has no filter extension, so that filter would do nothing; leave it out, and \
                    use WHERE on properties",
                ));
            }
            self.api = Some(found);
        }
        let endpoint = match (&own, &self.api) {
            (None, Some(Api { search: Some(search), .. })) => search,
            (None, _) => return Err(lacks(url, "the API has no search (its landing page has no link 'search')")),
            (Some(_), _) => url,
        };
        Ok(self.search.asks(endpoint).into_iter().map(|ask| Pages::new("features", ask)).collect())
    }

    /// The new items of a page.
    fn take(&mut self, part: &mut Part, page: &Page, batch: &mut Batch) -> Result<()> {
        let before = part.seen.len();
        for feature in &page.members {
            let row = match row(feature, &page.url) {
                Ok(row) => row,
                Err((item, why)) => {
                    batch.missing.push(self.unread(item, &why, &page.url)?);
                    continue;
                }
            };
            if part.seen.insert(&row) && !self.is_full() && self.seen.insert(&row) {
                self.given += 1;
                if let Some(collection) = row.collection.as_ref().filter(|name| !self.collections.contains(*name)) {
                    self.collections.insert(collection.clone());
                }
                batch.rows.push(row);
            }
        }
        part.pages.note(part.seen.len() > before);
        part.matched = page.matched.or(part.matched);
        let is_last = self.waiting.as_ref().is_none_or(VecDeque::is_empty);
        let of_others = self.given.saturating_sub(part.seen.len());
        // The first part of two cannot speak for both.
        self.matched = part.matched.filter(|_| is_last).map(|matched| matched.saturating_add(of_others));
        Ok(())
    }

    /// # Errors
    /// The item itself, unless it may be left out.
    fn unread(&self, item: String, why: &str, page: &Url) -> Result<Missing> {
        let url = shown::url(page);
        if self.lenient {
            return Ok(Missing { item, url, message: format!("the item {why}") });
        }
        Err(Error::Items(format!("{url}: the item '{item}' {why}; errors := 'ignore' leaves it out")))
    }

    /// What does not add up of a part that is over.
    ///
    /// # Errors
    /// Its pages did not end by themselves, and it is not known that all came; unless the cursor is lenient.
    fn what_is_missing(&self, part: Part) -> Result<Option<Missing>> {
        let (came, url) = (part.seen.len(), shown::url(&self.search.url));
        let missing = |message: String| Missing { item: String::new(), url: url.clone(), message };
        let is_all = part.matched.is_some_and(|matched| came >= matched);
        if let Some(why) = part.pages.stopped.filter(|_| !is_all) {
            let number = part.matched.map_or("an unknown number".to_owned(), |matched| matched.to_string());
            let message = format!("{why}, behind {came} items of {number}");
            if !self.lenient {
                return Err(Error::Items(format!("{url}: {message}; errors := 'ignore' takes those")));
            }
            return Ok(Some(missing(message)));
        }
        let other = part.matched.filter(|matched| *matched != came);
        Ok(other.map(|matched| missing(format!("the server counts {matched} items (numberMatched) and gave {came}"))))
    }

    /// A collection that gave nothing must exist: otherwise its name is wrong.
    ///
    /// # Errors
    /// An unknown collection, with the names that are near.
    async fn check_collections(&mut self) -> Result<()> {
        let without: Vec<String> =
            self.search.collections.iter().filter(|id| !self.collections.contains(*id)).cloned().collect();
        if without.is_empty() {
            return Ok(());
        }
        let known = self.api.take().and_then(|api| api.collections);
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
