//! An href as it stands in an item, made absolute.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use super::CloudUrl;
use super::address::Service;
use super::shown::{self, Secrets};
use crate::error::{Error, Result};

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    File(PathBuf),
    /// Without a fragment, which no server sees.
    Http(Url),
    /// s3, gs, az and their aliases; see [`super::address`].
    Cloud(CloudUrl),
}

impl Location {
    /// Resolves `href` against `base`, the file or URL that named it. What a URL named is remote, too. Blanks at the ends belong
    /// to the name of a file or an object, and not to an http URL.
    ///
    /// # Errors
    /// A scheme that is not served, a malformed URL, a local file of an item that is none.
    pub fn resolve(href: &str, base: Option<&str>) -> Result<Location> {
        match remote(base)? {
            Some(base) => match base.join(href)? {
                Location::File(_) => Err(Error::Store(
                    "the item comes from a URL, and its href names a file of this machine; pass allow_local := true if it may"
                        .into(),
                )),
                remote => Ok(remote),
            },
            None => Location::beside(href, base),
        }
    }

    /// As [`Location::resolve`], but what a URL named may be a file of this machine: an absolute path or a file URL.
    ///
    /// # Errors
    /// A scheme that is not served, a malformed URL.
    pub fn resolve_anywhere(href: &str, base: Option<&str>) -> Result<Location> {
        match remote(base)? {
            Some(_) if Path::new(href).is_absolute() && !href.starts_with("//") => Ok(Location::File(href.into())),
            Some(base) => base.join(href),
            None => Location::beside(href, base),
        }
    }

    /// An href that a file named, or nobody.
    fn beside(href: &str, base: Option<&str>) -> Result<Location> {
        some(href)?;
        if let Some(url) = Absolute::of(href)? {
            return url.location();
        }
        if Path::new(href).is_absolute() {
            return Ok(Location::File(href.into()));
        }
        match base.map(|base| (base, Absolute::of(base))) {
            Some((_, Ok(Some(Absolute::Url(url))))) => Ok(Location::File(sibling(&file_path(&url)?, href))),
            Some((base, _)) => Ok(Location::File(sibling(Path::new(base), href))),
            None => Ok(Location::File(href.into())),
        }
    }
}

/// What has a scheme of its own.
enum Absolute {
    Cloud(CloudUrl),
    /// Of any scheme.
    Url(Url),
}

impl Absolute {
    /// What `text` names if it has a scheme of two letters or more (one letter is a Windows drive). Blanks in front of a scheme
    /// are skipped, as in any URL.
    fn of(text: &str) -> Result<Option<Absolute>> {
        let named = text.trim_start_matches(|c: char| c <= ' ');
        let Some((scheme, rest)) = named.split_once(':') else { return Ok(None) };
        let is_scheme = scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let known = WITHOUT_SLASHES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
        if !is_scheme || !(known || rest.starts_with("//")) {
            return Ok(None);
        }
        if Service::of_scheme(&scheme.to_ascii_lowercase()).is_some() {
            return CloudUrl::parse(named).map(|url| Some(Absolute::Cloud(url)));
        }
        let url = Url::parse(named).map_err(|e| Error::Store(format!("'{}' is no URL: {e}", shown::place(text))))?;
        Ok(Some(Absolute::Url(url)))
    }

    /// An href as a URL names it: relative, `/of/the/server`, `//of.another/server`, or absolute.
    fn join(&self, href: &str) -> Result<Location> {
        some(href)?;
        if let Some(absolute) = Absolute::of(href)? {
            return absolute.location();
        }
        match self {
            Absolute::Cloud(base) => base.join(href).map(Location::Cloud),
            // What joins is a URL of any scheme: a line break inside is skipped, and `fi\nle:` is `file:`.
            Absolute::Url(base) => match base.join(href) {
                Ok(url) => Absolute::Url(url).location(),
                Err(e) => Err(Error::Store(format!("'{}' is no relative URL: {e}", shown::place(href)))),
            },
        }
    }

    fn location(self) -> Result<Location> {
        let mut url = match self {
            Absolute::Cloud(url) => return Ok(Location::Cloud(url)),
            Absolute::Url(url) => url,
        };
        match url.scheme() {
            "file" => Ok(Location::File(file_path(&url)?)),
            "http" | "https" => {
                url.set_fragment(None);
                Ok(Location::Http(url))
            }
            scheme if Service::of_scheme(scheme).is_some() => CloudUrl::parse(url.as_str()).map(Location::Cloud),
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
            Location::Http(url) => url.to_string(),
            Location::Cloud(url) => url.as_given(),
        }
    }

    /// The path of a file or of an http URL, or the key of an object: what has neither query nor signature.
    pub fn path(&self) -> Cow<'_, str> {
        match self {
            Location::File(path) => path.to_string_lossy(),
            Location::Http(url) => url.path().into(),
            Location::Cloud(url) => url.key().into(),
        }
    }

    /// What of it is not to be shown, whoever repeats it.
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        match self {
            Location::File(_) => {}
            Location::Http(url) => secrets.add_url(url),
            Location::Cloud(url) => url.add_secrets(&mut secrets),
        }
        secrets
    }
}

impl std::fmt::Display for Location {
    /// The location as it may be shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::File(path) => f.write_str(&shown::place(&path.to_string_lossy())),
            Location::Http(url) => f.write_str(&shown::url(url)),
            Location::Cloud(url) => url.fmt(f),
        }
    }
}

/// Whether a file or folder is one of a server.
///
/// # Errors
/// A malformed URL.
pub fn is_remote(base: Option<&str>) -> Result<bool> {
    Ok(remote(base)?.is_some())
}

fn some(href: &str) -> Result<()> {
    if href.trim().is_empty() { Err(Error::Store("the href is empty".into())) } else { Ok(()) }
}

/// The base as a URL of a server, if it is one.
fn remote(base: Option<&str>) -> Result<Option<Absolute>> {
    let url = base.map(Absolute::of).transpose()?.flatten();
    Ok(url.filter(|url| !matches!(url, Absolute::Url(url) if url.scheme() == "file")))
}

/// The path that `text` names as a file URL, without a look at what is a pattern in it; any other text as it is.
///
/// # Errors
/// A file URL of another machine.
pub fn plain_path(text: &str) -> Result<String> {
    let Some(rest) = text.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("file:")).and_then(|_| text.get(5..))
    else {
        return Ok(text.to_owned());
    };
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    let elsewhere = || Error::Store(format!("'{}' names no file on this machine", shown::place(text)));
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| elsewhere())?;
    if path.starts_with('/') { Ok(decoded.into_owned()) } else { Err(elsewhere()) }
}

/// Schemes that may come without slashes behind the colon.
const WITHOUT_SLASHES: [&str; 3] = ["file", "memory", "data"];

fn file_path(url: &Url) -> Result<PathBuf> {
    url.to_file_path().map_err(|()| Error::Store(format!("'{}' names no file on this machine", shown::url(url))))
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
    fn names_stand_as_they_are() {
        for name in ["a#1.tif", "a?b.tif", "a%41.tif", " a b.tif ", "[1]+é.", "a\\b.tif"] {
            for folder in ["/data", "s3://b/k", "gs://b", "az://c@acct/k"] {
                let whole = format!("{folder}/{name}");
                let given = |href: &str, base| Location::resolve(href, base).unwrap().as_given();
                assert_eq!(given(&whole, None), whole);
                assert_eq!(given(name, Some(&format!("{folder}/items.parquet"))), whole);
            }
            assert_eq!(Location::resolve(name, None).unwrap(), Location::File(name.into()));
        }
        let given = |href: &str| Location::resolve(href, None).unwrap().as_given();
        assert_eq!(given(" http://h/a b%20é.tif?c#d "), "http://h/a%20b%20%C3%A9.tif?c");
        assert_eq!(given(" s3://b/a "), "s3://b/a ");
        assert_eq!(given("file:///a%20b%23.tif"), "/a b#.tif");
    }

    #[test]
    fn what_is_read_elsewhere_may_name_what_is_read_here() {
        let of = |href: &str| resolved(href, Some("hf://datasets/x/items.parquet"));
        assert_eq!(of("https://h/a.tif"), "https://h/a.tif");
        assert!(of("a.tif").contains("'hf'") && of("file:///a.tif").contains("allow_local"));
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
    }

    #[test]
    fn what_others_say_of_a_location_is_redacted() {
        let location = Location::resolve("https://user:pw@host:81/a.tif?sig=secret", None).unwrap();
        let said = format!("HTTP Error: {} or a.tif?sig=secret: 403", location.as_given());
        assert_eq!(location.secrets().hide(&said), "HTTP Error: https://host:81/a.tif or a.tif?...: 403");
    }

    #[test]
    fn what_a_url_named_is_remote() {
        let base = Some("https://host/dir/items.parquet");
        for (href, wanted) in [
            ("/etc/passwd", "https://host/etc/passwd"),
            ("//user:secret@other/a.tif?sig=1", "https://other/a.tif"),
            ("\\\\other\\share\\a.tif", "https://other/share/a.tif"),
            ("../../../etc/passwd", "https://host/etc/passwd"),
            ("~/a.tif", "https://host/dir/~/a.tif"),
            ("s3://b/a.tif", "s3://b/a.tif"),
        ] {
            assert_eq!(resolved(href, base), wanted);
        }
        for href in ["file:///etc/passwd", "file:/etc/passwd", "FILE:etc/passwd", " file:///x"] {
            assert!(resolved(href, base).contains("allow_local"), "{href}: {}", resolved(href, base));
            assert!(resolved(href, Some("s3://b/items.parquet")).contains("allow_local"), "{href}");
        }
        assert!(resolved("fi\nle:///etc/passwd", base).contains("allow_local"));
        assert_eq!(resolved("fi\nle:///x", Some("s3://b/items.parquet")), "s3://b/fi\nle:///x");
        assert_eq!(resolved("/k/a.tif", Some("s3://b/dir/items.parquet")), "s3://b/k/a.tif");
        assert!(resolved("C:/a.tif", base).contains("'c'"));
        assert!(resolved("a.tif", Some("https://ho st/items.parquet")).contains("no URL"));
        let anywhere = |href| Location::resolve_anywhere(href, base).unwrap();
        assert_eq!(anywhere("/data/a.tif"), Location::File("/data/a.tif".into()));
        assert_eq!(anywhere("file:///data/a.tif"), Location::File("/data/a.tif".into()));
        assert_eq!(anywhere("a.tif").to_string(), "https://host/dir/a.tif");
        assert_eq!(anywhere("//other/a.tif").to_string(), "https://other/a.tif");
    }

    #[test]
    fn file_urls_are_paths() {
        let plain = |text: &str| plain_path(text).unwrap_or_else(|e| e.to_string());
        assert_eq!(plain("file:///a%20b/*.parquet"), "/a b/*.parquet");
        assert_eq!(plain("file:/a/x?.parquet"), "/a/x?.parquet");
        assert_eq!(plain("FILE://localhost/a"), "/a");
        assert_eq!(plain("/a%20b"), "/a%20b");
        for elsewhere in ["file://host/../a", "file:a", "file://localhostile/a", "file:"] {
            assert!(plain(elsewhere).contains("no file on this machine"), "{elsewhere}");
        }
    }

    #[test]
    fn other_schemes_are_named() {
        assert!(resolved("ftp://host/a.tif", None).contains("'ftp'"));
        assert!(resolved("memory:///a.tif", None).contains("'memory'"));
        assert!(resolved("memory:/a.tif", None).contains("'memory'"));
        assert!(resolved("", None).contains("empty"));
    }
}
