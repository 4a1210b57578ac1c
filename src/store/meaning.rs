//! What each setting of a store means, and which texts can be one. A setting that is not listed here is none.

use url::Url;

/// What a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Goes into a header or stays here: leads nowhere.
    Plain,
    /// As [`Meaning::Plain`], and is not to be shown.
    Secret,
    /// A part of the name of a host.
    Region,
    /// The first part of the name of a host.
    Account,
    /// A part of the path of a URL.
    Tenant,
    /// What follows a host of the machine itself.
    LocalPath,
    /// The URL of a server, to which the paths of objects are added.
    Server,
    /// A URL, perhaps with a query.
    Link,
    /// As whoever uses it takes it: also without a scheme.
    Host,
    /// A file of this machine.
    File,
    /// Turns a program or another server on.
    Switch,
}

use Meaning::*;

/// By the names that the library gives them.
const MEANINGS: [(&str, Meaning); 58] = [
    ("allow_http", Plain),
    ("allow_invalid_certificates", Plain),
    ("connect_timeout", Plain),
    ("proxy_excludes", Plain),
    ("proxy_url", Host),
    ("timeout", Plain),
    ("user_agent", Plain),
    ("aws_access_key_id", Secret),
    ("aws_container_authorization_token_file", File),
    ("aws_container_credentials_full_uri", Link),
    ("aws_container_credentials_relative_uri", LocalPath),
    ("aws_default_region", Region),
    ("aws_endpoint", Server),
    ("aws_endpoint_url_s3", Server),
    ("aws_endpoint_url_sts", Server),
    ("aws_imdsv1_fallback", Plain),
    ("aws_metadata_endpoint", Server),
    ("aws_region", Region),
    ("aws_request_payer", Plain),
    ("aws_role_arn", Plain),
    ("aws_role_session_name", Plain),
    ("aws_s3_express", Plain),
    ("aws_secret_access_key", Secret),
    ("aws_server_side_encryption", Plain),
    ("aws_session_token", Secret),
    ("aws_skip_signature", Plain),
    ("aws_sse_customer_key_base64", Secret),
    ("aws_virtual_hosted_style_request", Plain),
    ("aws_web_identity_token_file", File),
    ("azure_credential_type", Switch),
    ("azure_fabric_cluster_identifier", Plain),
    ("azure_fabric_session_token", Secret),
    ("azure_fabric_token_service_url", Link),
    ("azure_fabric_workload_host", Host),
    ("azure_federated_token_file", File),
    ("azure_msi_endpoint", Link),
    ("azure_msi_resource_id", Plain),
    ("azure_object_id", Plain),
    ("azure_skip_signature", Plain),
    ("azure_storage_account_key", Secret),
    ("azure_storage_account_name", Account),
    ("azure_storage_authority_host", Server),
    ("azure_storage_client_id", Plain),
    ("azure_storage_client_secret", Secret),
    ("azure_storage_encryption_key", Secret),
    ("azure_storage_endpoint", Server),
    ("azure_storage_sas_key", Secret),
    ("azure_storage_tenant_id", Tenant),
    ("azure_storage_token", Secret),
    ("azure_storage_use_emulator", Switch),
    ("azure_use_azure_cli", Switch),
    ("azure_use_fabric_endpoint", Switch),
    ("google_application_credentials", File),
    ("google_base_url", Server),
    ("google_bearer_token", Secret),
    ("google_service_account", File),
    ("google_service_account_key", Secret),
    ("google_skip_signature", Plain),
];

pub fn of(name: &str) -> Option<Meaning> {
    MEANINGS.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

impl Meaning {
    /// What `value` is not, if it cannot be what it should.
    pub fn objection(self, value: &str) -> Option<&'static str> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        let (fits, otherwise) = match self {
            Plain | Secret | Host | File | Switch => (true, ""),
            Region => (is_label(value), "no name of a region"),
            Account => (is_label(value), "no name of an account"),
            Tenant => (is_name(value), "no name of a tenant"),
            LocalPath => (value.starts_with('/') && !value.contains(odd), "no path"),
            Server => (is_server(value) && !value.contains(['?', '#']), "no http(s) URL of a server"),
            Link => (is_server(value) && !value.contains('#'), "no http(s) URL"),
        };
        (!fits).then_some(otherwise)
    }
}

/// A part of a host's name, between two dots.
pub fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Labels with dots between them: also a part of a path that leads nowhere else.
pub fn is_name(text: &str) -> bool {
    text.len() <= 255 && text.split('.').all(is_label)
}

fn is_server(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "\\{}".contains(c);
    let served = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    !text.contains(odd) && Url::parse(text).is_ok_and(served)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_urls_are_names() {
        for region in ["us-west-2", "auto", "RegionOne"] {
            assert_eq!(Region.objection(region), None);
        }
        let tricks = ["x@127.0.0.1:8443/", "a/b", "a#", "a?b", "a.b", "", "a b", "a%2e", "a\\b", "é", "a\n", ".."];
        for odd in tricks {
            assert!(Region.objection(odd).is_some() && Account.objection(odd).is_some(), "{odd}");
        }
        assert!(tricks.iter().all(|odd| *odd == "a.b" || Tenant.objection(odd).is_some()));
        assert!(LocalPath.objection("/v2/credentials?id=1").is_none() && LocalPath.objection("@evil.org/").is_some());
        for url in ["https://minio.example:9000/", "http://me:pw@host/base"] {
            assert_eq!(Server.objection(url), None, "{url}");
        }
        for odd in ["minio.example:9000", "file:///etc", "https://", "https://h/?a", "https://h/#", "https://{x}.org"] {
            assert!(Server.objection(odd).is_some(), "{odd}");
        }
    }
}
