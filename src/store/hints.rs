//! What an item says about the store of an asset: the STAC Storage Extension, versions 1 and 2.

use super::address::{Address, Service};
use super::meaning::is_label;

/// Defaults for the options of a store, from an item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// Whose store it is, where the item says so; the rest holds for that service alone.
    pub service: Option<Service>,
    pub region: Option<String>,
    pub requester_pays: Option<bool>,
    /// Where the store is none of the service's own hosts: a URL, perhaps with `{bucket}` in it.
    pub endpoint: Option<String>,
    /// Of Azure.
    pub account: Option<String>,
    pub tier: Option<String>,
    /// The scheme of `storage:schemes` that says it; `None` in version 1.
    pub scheme: Option<String>,
}

impl Hints {
    /// Whether they speak of the service at hand.
    pub fn concern(&self, service: Service) -> bool {
        self.service.is_none_or(|own| own == service)
    }

    /// The endpoint for a bucket, and whether the bucket is a part of its host. Whether it is the URL of a server is asked where
    /// it is used.
    pub fn endpoint_of(&self, address: &Address) -> Option<(String, bool)> {
        let template = self.endpoint.as_deref()?.trim_end_matches('/');
        let template = template.strip_suffix("/{bucket}").unwrap_or(template);
        Some((template.replace("{bucket}", &address.bucket), template.contains("{bucket}")))
    }

    /// The region, if it can be one: it becomes a part of a host's name, and some items have prose there.
    pub fn safe_region(&self) -> Option<&str> {
        self.region.as_deref().filter(|region| is_label(region))
    }

    /// How a message names the field that says `what`.
    pub fn field(&self, what: &str) -> String {
        match &self.scheme {
            Some(scheme) => format!("item storage:schemes '{scheme}' {what}"),
            None => format!("item storage:{what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CloudUrl;

    #[test]
    fn an_endpoint_is_filled_in() {
        let address = Address::of_cloud(&CloudUrl::parse("s3://b/a.tif").unwrap()).unwrap();
        let of = |endpoint: &str| {
            let hints = Hints { endpoint: Some(endpoint.into()), ..Hints::default() };
            hints.endpoint_of(&address)
        };
        assert_eq!(of("https://s3.example.org/"), Some(("https://s3.example.org".into(), false)));
        assert_eq!(of("https://s3.example.org/{bucket}"), Some(("https://s3.example.org".into(), false)));
        assert_eq!(of("https://{bucket}.example.org"), Some(("https://b.example.org".into(), true)));
    }

    #[test]
    fn a_region_is_a_name() {
        let of = |region: &str| Hints { region: Some(region.into()), ..Hints::default() }.safe_region().is_some();
        assert!(of("us-west-2"));
        assert!(!of("evil.org/") && !of("") && !of("a#b"));
    }
}
