//! Object stores by bucket: s3, gs, az.

use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{GetOptions, GetRange, ObjectStore, RetryConfig};

use super::address::Service;
use super::config::Config;
use super::connector::{Connector, chained};
use super::http::{Failure, Fetched};
use crate::error::{Error, Result};

/// What a client was made of.
#[derive(PartialEq, Eq, Hash)]
struct Made {
    /// A forked child must not write into the connections of its parent.
    process: u32,
    service: Service,
    bucket: String,
    settings: Vec<(String, String)>,
    timeout: Duration,
}

/// Kept as long as the process: clients hold connections and credentials.
static CLIENTS: LazyLock<Mutex<HashMap<Made, Arc<dyn ObjectStore>>>> = LazyLock::new(Mutex::default);

/// The client of a bucket.
///
/// # Errors
/// Settings that the library refuses: half of a key, a file of credentials that is none.
pub fn client(config: &Config, timeout: Duration) -> Result<Arc<dyn ObjectStore>> {
    let address = &config.address;
    let made = Made {
        process: std::process::id(),
        service: address.service,
        bucket: address.bucket.clone(),
        settings: config.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        timeout,
    };
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = clients.get(&made) {
        return Ok(client.clone());
    }
    let client = build(config, timeout).map_err(|e| {
        Error::Store(format!("cannot open the bucket '{}' of {}: {e}", address.bucket, address.service.name()))
    })?;
    clients.insert(made, client.clone());
    Ok(client)
}

fn build(config: &Config, timeout: Duration) -> object_store::Result<Arc<dyn ObjectStore>> {
    let bucket = config.address.bucket.as_str();
    let connector = Connector { timeout };
    let retry = RetryConfig { max_retries: 0, ..Default::default() };
    Ok(match config.address.service {
        Service::S3 => {
            let mut builder = AmazonS3Builder::new().with_http_connector(connector).with_retry(retry);
            for (key, value) in config.pairs() {
                builder = builder.with_config(AmazonS3ConfigKey::from_str(key)?, value);
            }
            Arc::new(builder.with_bucket_name(bucket).build()?)
        }
        Service::Gcs => {
            let mut builder = GoogleCloudStorageBuilder::new().with_http_connector(connector).with_retry(retry);
            for (key, value) in config.pairs() {
                builder = builder.with_config(GoogleConfigKey::from_str(key)?, value);
            }
            Arc::new(builder.with_bucket_name(bucket).build()?)
        }
        Service::Azure => {
            let mut builder = MicrosoftAzureBuilder::new().with_http_connector(connector).with_retry(retry);
            for (key, value) in config.pairs() {
                builder = builder.with_config(AzureConfigKey::from_str(key)?, value);
            }
            Arc::new(builder.with_container_name(bucket).build()?)
        }
    })
}

/// One attempt at one range of one object.
pub async fn get(store: &dyn ObjectStore, config: &Config, range: Range<u64>) -> Result<Fetched, Failure> {
    let options = GetOptions { range: Some(GetRange::Bounded(range)), ..Default::default() };
    let result = store.get_opts(&config.address.key, options).await.map_err(|e| chained(&e))?;
    let (etag, size) = (result.meta.e_tag.clone(), result.meta.size);
    let bytes = result.bytes().await.map_err(|e| chained(&e))?;
    Ok(Fetched { bytes, etag, size: Some(size) })
}
