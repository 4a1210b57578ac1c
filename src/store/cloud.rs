//! Object stores by bucket: s3, gs, az.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::{ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreScheme, RetryConfig, path::Path};
use url::Url;

use crate::error::{Error, Result};

/// Clients by process, bucket and options, kept as long as the process: they hold connections and credentials. A forked
/// child must not write into the connections of its parent.
type Clients = HashMap<(u32, String, BTreeMap<String, String>), Arc<dyn ObjectStore>>;
static CLIENTS: LazyLock<Mutex<Clients>> = LazyLock::new(Mutex::default);

/// The client of the bucket that `url` is in, and the key of the object.
pub fn client(
    url: &Url,
    options: &BTreeMap<String, String>,
    timeout: Duration,
    retries: usize,
) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|e| Error::Store(e.to_string()))?;
    let bucket = format!("{}://{}", url.scheme(), url.authority());
    let key = (std::process::id(), bucket.clone(), options.clone());
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = clients.get(&key) {
        return Ok((client.clone(), path));
    }
    let retry = RetryConfig { max_retries: retries, ..Default::default() };
    let client = build(scheme, &bucket, options, ClientOptions::new().with_timeout(timeout), retry)
        .map_err(|e| Error::Store(format!("cannot open {bucket}: {e}")))?;
    clients.insert(key, client.clone());
    Ok((client, path))
}

fn build(
    scheme: ObjectStoreScheme,
    bucket: &str,
    options: &BTreeMap<String, String>,
    client: ClientOptions,
    retry: RetryConfig,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let set = options.iter().map(|(k, v)| (k.as_str(), v.clone()));
    let unsigned = |variables: &[&str], keys: &[&str]| {
        !variables.iter().any(|v| std::env::var_os(v).is_some()) && !keys.iter().any(|k| options.contains_key(*k))
    };
    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => {
            use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
            let mut builder =
                AmazonS3Builder::from_env().with_url(bucket).with_client_options(client).with_retry(retry);
            // Without credentials the client would ask the machine's metadata service, which elsewhere than on a
            // cloud machine is a long wait; a public bucket needs none.
            if unsigned(
                &["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"],
                &["access_key_id", "aws_access_key_id", "skip_signature", "aws_skip_signature"],
            ) {
                builder = builder.with_skip_signature(true);
            }
            for (key, value) in set {
                builder = builder.with_config(key.parse::<AmazonS3ConfigKey>()?, value);
            }
            Arc::new(builder.build()?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
            let mut builder =
                GoogleCloudStorageBuilder::from_env().with_url(bucket).with_client_options(client).with_retry(retry);
            if unsigned(
                &["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"],
                &["google_service_account", "service_account", "service_account_key", "skip_signature"],
            ) {
                builder = builder.with_skip_signature(true);
            }
            for (key, value) in set {
                builder = builder.with_config(key.parse::<GoogleConfigKey>()?, value);
            }
            Arc::new(builder.build()?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
            let mut builder =
                MicrosoftAzureBuilder::from_env().with_url(bucket).with_client_options(client).with_retry(retry);
            if unsigned(
                &[
                    "AZURE_STORAGE_ACCOUNT_KEY",
                    "AZURE_STORAGE_SAS_KEY",
                    "AZURE_STORAGE_CLIENT_ID",
                    "AZURE_STORAGE_TOKEN",
                ],
                &["account_key", "sas_key", "sas_token", "token", "bearer_token", "skip_signature", "client_id"],
            ) {
                builder = builder.with_skip_signature(true);
            }
            for (key, value) in set {
                builder = builder.with_config(key.parse::<AzureConfigKey>()?, value);
            }
            Arc::new(builder.build()?)
        }
        other => {
            return Err(object_store::Error::NotSupported { source: format!("{other:?} is not served").into() });
        }
    })
}

/// One range of one object; the client does its own retries.
pub async fn get(
    store: &dyn ObjectStore,
    path: &Path,
    range: Range<u64>,
) -> object_store::Result<(Bytes, Option<String>)> {
    let options = GetOptions { range: Some(GetRange::Bounded(range)), ..Default::default() };
    let result = store.get_opts(path, options).await?;
    let etag = result.meta.e_tag.clone();
    Ok((result.bytes().await?, etag))
}
