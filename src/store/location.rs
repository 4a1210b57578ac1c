//! An href as it stands in an item, made absolute.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use super::address::Service;
use super::shown::{self, Secrets};
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
    /// Resolves `href` against `base`, the file or URL that named it. What a URL named is remote, too.
    ///
    /// # Errors
    /// A scheme that is not served, a malformed URL, a local file of an item that is none.
    pub fn resolve(href: &str, base: Option<&str>) -> Result<Location> {
        match remote(base)? {
            Some(base) => match Location::joined(href.trim(), &base)? {
                Location::File(_) => Err(Error::Store(
                    "the item comes from a URL, and its href names a file of this machine; pass allow_local := true if it may"
                        .into(),
                )),
                remote => Ok(remote),
            },
            None => Location::beside(href.trim(), base),
        }
    }

    /// As [`Location::resolve`], but what a URL named may be a file of this machine: an absolute path or a file URL.
    ///
    /// # Errors
    /// A scheme that is not served, a malformed URL.
    pub fn resolve_anywhere(href: &str, base: Option<&str>) -> Result<Location> {
        let href = href.trim();
        match remote(base)? {
            Some(_) if Path::new(href).is_absolute() && !href.starts_with("//") => Ok(Location::File(href.into())),
            Some(base) => Location::joined(href, &base),
            None => Location::beside(href, base),
        }
    }

    /// An href as a URL names it: relative, `/of/the/server`, `//of.another/server`, or absolute.
    fn joined(href: &str, base: &Url) -> Result<Location> {
        some(href)?;
        // What joins is a URL of any scheme: a line break inside is skipped, and `fi\nle:` is `file:`.
        let url =
            base.join(href).map_err(|e| Error::Store(format!("'{}' is no relative URL: {e}", shown::place(href))))?;
        Location::from_url(url)
    }

    /// An href that a file named, or nobody.
    fn beside(href: &str, base: Option<&str>) -> Result<Location> {
        some(href)?;
        if let Some(url) = absolute_url(href)? {
            return Location::from_url(url);
        }
        if Path::new(href).is_absolute() {
            return Ok(Location::File(href.into()));
        }
        match base.map(|base| (base, absolute_url(base))) {
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

    /// What of it is not to be shown, whoever repeats it.
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        if let Location::Http(url) | Location::Cloud(url) = self {
            secrets.add_url(url);
        }
        secrets
    }
}

impl std::fmt::Display for Location {
    /// The location as it may be shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::File(path) => f.write_str(&shown::place(&path.to_string_lossy())),
            Location::Http(url) | Location::Cloud(url) => f.write_str(&shown::url(url)),
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
    if href.is_empty() { Err(Error::Store("the href is empty".into())) } else { Ok(()) }
}

/// The base as a URL of a server, if it is one.
fn remote(base: Option<&str>) -> Result<Option<Url>> {
    let url = base.map(absolute_url).transpose()?.flatten();
    Ok(url.filter(|url| url.scheme() != "file"))
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

/// `text` as a URL if it has a scheme of two letters or more (one letter is a Windows drive).
fn absolute_url(text: &str) -> Result<Option<Url>> {
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(None) };
    let is_scheme = scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let known = WITHOUT_SLASHES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_scheme || !(known || rest.starts_with("//")) {
        return Ok(None);
    }
    Url::parse(text).map(Some).map_err(|e| Error::Store(format!("'{}' is no URL: {e}", shown::place(text))))
}

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
        for href in ["file:///etc/passwd", "file:/etc/passwd", "FILE:etc/passwd", "fi\nle:///etc/passwd", " file:///x"]
        {
            assert!(resolved(href, base).contains("allow_local"), "{href}: {}", resolved(href, base));
            assert!(resolved(href, Some("s3://b/items.parquet")).contains("allow_local"), "{href}");
        }
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
