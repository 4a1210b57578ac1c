//! An href as it stands in an item, made absolute.

use std::path::{Path, PathBuf};

use url::Url;

use super::address::Service;
use crate::error::{Error, Result};

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    File(PathBuf),
    Http(Url),
    /// s3, gs, az and their aliases; see [`super::address`].
    Cloud(Url),
}

impl Location {
    /// Resolves `href` against `base`, the file or URL that named it.
    ///
    /// # Errors
    /// A scheme that is not served, or a malformed URL.
    pub fn resolve(href: &str, base: Option<&str>) -> Result<Location> {
        let href = href.trim();
        if href.is_empty() {
            return Err(Error::Store("the href is empty".into()));
        }
        if let Some(url) = absolute_url(href)? {
            return Location::from_url(url);
        }
        if Path::new(href).is_absolute() {
            return Ok(Location::File(href.into()));
        }
        match base.map(|base| (base, absolute_url(base))) {
            Some((_, Ok(Some(url)))) if url.scheme() != "file" => {
                let joined = url.join(href).map_err(|e| Error::Store(format!("'{href}' is no relative URL: {e}")))?;
                Location::from_url(joined)
            }
            Some((_, Ok(Some(url)))) => Ok(Location::File(sibling(&file_path(&url)?, href))),
            Some((base, _)) => Ok(Location::File(sibling(Path::new(base), href))),
            None => Ok(Location::File(href.into())),
        }
    }

    fn from_url(url: Url) -> Result<Location> {
        match url.scheme() {
            "file" => Ok(Location::File(file_path(&url)?)),
            "http" | "https" => Ok(Location::Http(url)),
            scheme if Service::of_scheme(scheme).is_some() => Ok(Location::Cloud(url)),
            other => Err(Error::Store(format!(
                "the scheme '{other}' is not served; use a path, file, http(s), s3, gs or az (href_replace can rewrite hrefs)"
            ))),
        }
    }
}

impl Location {
    /// The path or URL as a file system takes it, with signature and all.
    pub fn as_given(&self) -> String {
        match self {
            Location::File(path) => path.to_string_lossy().into_owned(),
            Location::Http(url) | Location::Cloud(url) => url.to_string(),
        }
    }

    /// `text` about this location without what must not be shown of it.
    pub fn redact(&self, text: &str) -> String {
        let (Location::Http(url) | Location::Cloud(url)) = self else { return text.to_owned() };
        let mut text = text.replace(url.as_str(), &redacted(url));
        let parts = [url.query(), url.fragment(), url.password()];
        for secret in parts.into_iter().flatten().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "...");
        }
        text
    }
}

impl std::fmt::Display for Location {
    /// The location without its query, which may hold a signature.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::File(path) => write!(f, "{}", path.display()),
            Location::Http(url) | Location::Cloud(url) => f.write_str(&redacted(url)),
        }
    }
}

/// `url` without user, password, query and fragment: what may be shown.
pub fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only for URLs that cannot have them. Where Azure's URLs have a name, it is that of a container.
    if Service::of_scheme(url.scheme()) != Some(Service::Azure) {
        let _ = url.set_username("");
    }
    let _ = url.set_password(None);
    url.to_string()
}

/// What of a text that is perhaps no URL may be shown, as [`redacted`].
pub fn shown_text(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (server, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = server.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The text of a URL as it may be shown.
pub fn shown_url(text: &str) -> String {
    Url::parse(text).map_or_else(|_| "(no URL)".to_owned(), |url| redacted(&url))
}

/// Schemes that may come without slashes behind the colon.
const WITHOUT_SLASHES: [&str; 3] = ["file", "memory", "data"];

/// `text` as a URL if it has a scheme of two letters or more (one letter is a Windows drive).
fn absolute_url(text: &str) -> Result<Option<Url>> {
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(None) };
    let is_scheme = scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let known = WITHOUT_SLASHES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_scheme || !(known || rest.starts_with("//")) {
        return Ok(None);
    }
    Url::parse(text).map(Some).map_err(|e| Error::Store(format!("'{}' is no URL: {e}", shown_text(text))))
}

fn file_path(url: &Url) -> Result<PathBuf> {
    url.to_file_path().map_err(|()| Error::Store(format!("'{url}' names no file on this machine")))
}

fn sibling(base: &Path, href: &str) -> PathBuf {
    let folder = base.parent().unwrap_or(Path::new(""));
    folder.join(href.strip_prefix("./").unwrap_or(href))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(href: &str, base: Option<&str>) -> String {
        Location::resolve(href, base).map_or_else(|e| e.to_string(), |l| l.to_string())
    }

    #[test]
    fn hrefs_are_resolved_against_the_file_that_names_them() {
        assert_eq!(resolved("/data/a.tif", Some("x.parquet")), "/data/a.tif");
        assert_eq!(resolved("a.tif", Some("/items/x.parquet")), "/items/a.tif");
        assert_eq!(resolved("./cogs/a b.tif", Some("dir/x.parquet")), "dir/cogs/a b.tif");
        assert_eq!(resolved("../a.tif", Some("file:///items/p/x.parquet")), "/items/p/../a.tif");
        assert_eq!(resolved("a.tif", None), "a.tif");
        assert_eq!(resolved("file:///data/a%20b.tif", None), "/data/a b.tif");
        assert_eq!(resolved("file:/data/a.tif", None), "/data/a.tif");
        assert_eq!(resolved("a:b.tif", Some("/items/x.parquet")), "/items/a:b.tif");
        assert_eq!(resolved("a.tif", Some("https://host/dir/x.parquet?sig=1")), "https://host/dir/a.tif");
    }

    #[test]
    fn signatures_are_kept_and_not_shown() {
        let location = Location::resolve("https://user:pw@host:81/a.tif?sig=secret", None).unwrap();
        assert_eq!(location.to_string(), "https://host:81/a.tif");
        assert!(matches!(&location, Location::Http(url) if url.query() == Some("sig=secret")));
        assert_eq!(
            resolved("abfss://c@acct.dfs.core.windows.net/a.tif?sig=1", None),
            "abfss://c@acct.dfs.core.windows.net/a.tif"
        );
        let wrong = resolved("https://user:pw@host:port/a.tif?sig=secret", None);
        assert!(wrong.contains("'https://host:port/a.tif' is no URL"), "{wrong}");
        assert_eq!(shown_text("ftp://u:p@h/a@b.tif#x"), "ftp://h/a@b.tif");
        assert_eq!(shown_text("a b?c.tif"), "a b");
    }

    #[test]
    fn what_others_say_of_a_location_is_redacted() {
        let location = Location::resolve("https://user:pw@host:81/a.tif?sig=secret", None).unwrap();
        let said = format!("HTTP Error: {} or a.tif?sig=secret: 403", location.as_given());
        assert_eq!(location.redact(&said), "HTTP Error: https://host:81/a.tif or a.tif?...: 403");
    }

    #[test]
    fn other_schemes_are_named() {
        assert!(resolved("ftp://host/a.tif", None).contains("'ftp'"));
        assert!(resolved("memory:///a.tif", None).contains("'memory'"));
        assert!(resolved("memory:/a.tif", None).contains("'memory'"));
        assert!(resolved("", None).contains("empty"));
    }
}
