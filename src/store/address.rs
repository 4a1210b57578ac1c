//! Which object of which bucket a URL names.
//!
//! The library's own recognition knows fewer forms (no buckets with dots, no Google hosts, no S3 hosts without a region), so
//! the host is read here, and the library is told bucket, region and endpoint.

use object_store::path::{Path, PathPart};
use percent_encoding::percent_decode_str;
use url::Url;

use super::CloudUrl;
use super::cloud_url::is_sas;
use super::meaning::is_label;
pub use super::service::Service;
use crate::error::{Error, Result};

/// An object in a bucket (S3, Google) or container (Azure).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub service: Service,
    pub bucket: String,
    pub key: Path,
    /// Of Azure.
    pub account: Option<String>,
    /// Of S3, where the host names it.
    pub region: Option<String>,
    /// The host, where the URL names it and not only the bucket.
    pub endpoint: Option<String>,
    /// The bucket is a part of `endpoint`.
    pub virtual_host: bool,
    /// The query of an Azure URL that carries a shared access signature.
    pub sas: Option<String>,
}

impl Address {
    /// The address of an s3, gs or az URL.
    ///
    /// # Errors
    /// A URL without a bucket, or with a key that cannot be one.
    pub fn of_cloud(url: &CloudUrl) -> Result<Address> {
        let wrong = |what: &str| Error::Store(format!("'{url}' {what}"));
        let service = Service::of_scheme(url.scheme()).ok_or_else(|| wrong("names no object store"))?;
        let host = url.host().ok_or_else(|| wrong("names no bucket"))?;
        let mut address = Address::new(service, host.to_owned(), url.key()).map_err(|e| wrong(&e))?;
        if service != Service::Azure {
            return address.checked().map_err(|e| wrong(&e));
        }
        address.sas = url.sas().map(str::to_owned);
        // container@account.host, as Hadoop writes it; account.host/container, as DuckDB does; or a bare container.
        let user = decoded(url.username());
        match (user.is_empty(), host.split_once('.')) {
            (false, Some((account, _))) => {
                address.bucket = user;
                address.account = Some(account.to_owned());
                address.endpoint = Some(azure_endpoint(host).ok_or_else(|| wrong("is on no host of Azure's"))?);
            }
            (false, None) => {
                address.bucket = user;
                address.account = Some(host.to_owned());
            }
            (true, Some((account, _))) => {
                let (container, rest) = url.key().split_once('/').ok_or_else(|| wrong("names no container"))?;
                address = Address { key: key(rest).map_err(|e| wrong(&e))?, ..address };
                address.bucket = container.to_owned();
                address.account = Some(account.to_owned());
                address.endpoint = Some(azure_endpoint(host).ok_or_else(|| wrong("is on no host of Azure's"))?);
            }
            (true, None) => {}
        }
        address.checked().map_err(|e| wrong(&e))
    }

    /// The address of an https URL, if its host is one of the known services and its path names an object.
    pub fn of_https(url: &Url) -> Option<Address> {
        let host = url.host_str().filter(|_| url.scheme() == "https" && url.port().is_none())?;
        let mut address = s3(host, url.path())
            .or_else(|| r2(host, url.path()))
            .or_else(|| google(host, url.path()))
            .or_else(|| azure(host, url.path()))?;
        if address.service == Service::Azure {
            address.sas = url.query().filter(|query| is_sas(query)).map(str::to_owned);
        }
        // What is no object of a bucket is plain https.
        address.checked().ok().filter(|address| !address.key.as_ref().is_empty())
    }

    /// Bucket and account become parts of URLs, and must not be more than that.
    fn checked(self) -> Result<Address, String> {
        let is_bucket = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            // Containers of Azure are `$root` and `$web`, too, and those of Fabric have names of people's choice.
            let of_azure = |c: char| self.service == Service::Azure && (c == '$' || c == ' ');
            let named = !text.is_empty() && text.len() <= 255 && text.chars().all(|c| fits(c) || of_azure(c));
            named && text.trim_matches('.') == text
        };
        if !is_bucket(&self.bucket) {
            return Err("names no bucket that can be one".into());
        }
        match &self.account {
            Some(account) if !is_label(account) => Err("names no account that can be one".into()),
            _ => Ok(self),
        }
    }

    fn new(service: Service, bucket: String, named: &str) -> Result<Address, String> {
        Ok(Address {
            service,
            bucket,
            key: key(named)?,
            account: None,
            region: None,
            endpoint: None,
            virtual_host: false,
            sas: None,
        })
    }

    /// The path of a URL is the key.
    fn in_host(service: Service, bucket: &str, path: &str) -> Option<Address> {
        let path = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
        Address::new(service, bucket.to_owned(), &path).ok()
    }

    /// The bucket is the first part of the path of a URL.
    fn in_path(service: Service, path: &str) -> Option<Address> {
        let (bucket, _) = path.strip_prefix('/')?.split_once('/').filter(|(bucket, _)| !bucket.is_empty())?;
        Address::in_host(service, &decoded(bucket), path.get(bucket.len() + 1..)?)
    }
}

/// The host that stands for every region, and redirects to that of the bucket.
pub const S3_ANYWHERE: &str = "https://s3.amazonaws.com";

/// `s3.REGION.amazonaws.com` and its relatives, with the bucket in front of it or in the path.
fn s3(host: &str, path: &str) -> Option<Address> {
    let suffix = [".amazonaws.com", ".amazonaws.com.cn"].into_iter().find(|suffix| host.ends_with(suffix))?;
    let labels: Vec<&str> = host.strip_suffix(suffix)?.split('.').collect();
    // From the right: the region, `dualstack`, `s3`; what is left of them is the bucket, which may have dots.
    let (at, region) =
        labels.iter().enumerate().rev().find_map(|(at, label)| match (*label, label.strip_prefix("s3-")) {
            ("s3", _) => Some((at, None)),
            (_, Some(region)) if is_region(region) => Some((at, Some(region))),
            _ => None,
        })?;
    let region = match (labels.get(at + 1..)?, region) {
        (rest, Some(_)) if !rest.is_empty() => return None,
        ([], region) => region,
        ([region], None) | (["dualstack", region], None) if is_region(region) => Some(*region),
        _ => return None,
    };
    let bucket = labels.get(..at)?.join(".");
    let mut address = match bucket.is_empty() {
        true => Address::in_path(Service::S3, path)?,
        false => Address::in_host(Service::S3, &bucket, path)?,
    };
    address.region = region.map(str::to_owned);
    address.endpoint = Some(S3_ANYWHERE.to_owned());
    if region.is_some() {
        address.virtual_host = at > 0 && !address.bucket.contains('.');
        let host = if address.virtual_host || at == 0 { host } else { host.get(address.bucket.len() + 1..)? };
        address.endpoint = Some(format!("https://{host}"));
    }
    Some(address)
}

/// `us-west-2`, `cn-north-1`, `us-gov-east-1`.
pub fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    matches!(parts.as_slice(), [area, middle @ .., number]
        if area.len() == 2 && letters(area) && !middle.is_empty() && middle.iter().all(|part| letters(part))
            && number.parse::<u8>().is_ok())
}

/// `ACCOUNT.r2.cloudflarestorage.com`, with a jurisdiction behind the account or a bucket in front of it.
fn r2(host: &str, path: &str) -> Option<Address> {
    let labels: Vec<&str> = host.strip_suffix(".r2.cloudflarestorage.com")?.split('.').collect();
    let is_jurisdiction = |label: &str| matches!(label, "eu" | "us" | "fedramp");
    let bucket = match labels.as_slice() {
        [_] => None,
        [_, jurisdiction] if is_jurisdiction(jurisdiction) => None,
        [bucket, _] => Some(*bucket),
        [bucket, _, jurisdiction] if is_jurisdiction(jurisdiction) => Some(*bucket),
        _ => return None,
    };
    let mut address = match bucket {
        Some(bucket) => Address::in_host(Service::S3, bucket, path)?,
        None => Address::in_path(Service::S3, path)?,
    };
    address.virtual_host = bucket.is_some();
    address.region = Some("auto".into());
    address.endpoint = Some(format!("https://{host}"));
    Some(address)
}

/// The XML interface; that of JSON has other paths, which are no bucket.
fn google(host: &str, path: &str) -> Option<Address> {
    const HOST: &str = "storage.googleapis.com";
    let mut address = match host.strip_suffix(HOST)? {
        "" => Address::in_path(Service::Gcs, path)
            .filter(|address| !["storage", "download", "upload", "batch"].contains(&address.bucket.as_str()))?,
        bucket => Address::in_host(Service::Gcs, bucket.strip_suffix('.')?, path)?,
    };
    address.endpoint = Some(format!("https://{HOST}"));
    Some(address)
}

fn azure(host: &str, path: &str) -> Option<Address> {
    let endpoint = azure_endpoint(host)?;
    let (account, _) = host.split_once('.')?;
    let mut address = Address::in_path(Service::Azure, path)?;
    address.account = Some(account.to_owned());
    address.endpoint = Some(endpoint);
    Some(address)
}

/// The host for blobs of an Azure host for blobs or for file systems; `None` for a host that is none of Azure's.
fn azure_endpoint(host: &str) -> Option<String> {
    const SUFFIXES: [&str; 4] =
        ["core.windows.net", "core.chinacloudapi.cn", "core.usgovcloudapi.net", "fabric.microsoft.com"];
    let (account, rest) = host.split_once('.')?;
    let (interface, suffix) = rest.split_once('.')?;
    let known = ["blob", "dfs"].contains(&interface) && SUFFIXES.contains(&suffix);
    (known && !account.is_empty()).then(|| format!("https://{account}.blob.{suffix}"))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The key as it stands, whatever is between its slashes; but the library has no key that begins with one.
fn key(text: &str) -> Result<Path, String> {
    if text.starts_with('/') {
        return Err("has a key that begins with a slash, which is not supported".into());
    }
    // Joined one by one: all at once, the library leaves out empty ones.
    text.split('/').try_fold(Path::ROOT, |key, part| {
        let part = PathPart::parse(part).map_err(|e| format!("is no key of an object store: {e}"))?;
        Ok(key.join(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// service bucket key [account] [region] [endpoint], `-` for what is not said.
    fn told(text: &str) -> String {
        let address = match text.starts_with("http") {
            true => Address::of_https(&Url::parse(text).unwrap()),
            false => CloudUrl::parse(text).and_then(|url| Address::of_cloud(&url)).ok(),
        };
        let Some(a) = address else { return "none".into() };
        let show = |text: &Option<String>| text.as_ref().map_or("-", |t| t.trim_start_matches("https://")).to_owned();
        let endpoint = format!("{}{}", show(&a.endpoint), if a.virtual_host { " virtual" } else { "" });
        format!("{:?} {} {} {} {} {endpoint}", a.service, a.bucket, a.key, show(&a.account), show(&a.region))
    }

    #[test]
    fn s3_in_every_form() {
        for (url, wanted) in [
            ("s3://b/k/a.tif", "S3 b k/a.tif - - -"),
            ("s3a://b.c/a.tif", "S3 b.c a.tif - - -"),
            ("https://s3.amazonaws.com/b/k/a.tif", "S3 b k/a.tif - - s3.amazonaws.com"),
            ("https://s3.eu-west-1.amazonaws.com/b/a.tif", "S3 b a.tif - eu-west-1 s3.eu-west-1.amazonaws.com"),
            ("https://s3-eu-west-1.amazonaws.com/b/a.tif", "S3 b a.tif - eu-west-1 s3-eu-west-1.amazonaws.com"),
            ("https://b.s3.amazonaws.com/k/a.tif", "S3 b k/a.tif - - s3.amazonaws.com"),
            (
                "https://b.s3.us-gov-east-1.amazonaws.com/a.tif",
                "S3 b a.tif - us-gov-east-1 b.s3.us-gov-east-1.amazonaws.com virtual",
            ),
            (
                "https://b.s3-us-west-2.amazonaws.com/a.tif",
                "S3 b a.tif - us-west-2 b.s3-us-west-2.amazonaws.com virtual",
            ),
            ("https://b.c.s3.us-west-2.amazonaws.com/a.tif", "S3 b.c a.tif - us-west-2 s3.us-west-2.amazonaws.com"),
            (
                "https://s3.dualstack.us-west-2.amazonaws.com/b/a.tif",
                "S3 b a.tif - us-west-2 s3.dualstack.us-west-2.amazonaws.com",
            ),
            (
                "https://b.s3.dualstack.us-west-2.amazonaws.com/a.tif",
                "S3 b a.tif - us-west-2 b.s3.dualstack.us-west-2.amazonaws.com virtual",
            ),
            (
                "https://b.s3.cn-north-1.amazonaws.com.cn/a.tif",
                "S3 b a.tif - cn-north-1 b.s3.cn-north-1.amazonaws.com.cn virtual",
            ),
            ("https://0a.r2.cloudflarestorage.com/b/a.tif", "S3 b a.tif - auto 0a.r2.cloudflarestorage.com"),
            ("https://0a.eu.r2.cloudflarestorage.com/b/a.tif", "S3 b a.tif - auto 0a.eu.r2.cloudflarestorage.com"),
            ("https://b.0a.r2.cloudflarestorage.com/a.tif", "S3 b a.tif - auto b.0a.r2.cloudflarestorage.com virtual"),
        ] {
            assert_eq!(told(url), wanted, "{url}");
        }
    }

    #[test]
    fn what_only_looks_like_s3_is_plain_https() {
        for url in [
            "http://b.s3.amazonaws.com/a.tif",
            "https://b.s3.us-west-2.amazonaws.com:8443/a.tif",
            "https://b.s3-website-us-west-2.amazonaws.com/a.tif",
            "https://b.s3-accelerate.amazonaws.com/a.tif",
            "https://b.s3.us-west-2.amazonaws.com.evil.org/a.tif",
            "https://amazonaws.com/b/a.tif",
            "https://evil-amazonaws.com/b/a.tif",
            "https://d1.execute-api.us-west-2.amazonaws.com/a.tif",
            "https://b.s3.us-west-2.amazonaws.com/",
            "https://s3.us-west-2.amazonaws.com/b",
        ] {
            assert_eq!(told(url), "none", "{url}");
        }
    }

    #[test]
    fn google_in_every_form() {
        assert_eq!(told("gs://b/k/a.tif"), "Gcs b k/a.tif - - -");
        assert_eq!(told("gcs://b/a.tif"), "Gcs b a.tif - - -");
        assert_eq!(told("https://storage.googleapis.com/b.c/k/a.tif"), "Gcs b.c k/a.tif - - storage.googleapis.com");
        assert_eq!(told("https://b.c.storage.googleapis.com/k/a.tif"), "Gcs b.c k/a.tif - - storage.googleapis.com");
        for url in [
            "https://storage.googleapis.com/download/storage/v1/b/b/o/a.tif",
            "https://evilstorage.googleapis.com/b/a.tif",
            "https://www.googleapis.com/b/a.tif",
        ] {
            assert_eq!(told(url), "none", "{url}");
        }
    }

    #[test]
    fn azure_in_every_form() {
        for (url, wanted) in [
            ("az://c/k/a.tif", "Azure c k/a.tif - - -"),
            ("abfs://c/a.tif", "Azure c a.tif - - -"),
            ("az://c@acct/a.tif", "Azure c a.tif acct - -"),
            ("abfss://c@acct.dfs.core.windows.net/a.tif", "Azure c a.tif acct - acct.blob.core.windows.net"),
            ("az://acct.blob.core.windows.net/c/k/a.tif", "Azure c k/a.tif acct - acct.blob.core.windows.net"),
            ("https://acct.blob.core.windows.net/c/a.tif", "Azure c a.tif acct - acct.blob.core.windows.net"),
            ("https://acct.dfs.core.windows.net/c/k/a.tif", "Azure c k/a.tif acct - acct.blob.core.windows.net"),
            ("https://acct.blob.core.windows.net/c", "none"),
            ("https://acct.table.core.windows.net/c/a.tif", "none"),
            ("https://acct.blob.core.windows.net.evil.org/c/a.tif", "none"),
        ] {
            assert_eq!(told(url), wanted, "{url}");
        }
        let sas = |url: &str| Address::of_cloud(&CloudUrl::parse(url).unwrap()).unwrap().sas;
        assert_eq!(sas("az://c@acct/a.tif?sv=1&sig=a%2Fb").as_deref(), Some("sv=1&sig=a%2Fb"));
        assert_eq!(sas("az://c@acct/a.tif?versionid=1"), None);
    }

    #[test]
    fn buckets_and_accounts_are_names() {
        for url in [
            "s3://a%2Fb/k",
            "s3://x%40127.0.0.1%3A8443%2F/k",
            "s3://../k",
            "gs://b%23/k",
            "az://c@x%40evil/k",
            "az://c%2F..%2Fd@acct/k",
            "az://..@acct/k",
            "az://x%40evil.blob.core.windows.net/c/k",
            "abfss://c@a%23.dfs.core.windows.net/k",
            "https://s3.amazonaws.com/a%2F..%2Fb/k",
            "https://acct.blob.core.windows.net/c%3F/k",
            "https://storage.googleapis.com/%2E%2E/k",
            "https://s3.amazonaws.com/b/..%2F..%2Fc/k",
        ] {
            assert_eq!(told(url), "none", "{url}");
        }
        assert_eq!(
            told("https://acct.blob.core.windows.net/$web/a.tif"),
            "Azure $web a.tif acct - acct.blob.core.windows.net"
        );
        assert_eq!(told("s3://My_Bucket.x/a.tif"), "S3 My_Bucket.x a.tif - - -");
    }

    #[test]
    fn keys_stand_as_they_are_and_paths_are_decoded_once() {
        let key = |url: &str| CloudUrl::parse(url).and_then(|url| Address::of_cloud(&url)).map(|a| a.key.to_string());
        for name in ["a%20b/%C3%A9%2B.tif", "a b+c=d.tif", "a//b.tif", "a#1?b.tif", "[1].", "a/"] {
            for root in ["s3://b", "gs://b", "az://c@acct", "az://acct.blob.core.windows.net/c"] {
                assert_eq!(key(&format!("{root}/{name}")).unwrap(), name);
            }
        }
        let of_https = |url: &str| Address::of_https(&Url::parse(url).unwrap()).map(|a| a.key.to_string());
        for root in ["https://s3.amazonaws.com/b", "https://b.s3.amazonaws.com", "https://storage.googleapis.com/b"] {
            assert_eq!(of_https(&format!("{root}/a%20b//%C3%A9%2B%2520.tif#x")).as_deref(), Some("a b//é+%20.tif"));
        }
        assert!(key("s3://b//a.tif").unwrap_err().to_string().contains("begins with a slash"));
        assert!(key("s3://b/a\tb.tif").unwrap_err().to_string().contains("no key"));
        assert!(key("s3:///a.tif").unwrap_err().to_string().contains("no bucket"));
    }
}
