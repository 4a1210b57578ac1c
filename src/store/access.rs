//! What DuckDB's settings allow a session to open.

use std::fs::File;
#[cfg(unix)]
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

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
    /// Whether something that exists may not be opened.
    pub fn is_restricted(&self) -> bool {
        self.only.is_some() || self.no_files
    }

    /// The one answer to "may this be opened", for whatever became a path or URL. A path is judged by where it leads.
    ///
    /// # Errors
    /// A location that the settings forbid.
    pub fn check(&self, location: &Location) -> Result<()> {
        match (&self.only, location) {
            (_, Location::File(_)) if self.no_files => Err(disabled()),
            (None, _) => Ok(()),
            (Some(only), Location::File(path)) if real(path).is_some_and(|real| only.has_file(&real)) => Ok(()),
            (Some(only), Location::Http(_) | Location::Cloud(_)) if only.has_url(location) => Ok(()),
            _ => Err(forbidden(location)),
        }
    }

    /// The path of an existing file without links, if that may be opened.
    ///
    /// # Errors
    /// As [`Access::check`]; a file that is not there.
    pub fn real_file(&self, path: &Path) -> Result<PathBuf> {
        let location = || Location::File(path.into());
        self.check(&location())?;
        let real = path.canonicalize().map_err(|_| Error::Store(format!("no such file: '{}'", location())))?;
        match &self.only {
            Some(only) if !only.has_file(&real) => Err(forbidden(&location())),
            _ => Ok(real),
        }
    }

    /// Whether `file`, which was opened as `path`, may be read: the name may lead elsewhere than when it was checked.
    ///
    /// # Errors
    /// As [`Access::real_file`]; a name that leads to another file by now.
    pub fn check_opened(&self, path: &Path, file: &File) -> Result<()> {
        if !self.is_restricted() {
            return Ok(());
        }
        let real = self.real_file(path)?;
        if is_same(file, &real) { Ok(()) } else { Err(forbidden(&Location::File(path.into()))) }
    }
}

/// Whether an open file is the one that a path without links names now.
#[cfg(unix)]
fn is_same(file: &File, real: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: std::io::Result<Metadata>| found.map(|found| (found.dev(), found.ino()));
    matches!((place(file.metadata()), place(std::fs::symlink_metadata(real))), (Ok(open), Ok(named)) if open == named)
}

/// Nothing tells files apart here.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> bool {
    true
}

fn disabled() -> Error {
    Error::Store("the setting disabled_filesystems disables local files".into())
}

fn forbidden(location: &Location) -> Error {
    Error::Store(format!(
        "the setting enable_external_access is false, and {location} is in none of allowed_directories and allowed_paths"
    ))
}

impl Allowed {
    fn has_url(&self, location: &Location) -> bool {
        let (url, path) = (location.as_given(), location.path());
        // Some servers take `%2f` for a slash, and `..` behind it for the folder above.
        let decoded = percent_decode_str(&path).decode_utf8_lossy();
        if decoded.split(['/', '\\']).any(|part| part == "..") {
            return false;
        }
        let urls = |texts: &[String]| texts.iter().filter_map(|text| as_url(text)).collect::<Vec<_>>();
        urls(&self.directories).iter().any(|directory| url.starts_with(directory.as_str()))
            || urls(&self.paths).contains(&url)
    }

    /// `path` has no links: neither `..` nor a symbolic link leads out of a folder.
    fn has_file(&self, path: &Path) -> bool {
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

/// The path without links, also of a file that does not exist in a folder that does; `None` of a link that leads nowhere.
fn real(path: &Path) -> Option<PathBuf> {
    // What cannot be told is not allowed.
    let path = std::path::absolute(path).ok()?;
    path.canonicalize().ok().or_else(|| {
        let name = path.components().next_back().filter(|last| matches!(last, Component::Normal(_)))?;
        let is_free = std::fs::symlink_metadata(&path).is_err_and(|e| e.kind() == ErrorKind::NotFound);
        Some(path.parent().filter(|_| is_free)?.canonicalize().ok()?.join(name))
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
        for outside in [
            "https://host/a.tif",
            "https://host/public/%2e%2e/a.tif",
            "https://host/public/..%2fa.tif",
            "https://host/public/x%5c..%5c..%5ca.tif",
            "http://host/public/a.tif",
            "https://host/public",
            "https://host/public.evil/a.tif",
            "https://user@host/public/a.tif",
        ] {
            assert!(!allows(outside), "{outside}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_judged_by_where_they_lead() {
        let folder = std::env::temp_dir().join(format!("lazycogs-access-{}", std::process::id()));
        let (inside, outside) = (folder.join("inside"), folder.join("outside"));
        for folder in [&inside, &outside] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("a.tif"), "x").unwrap();
        }
        let link = |name: &str, target: &Path| std::os::unix::fs::symlink(target, inside.join(name)).unwrap();
        link("folder", &outside);
        link("file.tif", &outside.join("a.tif"));
        link("dangling.tif", &outside.join("none.tif"));
        link("within.tif", &inside.join("a.tif"));
        let directories = vec![format!("{}/", inside.display())];
        let access = Access { only: Some(Allowed { directories, paths: Vec::new() }), no_files: false };
        let allows = |name: &str| access.check(&Location::File(inside.join(name))).is_ok();
        let reads = |name: &str| {
            let path = inside.join(name);
            File::open(&path).is_ok_and(|file| access.check_opened(&path, &file).is_ok())
        };
        assert!(allows("a.tif") && allows("within.tif") && allows("none.tif") && reads("a.tif") && reads("within.tif"));
        for name in ["folder/a.tif", "folder/none.tif", "file.tif", "dangling.tif", "folder/../outside/a.tif", "../a"] {
            assert!(!allows(name) && !reads(name), "{name}");
        }
        // Opened as one file, and another by the time it is looked at.
        let file = File::open(outside.join("a.tif")).unwrap();
        assert!(access.check_opened(&inside.join("a.tif"), &file).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
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
