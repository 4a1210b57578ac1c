//! What the reads of one query share: options, a bound on requests in flight, and by which way an object is read.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;

use super::address::{Address, Service};
use super::config::{self, Config, Lead};
use super::counters::Traffic;
use super::hints::Hints;
use super::location::is_remote;
use super::permits::Permits;
use super::{Access, Files, Location};
use crate::error::{Error, Result};

/// How a query reads.
#[derive(Debug, Clone)]
pub struct Options {
    /// object_store configuration keys.
    pub store: BTreeMap<String, String>,
    /// Requests in flight, at least 1.
    pub max_concurrent: usize,
    /// Longest time for one request.
    pub timeout: Duration,
    /// Further attempts after the first.
    pub max_retries: usize,
    pub access: Access,
    /// An href of an item that comes from a URL may name a file of this machine.
    pub allow_local: bool,
    /// The file system that is read through instead of our own clients.
    pub files: Option<Arc<dyn Files>>,
}

impl Options {
    /// The place that `href` names in an item that came from `base`.
    ///
    /// # Errors
    /// As [`Location::resolve`].
    pub fn locate(&self, href: &str, base: Option<&str>) -> Result<Location> {
        if self.allow_local { Location::resolve_anywhere(href, base) } else { Location::resolve(href, base) }
    }

    /// What relative hrefs of an item belong to: what the call gives, else where the item came from.
    ///
    /// # Errors
    /// A folder of this machine for an item that came from a URL, unless the call allows that.
    pub fn base<'a>(&self, given: Option<&'a str>, own: Option<&'a str>) -> Result<Option<&'a str>> {
        let leads_here = given.is_some() && !is_remote(given)? && is_remote(own)?;
        if leads_here && !self.allow_local {
            return Err(Error::Store(
                "the item comes from a URL, and items_base is a folder of this machine; pass allow_local := true if it may"
                    .into(),
            ));
        }
        Ok(given.or(own))
    }
}

/// What the objects of one query share.
#[derive(Debug, Clone)]
pub struct Session {
    options: Arc<Options>,
    pub(super) permits: Arc<Permits>,
    traffic: Arc<Traffic>,
    environment: Arc<BTreeMap<String, String>>,
    /// Buckets behind https that gave nothing without a signature.
    pub(super) signed: Arc<Mutex<HashSet<(Service, String)>>>,
}

impl Session {
    pub fn new(options: Options) -> Session {
        let permits = Permits::new(options.max_concurrent.max(1));
        let environment = Arc::new(config::environment());
        Session { options: Arc::new(options), permits, traffic: Arc::default(), environment, signed: Arc::default() }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// # Errors
    /// A location that DuckDB's settings forbid.
    pub fn check(&self, location: &Location) -> Result<()> {
        self.options.access.check(location)
    }

    pub(super) fn route(&self, location: &Location, hints: Option<&Hints>) -> Result<Route> {
        if let Some(files) = &self.options.files {
            return Ok(Route::Files(files.clone()));
        }
        let store = self.store_of(location, hints)?;
        Ok(match (location, store) {
            (Location::Cloud(_), Some(config)) => Route::Store(config),
            (Location::Http(_), store) => Route::Http(store.filter(|config| config.credentials().is_some())),
            _ => Route::File,
        })
    }

    /// The store that a location belongs to, whether it is read as an object of it or not.
    ///
    /// # Errors
    /// As [`Session::object`].
    pub fn store_of(&self, location: &Location, hints: Option<&Hints>) -> Result<Option<Arc<Config>>> {
        let address = match location {
            Location::File(_) => None,
            Location::Cloud(url) => Some(Address::of_cloud(url)?),
            // A signature of its own is in the query; a name and password are for the server.
            Location::Http(url) => {
                Address::of_https(url).filter(|_| url.query().is_none() && url.username().is_empty())
            }
        };
        address.map(|address| self.configured(address, hints)).transpose()
    }

    fn configured(&self, address: Address, hints: Option<&Hints>) -> Result<Arc<Config>> {
        let config = Config::resolve(address, hints, &self.options.store, &self.environment)?;
        if self.options.access.is_restricted() {
            for (lead, origin) in config.leads() {
                // The value may be a secret: only where it comes from is told.
                self.permitted(&lead).map_err(|why| Error::Store(format!("what {origin} names {why}")))?;
            }
        }
        Ok(Arc::new(config))
    }

    /// What must not be opened or run, and why.
    fn permitted(&self, lead: &Lead) -> Result<(), &'static str> {
        let Some(_) = self.options.access.only else {
            let is_file = matches!(lead, Lead::File(_));
            return if is_file {
                Err("is a file, and the setting disabled_filesystems disables local files")
            } else {
                Ok(())
            };
        };
        let location = match lead {
            // What is no URL is not looked at as a file instead.
            Lead::Server(url) => Url::parse(url).ok().filter(|url| url.has_host()).map(Location::Http),
            Lead::File(path) => Some(Location::File(path.into())),
            Lead::Program(_) => None,
        };
        match location.map(|location| self.check(&location)) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err("is in none of allowed_directories and allowed_paths, and the setting \
                                        enable_external_access is false"),
        }
    }
}

/// How the bytes of an object are had.
#[derive(Clone)]
pub enum Route {
    File,
    /// As any URL; and where that is refused, signed, as an object of the store that the host belongs to.
    Http(Option<Arc<Config>>),
    Store(Arc<Config>),
    /// Through a file system that knows more.
    Files(Arc<dyn Files>),
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
