//! The kinds of object stores, and how URLs name their buckets.

use url::Url;

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    S3,
    Gcs,
    Azure,
}

impl Service {
    /// The service that a URL scheme names.
    pub fn of_scheme(scheme: &str) -> Option<Service> {
        match scheme {
            "s3" | "s3a" => Some(Service::S3),
            "gs" | "gcs" => Some(Service::Gcs),
            "az" | "azure" | "abfs" | "abfss" | "adl" => Some(Service::Azure),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Service::S3 => "S3",
            Service::Gcs => "Google Cloud Storage",
            Service::Azure => "Azure Blob Storage",
        }
    }
}

/// The parts of `s3://name@bucket/key`: the URL of the bucket, and the key as it stands.
///
/// # Errors
/// What has no scheme, or no bucket that can be one; with nothing of the text in what is said.
pub fn bucket_and_key(text: &str) -> Result<(Url, &str), String> {
    let (scheme, rest) = text.split_once("://").ok_or("is no URL of a bucket")?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let root = Url::parse(&format!("{scheme}://{bucket}/")).map_err(|e| format!("is no URL: {e}"))?;
    match (root.query(), root.fragment()) {
        (None, None) => Ok((root, key)),
        _ => Err("names no bucket that can be one".into()),
    }
}
