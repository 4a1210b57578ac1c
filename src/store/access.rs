//! What DuckDB's settings allow a session to open.

use std::path::{Component, Path, PathBuf};

use super::{Location, Service};
use crate::error::{Error, Result};

/// `enable_external_access`, `allowed_directories`, `allowed_paths` and, for local files, `disabled_filesystems`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Access {
    /// What may be opened all the same where external access is off.
    pub only: Option<Allowed>,
    /// The local file system is disabled.
    pub no_files: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Allowed {
    /// Folders and beginnings of URLs, with a slash at the end.
    pub directories: Vec<String>,
    pub paths: Vec<String>,
}

impl Access {
    /// # Errors
    /// A location that the settings forbid.
    pub fn check(&self, location: &Location) -> Result<()> {
        if self.no_files && matches!(location, Location::File(_)) {
            return Err(Error::Store("the setting disabled_filesystems disables local files".into()));
        }
        let allowed = match (&self.only, location) {
            (None, _) => true,
            (Some(only), Location::File(path)) => only.has_file(path),
            (Some(only), Location::Http(url) | Location::Cloud(url)) => only.has_url(url.as_str()),
        };
        if allowed {
            return Ok(());
        }
        Err(Error::Store(format!(
            "the setting enable_external_access is false, and {location} is in none of allowed_directories and allowed_paths"
        )))
    }
}

impl Allowed {
    fn has_url(&self, url: &str) -> bool {
        let urls = |texts: &[String]| texts.iter().filter_map(|text| as_url(text)).collect::<Vec<_>>();
        urls(&self.directories).iter().any(|directory| url.starts_with(directory.as_str()))
            || urls(&self.paths).iter().any(|path| path == url)
    }

    /// Compares what the names lead to, so that neither `..` nor a symbolic link leads out of a folder.
    fn has_file(&self, path: &Path) -> bool {
        let Some(path) = real(path) else { return false };
        let is = |allowed: &String| real(Path::new(allowed));
        self.directories.iter().filter_map(is).any(|directory| path.starts_with(directory))
            || self.paths.iter().filter_map(is).any(|allowed| path == allowed)
    }
}

/// The URL that an entry is. DuckDB 1.5.6 takes one for a relative path: `s3://b/` becomes `/working/folder/s3:/b/`.
fn as_url(entry: &str) -> Option<String> {
    if entry.contains("://") {
        return Some(entry.to_owned());
    }
    let (before, rest) = entry.split_once(":/")?;
    let scheme = before.rsplit('/').next().filter(|scheme| before.contains('/') && scheme.len() > 1)?;
    let served = matches!(scheme, "http" | "https") || Service::of_scheme(scheme).is_some();
    served.then(|| format!("{scheme}://{rest}"))
}

/// The path without links, also of a file that does not exist in a folder that does.
fn real(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.canonicalize().ok().or_else(|| {
        let name = path.components().next_back().filter(|last| matches!(last, Component::Normal(_)))?;
        Some(path.parent()?.canonicalize().ok()?.join(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(location: &str) -> bool {
        let directories = vec![format!("{}/", env!("CARGO_MANIFEST_DIR")), "https://host/public/".to_owned()];
        let access = Access { only: Some(Allowed { directories, paths: Vec::new() }), no_files: false };
        access.check(&Location::resolve(location, None).unwrap()).is_ok()
    }

    #[test]
    fn nothing_leads_out_of_a_folder() {
        let root = env!("CARGO_MANIFEST_DIR");
        assert!(allows(&format!("{root}/src/lib.rs")) && allows(&format!("{root}/no_such_file.tif")));
        assert!(!allows("/etc/hostname"));
        assert!(!allows(&format!("{root}/../x.tif")) && !allows(&format!("{root}/src/../../x.tif")));
        assert!(!allows(&format!("{root}x/a.tif")) && !allows(&format!("{root}/..")));
        assert!(allows("https://host/public/a.tif?sig=1"));
        for outside in ["https://host/a.tif", "https://host/public/%2e%2e/a.tif", "http://host/public/a.tif"] {
            assert!(!allows(outside), "{outside}");
        }
    }

    #[test]
    fn urls_as_either_version_of_duckdb_keeps_them() {
        for entry in ["https://host/public/", "/any/where/https:/host/public/"] {
            let only = Some(Allowed { directories: vec![entry.into()], paths: Vec::new() });
            let access = Access { only, no_files: false };
            let allows = |url: &str| access.check(&Location::resolve(url, None).unwrap()).is_ok();
            assert!(allows("https://host/public/a.tif"), "{entry}");
            assert!(!allows("https://host/a.tif") && !allows("http://host/public/a.tif"), "{entry}");
        }
        assert_eq!(as_url("/data/c:/x"), None);
        assert_eq!(as_url("/data/xs3:/x/"), None);
    }

    #[test]
    fn files_can_be_disabled_alone() {
        let access = Access { only: None, no_files: true };
        assert!(access.check(&Location::File("/a.tif".into())).is_err());
        assert!(access.check(&Location::resolve("https://host/a.tif", None).unwrap()).is_ok());
    }
}
