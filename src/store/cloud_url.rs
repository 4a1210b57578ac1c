//! `s3://bucket/key`: a bucket as in any URL, and then a key as it stands.

use url::Url;

use super::service::{Service, bucket_and_key};
use super::shown::{self, Secrets};
use crate::error::{Error, Result};

/// The URL of an object in a bucket. In its key `%`, `?`, `#` and blanks are letters like any other; but steps (`.` and `..`) are
/// taken, since no client of HTTP asks for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CloudUrl {
    /// `scheme://name@bucket/`
    root: Url,
    key: String,
    /// The query of an Azure URL, where that is a shared access signature.
    sas: Option<String>,
}

impl CloudUrl {
    /// # Errors
    /// What has no scheme, or no bucket that can be one.
    pub fn parse(text: &str) -> Result<CloudUrl> {
        let (root, key) =
            bucket_and_key(text).map_err(|why| Error::Store(format!("'{}' {why}", shown::place(text))))?;
        Ok(CloudUrl::new(root, key))
    }

    fn new(root: Url, key: &str) -> CloudUrl {
        let signed = match Service::of_scheme(root.scheme()) {
            Some(Service::Azure) => key.rsplit_once('?').filter(|(_, query)| is_sas(query)),
            _ => None,
        };
        let (key, sas) = signed.map_or((key, None), |(key, sas)| (key, Some(sas.to_owned())));
        CloudUrl { root, key: without_steps(key), sas }
    }

    /// What `href` names beside this object: another key, `/key`, or `//bucket/key`.
    ///
    /// # Errors
    /// As [`CloudUrl::parse`].
    pub fn join(&self, href: &str) -> Result<CloudUrl> {
        if let Some(bucket) = href.strip_prefix("//") {
            return CloudUrl::parse(&format!("{}://{bucket}", self.scheme()));
        }
        let folder = self.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        Ok(match href.strip_prefix('/') {
            Some(key) => CloudUrl::new(self.root.clone(), key),
            None if folder.is_empty() => CloudUrl::new(self.root.clone(), href),
            None => CloudUrl::new(self.root.clone(), &format!("{folder}/{href}")),
        })
    }

    pub fn scheme(&self) -> &str {
        self.root.scheme()
    }

    /// What stands where a URL has its server, percent-encoded.
    pub fn host(&self) -> Option<&str> {
        self.root.host_str().filter(|host| !host.is_empty())
    }

    /// The name in front of the host, percent-encoded.
    pub fn username(&self) -> &str {
        self.root.username()
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn sas(&self) -> Option<&str> {
        self.sas.as_deref()
    }

    /// With signature and all.
    pub fn as_given(&self) -> String {
        let sas = self.sas.as_ref().map(|sas| format!("?{sas}")).unwrap_or_default();
        format!("{}{}{sas}", self.root, self.key)
    }

    /// What of it is not to be shown. A key may look as if it had a query, and then that is not shown either.
    pub fn add_secrets(&self, secrets: &mut Secrets) {
        secrets.add_url(&self.root);
        let behind =
            ['?', '#'].map(|sign| self.key.split_once(sign).map(|(_, rest)| rest).filter(|rest| rest.contains('=')));
        for query in behind.into_iter().chain([self.sas()]).flatten() {
            secrets.add(query);
            query.split('&').for_each(|pair| secrets.add_parameter(pair));
        }
    }
}

impl std::fmt::Display for CloudUrl {
    /// As it may be shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", shown::url(&self.root), shown::path(&self.key))
    }
}

pub fn is_sas(query: &str) -> bool {
    query.split('&').any(|pair| pair.starts_with("sig="))
}

fn without_steps(key: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in key.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_as_they_are() {
        for key in
            ["a#1.tif", "a?b.tif", "a%20b.tif", "a b+c.tif", " [1]é//x...", "k/%2e%2e/a.", "a?v=1.tif", "a\\b.tif"]
        {
            for scheme in ["s3", "gs", "az"] {
                let url = CloudUrl::parse(&format!("{scheme}://bucket/{key}")).unwrap();
                assert_eq!((url.key(), url.host()), (key, Some("bucket")));
                assert_eq!(CloudUrl::parse("s3://bucket/k/x").unwrap().join(key).unwrap().key(), format!("k/{key}"));
            }
        }
        assert_eq!(CloudUrl::parse("S3://B/K?x").unwrap().as_given(), "s3://B/K?x");
    }

    #[test]
    fn a_signature_is_no_key() {
        let url = CloudUrl::parse("az://c@acct/a?b.tif?sv=1&sig=topsecret").unwrap();
        assert_eq!((url.key(), url.sas()), ("a?b.tif", Some("sv=1&sig=topsecret")));
        assert_eq!(url.to_string(), "az://c@acct/a?b.tif");
        let s3 = CloudUrl::parse("s3://u:hunter2@b/a.tif?X-Amz-Signature=topsecret").unwrap();
        assert_eq!((s3.key(), s3.to_string()), ("a.tif?X-Amz-Signature=topsecret", "s3://b/a.tif".to_owned()));
        let mut secrets = Secrets::default();
        s3.add_secrets(&mut secrets);
        assert_eq!(secrets.hide("hunter2 topsecret"), "... ...");
    }

    #[test]
    fn steps_stay_in_the_bucket() {
        let base = CloudUrl::parse("s3://b/dir/items.parquet").unwrap();
        for (href, wanted) in [
            ("./a.tif", "s3://b/dir/a.tif"),
            ("../../../c/a.tif", "s3://b/c/a.tif"),
            ("/k/a.tif", "s3://b/k/a.tif"),
            ("//other/a.tif", "s3://other/a.tif"),
        ] {
            assert_eq!(base.join(href).unwrap().as_given(), wanted);
        }
        assert_eq!(CloudUrl::parse("s3://b/d/../a.tif").unwrap().key(), "a.tif");
        for wrong in ["s3://b?x/a", "s3://b#x/a", "s3:b/a"] {
            assert!(CloudUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
