//! Object stores by bucket: s3, gs, az.

use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use moka::sync::Cache;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{GetOptions, GetRange, ObjectStore, RetryConfig};

use super::address::Service;
use super::config::Config;
use super::connector::{Connector, chained};
use super::http::{Failure, Fetched};
use super::version::Version;
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

/// So many buckets, opened in so many ways, are kept; and none for longer than this after its last read.
const CLIENTS_KEPT: u64 = 64;
const IDLE: Duration = Duration::from_secs(10 * 60);

/// Clients hold connections, and credentials that were asked for.
static CLIENTS: LazyLock<Cache<Made, Arc<dyn ObjectStore>>> =
    LazyLock::new(|| Cache::builder().max_capacity(CLIENTS_KEPT).time_to_idle(IDLE).build());

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
    let built = CLIENTS.try_get_with(made, || build(config, timeout));
    built.map_err(|e| {
        Error::Store(format!("cannot open the bucket '{}' of {}: {e}", address.bucket, address.service.name()))
    })
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
    let version = result.extensions.get::<Version>().cloned().unwrap_or_default();
    let bytes = result.bytes().await.map_err(|e| chained(&e))?;
    Ok(Fetched { bytes, version })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::{Address, CloudUrl};

    #[test]
    fn clients_are_kept_while_they_are_few() {
        let of = |bucket: &str| {
            let address = Address::of_cloud(&CloudUrl::parse(&format!("s3://{bucket}/a")).unwrap()).unwrap();
            let config = Config::resolve(address, None, &BTreeMap::new(), &BTreeMap::new()).unwrap();
            client(&config, Duration::from_secs(1)).unwrap()
        };
        assert!(Arc::ptr_eq(&of("kept"), &of("kept")));
        for n in 0..3 * CLIENTS_KEPT {
            of(&format!("bucket-{n}"));
        }
        CLIENTS.run_pending_tasks();
        assert!(CLIENTS.entry_count() <= CLIENTS_KEPT);
    }
}
