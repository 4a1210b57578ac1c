//! How a bucket is opened: every setting, and where it comes from.
//!
//! From weak to strong: the environment, what the item says, the href itself, `store_options`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use super::address::{Address, S3_ANYWHERE, Service};
use super::hints::Hints;
use super::meaning::{self, Meaning};
use super::shown::Secrets;
use crate::error::{Error, Result};

mod leads;

pub use leads::Lead;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The name of the variable.
    Environment(String),
    /// The field of the item.
    Item(String),
    Href,
    /// The key of `store_options`.
    Options(String),
    /// The store itself said so.
    Server,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Item(field) => f.write_str(field),
            Origin::Href => f.write_str("href"),
            Origin::Options(key) => write!(f, "store_options {key}"),
            Origin::Server => f.write_str("the store itself"),
        }
    }
}

#[derive(Clone, PartialEq)]
pub struct Setting {
    pub value: String,
    pub origin: Origin,
}

/// A bucket and how it is opened. Holds secrets: not for printing.
#[derive(Clone, PartialEq)]
pub struct Config {
    pub address: Address,
    settings: BTreeMap<String, Setting>,
    /// What signs the requests; `None` sends them unsigned.
    signing: Option<Credential>,
}

/// The setting that a signature comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    pub kind: &'static str,
    pub origin: Origin,
}

/// The variables of the environment that a store may know, as they were when the query began.
pub fn environment() -> BTreeMap<String, String> {
    let known = |name: &str| {
        ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix))
            || ["SERVICE_ACCOUNT", "IDENTITY_ENDPOINT"].contains(&name)
    };
    let texts =
        std::env::vars_os().filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())));
    let mut found: BTreeMap<_, _> = texts.filter(|(name, value)| known(name) && !value.is_empty()).collect();
    // The library reads this file of its own accord.
    let home = std::env::home_dir().map(|home| home.join(".config/gcloud/application_default_credentials.json"));
    if let Some(path) = home.filter(|path| path.is_file()).and_then(|path| path.to_str().map(str::to_owned)) {
        found.entry("GOOGLE_APPLICATION_CREDENTIALS".into()).or_insert(path);
    }
    found
}

/// Settings that hang together: whoever gives one of them takes no other from a weaker place.
const CREDENTIALS: [&str; 30] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_web_identity_token_file",
    "aws_role_arn",
    "aws_role_session_name",
    "aws_container_credentials_relative_uri",
    "aws_container_credentials_full_uri",
    "aws_container_authorization_token_file",
    "aws_skip_signature",
    "azure_storage_account_key",
    "azure_storage_client_id",
    "azure_storage_client_secret",
    "azure_storage_tenant_id",
    "azure_federated_token_file",
    "azure_storage_sas_key",
    "azure_storage_token",
    "azure_msi_endpoint",
    "azure_use_azure_cli",
    "azure_fabric_token_service_url",
    "azure_fabric_workload_host",
    "azure_fabric_session_token",
    "azure_fabric_cluster_identifier",
    "azure_credential_type",
    "azure_skip_signature",
    "google_service_account",
    "google_service_account_key",
    "google_application_credentials",
    "google_bearer_token",
    "google_skip_signature",
];
const ENDPOINTS: [&str; 4] = ["aws_endpoint_url_s3", "aws_endpoint", "azure_storage_endpoint", "google_base_url"];
/// What a credential is called that only the metadata service of a cloud machine knows.
const METADATA: &str = "metadata service";
const GOOGLE: &str = "https://storage.googleapis.com";
const VIRTUAL_HOST: &str = "aws_virtual_hosted_style_request";

/// The one name of a key that a service knows under several; `None` for a key that it does not know.
fn canonical(service: Service, key: &str) -> Option<String> {
    let key = key.to_ascii_lowercase();
    // An error says no more than that the key is none of this service.
    let name = match service {
        Service::S3 => AmazonS3ConfigKey::from_str(&key).ok()?.as_ref().to_owned(),
        Service::Azure => AzureConfigKey::from_str(&key).ok()?.as_ref().to_owned(),
        Service::Gcs if key == "endpoint" => "google_base_url".to_owned(),
        Service::Gcs => GoogleConfigKey::from_str(&key).ok()?.as_ref().to_owned(),
    };
    meaning::of(&name).is_some().then_some(name)
}

/// # Errors
/// A key of `store_options` that no service knows; a value that cannot be what the key names.
pub fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in options {
        let names = [Service::S3, Service::Azure, Service::Gcs].iter().filter_map(|s| canonical(*s, key));
        let meanings: Vec<Meaning> = names.filter_map(|name| meaning::of(&name)).collect();
        if meanings.is_empty() {
            return Err(Error::Argument(format!(
                "store_options: no store knows the key '{key}'; there are region, endpoint, skip_signature, request_payer, \
                 access_key_id, secret_access_key, session_token, account_name, account_key, sas_token, bearer_token, \
                 service_account and others of object_store"
            )));
        }
        if let Some(what) = meanings.iter().find_map(|meaning| meaning.objection(value)) {
            return Err(Error::Argument(format!("store_options: the value of '{key}' is {what}")));
        }
    }
    Ok(())
}

fn is_true(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y" | "requester")
}

impl Config {
    /// Puts together what is known about the store of `address`.
    ///
    /// # Errors
    /// A setting that cannot be what it should: what becomes a part of a URL must not be more than that part.
    pub fn resolve(
        address: Address,
        hints: Option<&Hints>,
        options: &BTreeMap<String, String>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Config> {
        let mut config = Config { address, settings: BTreeMap::new(), signing: None };
        let service = config.address.service;
        config.layer(environment.iter().filter_map(|(name, value)| {
            Some((variable(service, name)?, value.clone(), Origin::Environment(name.clone())))
        }));
        let own_account = config.value("azure_storage_account_name").map(str::to_owned);
        let hints = hints.filter(|hints| hints.concern(service));
        let said = hints.map(|hints| config.said(hints)).unwrap_or_default();
        config.layer(said.into_iter());
        let named = config.named();
        // An endpoint in `store_options` is that of the hrefs which name a bucket only.
        let has_host = config.address.endpoint.is_some();
        let fits = |key: &str| !(has_host && (ENDPOINTS.contains(&key) || key == VIRTUAL_HOST));
        config.layer(named.into_iter());
        config.layer(options.iter().filter_map(|(key, value)| {
            let name = canonical(service, key).filter(|name| fits(name))?;
            Some((name, value.clone(), Origin::Options(key.clone())))
        }));
        config.drop_keys_of_another_account(own_account.as_deref());
        config.check()?;
        config.finish();
        Ok(config)
    }

    /// Every setting is what it should be, and no more.
    fn check(&self) -> Result<()> {
        for (key, Setting { value, origin }) in &self.settings {
            let Some(meaning) = meaning::of(key) else { continue };
            // A name and password in the URL of an item would be for whom it likes.
            let named = meaning == Meaning::Server && matches!(origin, Origin::Item(_)) && value.contains('@');
            if let Some(what) = meaning.objection(value).or_else(|| named.then_some("no bare URL of a server")) {
                // The value may be a secret in the wrong place.
                return Err(Error::Store(format!("what {origin} says is {what}")));
            }
        }
        Ok(())
    }

    /// Puts stronger settings over those there are.
    fn layer(&mut self, settings: impl Iterator<Item = (String, String, Origin)>) {
        let settings: Vec<_> = settings.collect();
        let any = |keys: &[&str]| settings.iter().any(|(key, ..)| keys.contains(&key.as_str()));
        if any(&CREDENTIALS) {
            self.settings.retain(|key, _| !CREDENTIALS.contains(&key.as_str()));
        }
        // How a bucket stands in the host's name belongs to the host.
        if any(&ENDPOINTS) {
            self.settings.retain(|key, _| !ENDPOINTS.contains(&key.as_str()) && key != VIRTUAL_HOST);
        }
        for (key, value, origin) in settings {
            // AWS_REGION is stronger than AWS_DEFAULT_REGION, which sorts before it.
            let key = if key == "aws_default_region" { "aws_region".to_owned() } else { key };
            self.settings.insert(key, Setting { value, origin });
        }
    }

    /// What the item says.
    fn said(&self, hints: &Hints) -> Vec<(String, String, Origin)> {
        let mut said = Vec::new();
        let mut add = |key: &str, value: String, what: &str| {
            said.push((key.to_owned(), value, Origin::Item(hints.field(what))));
        };
        match self.address.service {
            Service::S3 => {
                if let Some(region) = hints.safe_region() {
                    add("aws_region", region.to_owned(), "region");
                }
                if let Some(pays) = hints.requester_pays {
                    add("aws_request_payer", pays.to_string(), "requester_pays");
                }
                // One that the environment names is the way that this machine takes to any store.
                let own = ["aws_endpoint", "aws_endpoint_url_s3"].iter().any(|key| self.settings.contains_key(*key));
                if let Some((endpoint, virtual_host)) = hints.endpoint_of(&self.address).filter(|_| !own) {
                    add("aws_endpoint", endpoint, "platform");
                    add(VIRTUAL_HOST, virtual_host.to_string(), "platform");
                }
            }
            Service::Azure => {
                if let Some(account) = &hints.account {
                    add("azure_storage_account_name", account.clone(), "account");
                }
            }
            Service::Gcs => {}
        }
        said
    }

    /// What the href names.
    fn named(&self) -> Vec<(String, String, Origin)> {
        let Address { service, account, region, endpoint, virtual_host, sas, .. } = &self.address;
        let endpoint_key = match service {
            Service::S3 => "aws_endpoint",
            Service::Gcs => "google_base_url",
            Service::Azure => "azure_storage_endpoint",
        };
        let style = (*virtual_host).then(|| "true".to_owned());
        let pairs = [
            ("azure_storage_account_name", account),
            ("aws_region", region),
            (endpoint_key, endpoint),
            (VIRTUAL_HOST, &style),
            ("azure_storage_sas_key", sas),
        ];
        pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?, Origin::Href))).collect()
    }

    /// A key or signature of the environment is that of the account the environment names; where it names none, of any but
    /// one of an item's choice.
    fn drop_keys_of_another_account(&mut self, own: Option<&str>) {
        let foreign = match (own, self.account()) {
            (Some(own), Some(named)) => own != named.value,
            (None, Some(named)) => matches!(named.origin, Origin::Item(_)),
            (_, None) => false,
        };
        let is_environments = |setting: &Setting| matches!(setting.origin, Origin::Environment(_));
        const OF_ACCOUNT: [&str; 2] = ["azure_storage_account_key", "azure_storage_sas_key"];
        self.settings
            .retain(|key, setting| !(foreign && OF_ACCOUNT.contains(&key.as_str()) && is_environments(setting)));
    }

    fn finish(&mut self) {
        if self.address.service == Service::S3 && !self.settings.contains_key("aws_region") {
            self.settings.insert("aws_region".into(), Setting { value: "us-east-1".into(), origin: Origin::Default });
        }
        // Who names an http endpoint wants http.
        let insecure = self.endpoint().filter(|endpoint| endpoint.value.starts_with("http://")).cloned();
        if let Some(Setting { origin, .. }) = insecure {
            self.settings.entry("allow_http".into()).or_insert(Setting { value: "true".into(), origin });
        }
        // A server of an item's choice sees nothing secret, whoever gave it: neither keys nor who they are.
        let elsewhere = matches!(self.endpoint(), Some(Setting { origin: Origin::Item(_), .. }));
        if elsewhere {
            self.settings.retain(|key, _| meaning::of(key) != Some(Meaning::Secret));
        }
        self.signing = self.credential().filter(|_| !elsewhere);
        if self.signing.is_none() {
            self.settings.retain(|key, _| !CREDENTIALS.contains(&key.as_str()));
            let key = match self.address.service {
                Service::S3 => "aws_skip_signature",
                Service::Gcs => "google_skip_signature",
                Service::Azure => "azure_skip_signature",
            };
            self.settings.insert(key.into(), Setting { value: "true".into(), origin: Origin::Default });
        }
        // The library would take the server from inside of a key that a call brings along.
        if let Some(Origin::Options(_)) = self.signing.as_ref().map(|found| &found.origin)
            && self.address.service == Service::Gcs
            && self.settings.contains_key("google_service_account_key")
        {
            let own = Setting { value: GOOGLE.into(), origin: Origin::Default };
            self.settings.entry("google_base_url".into()).or_insert(own);
        }
    }

    /// What would sign the requests. Without any the library would ask the machine's metadata service, which elsewhere
    /// than on a cloud machine is a long wait; so that must be asked for, by `skip_signature := false`.
    fn credential(&self) -> Option<Credential> {
        let is_off = |key: &str| meaning::of(key) == Some(Meaning::Switch) && !self.value(key).is_some_and(is_true);
        let all = |keys: &[&str]| keys.iter().all(|key| self.settings.contains_key(*key) && !is_off(key));
        let of = |kind: &'static str, keys: &[&str]| {
            let origin = self.settings.get(*keys.first()?)?.origin.clone();
            all(keys).then_some(Credential { kind, origin })
        };
        let skip = ["aws_skip_signature", "azure_skip_signature", "google_skip_signature"];
        let skip = skip.iter().find_map(|key| self.settings.get(*key));
        if skip.is_some_and(|skip| is_true(&skip.value)) {
            return None;
        }
        let metadata = || skip.map(|skip| Credential { kind: METADATA, origin: skip.origin.clone() });
        let candidates: &[(&'static str, &[&str])] = match self.address.service {
            Service::S3 => &[
                ("access key", &["aws_access_key_id"]),
                ("access key", &["aws_secret_access_key"]),
                ("web identity", &["aws_web_identity_token_file", "aws_role_arn"]),
                ("container credentials", &["aws_container_credentials_relative_uri"]),
                (
                    "container credentials",
                    &["aws_container_credentials_full_uri", "aws_container_authorization_token_file"],
                ),
            ],
            Service::Gcs => &[
                ("service account", &["google_service_account"]),
                ("service account", &["google_service_account_key"]),
                ("bearer token", &["google_bearer_token"]),
                ("application credentials", &["google_application_credentials"]),
            ],
            Service::Azure => &[
                ("bearer token", &["azure_storage_token"]),
                ("account key", &["azure_storage_account_key"]),
                (
                    "workload identity",
                    &["azure_federated_token_file", "azure_storage_client_id", "azure_storage_tenant_id"],
                ),
                (
                    "client secret",
                    &["azure_storage_client_secret", "azure_storage_client_id", "azure_storage_tenant_id"],
                ),
                ("shared access signature", &["azure_storage_sas_key"]),
                ("azure cli", &["azure_use_azure_cli"]),
                ("managed identity", &["azure_msi_endpoint"]),
                ("emulator's key", &["azure_storage_use_emulator"]),
            ],
        };
        candidates.iter().find_map(|(kind, keys)| of(kind, keys)).or_else(metadata)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(|setting| setting.value.as_str())
    }

    /// Every setting, by the library's own names.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(key, setting)| (key.as_str(), setting.value.as_str()))
    }

    /// What of it is not to be shown, whoever repeats it.
    pub fn add_secrets(&self, secrets: &mut Secrets) {
        for (key, Setting { value, .. }) in &self.settings {
            match meaning::of(key) {
                Some(Meaning::Secret) => {
                    secrets.add(value);
                    value.trim_start_matches('?').split('&').for_each(|pair| secrets.add_parameter(pair));
                }
                Some(Meaning::Server | Meaning::Link | Meaning::Host) => {
                    // What is no URL has no name and password in it.
                    url::Url::parse(value).into_iter().for_each(|url| secrets.add_url(&url));
                }
                _ => {}
            }
        }
    }

    pub fn region(&self) -> Option<&Setting> {
        self.settings.get("aws_region")
    }

    /// The same store in another region.
    pub fn in_region(&self, region: String) -> Config {
        let mut config = self.clone();
        if config.endpoint().is_some_and(|endpoint| endpoint.value == S3_ANYWHERE) {
            config.settings.retain(|key, _| !ENDPOINTS.contains(&key.as_str()));
        }
        config.settings.insert("aws_region".into(), Setting { value: region, origin: Origin::Server });
        config
    }

    /// Where it is none of the service's own hosts, or one that the href names.
    pub fn endpoint(&self) -> Option<&Setting> {
        ENDPOINTS.iter().find_map(|key| self.settings.get(*key))
    }

    pub fn account(&self) -> Option<&Setting> {
        self.settings.get("azure_storage_account_name")
    }

    /// Whether requests say that the requester pays, if anything says so or not.
    pub fn requester_pays(&self) -> Option<(bool, &Origin)> {
        self.settings.get("aws_request_payer").map(|setting| (is_true(&setting.value), &setting.origin))
    }

    pub fn credentials(&self) -> Option<&Credential> {
        self.signing.as_ref()
    }
}

/// The key that a variable of the environment stands for.
fn variable(service: Service, name: &str) -> Option<String> {
    let (prefix, alias) = match service {
        Service::S3 => ("AWS_", None),
        Service::Gcs => ("GOOGLE_", Some(("SERVICE_ACCOUNT", "google_service_account"))),
        Service::Azure => ("AZURE_", Some(("IDENTITY_ENDPOINT", "azure_msi_endpoint"))),
    };
    match alias.filter(|(alias, _)| *alias == name) {
        Some((_, key)) => Some(key.to_owned()),
        None => canonical(service, name).filter(|_| name.starts_with(prefix)),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
