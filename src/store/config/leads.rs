//! What settings make us open or run besides what the href names.

use super::{Config, METADATA, Origin, Setting, is_true};
use crate::store::meaning::{self, Meaning};

/// What a setting makes us open or run.
#[derive(Debug, PartialEq)]
pub enum Lead {
    /// A URL, or what is to be one.
    Server(String),
    File(String),
    Program(&'static str),
}

/// Where that is, on Amazon's and Microsoft's machines; Google's name leads there, too.
const METADATA_SERVICE: &str = "http://169.254.169.254/";
/// Where a container asks for credentials.
const CONTAINER_SERVICE: &str = "http://169.254.170.2";
const EMULATOR: &str = "http://127.0.0.1:10000/";

impl Config {
    /// Where a call or an item leads besides to where the href points.
    pub fn leads(&self) -> Vec<(Lead, &Origin)> {
        let foreign = |origin: &Origin| matches!(origin, Origin::Item(_) | Origin::Options(_));
        let mut leads: Vec<_> = self
            .settings
            .iter()
            .filter(|(_, setting)| foreign(&setting.origin))
            .filter_map(|(key, Setting { value, origin })| Some((self.lead(key, value)?, origin)))
            .collect();
        let metadata = self.signing.iter().filter(|found| found.kind == METADATA && foreign(&found.origin));
        leads.extend(metadata.map(|found| (Lead::Server(METADATA_SERVICE.to_owned()), &found.origin)));
        leads
    }

    fn lead(&self, key: &str, value: &str) -> Option<Lead> {
        let account = || self.account().map(|account| account.value.as_str()).unwrap_or_default();
        let server = |url: String| Some(Lead::Server(url));
        match (meaning::of(key)?, key) {
            (Meaning::File, _) => Some(Lead::File(value.to_owned())),
            (Meaning::Server | Meaning::Link | Meaning::Host, _) => server(value.to_owned()),
            (Meaning::LocalPath, _) => server(format!("{CONTAINER_SERVICE}{value}")),
            (Meaning::Account, _) if self.endpoint().is_none() => {
                server(format!("https://{value}.blob.core.windows.net/"))
            }
            (Meaning::Switch, "azure_credential_type") => match value {
                "azure_cli" => Some(Lead::Program("az")),
                "managed_identity" => server(METADATA_SERVICE.to_owned()),
                _ => None,
            },
            (Meaning::Switch, _) if !is_true(value) => None,
            (Meaning::Switch, "azure_use_fabric_endpoint") => {
                server(format!("https://{}.blob.fabric.microsoft.com/", account()))
            }
            (Meaning::Switch, "azure_storage_use_emulator") => server(EMULATOR.to_owned()),
            (Meaning::Switch, _) => Some(Lead::Program("az")),
            (Meaning::Plain | Meaning::Secret | Meaning::Region | Meaning::Account | Meaning::Tenant, _) => None,
        }
    }
}
