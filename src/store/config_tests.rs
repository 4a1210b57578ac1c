use url::Url;

use super::*;
use crate::store::CloudUrl;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn config(href: &str, hints: Option<&Hints>, options: Pairs, environment: Pairs) -> Config {
    let address = match href.starts_with("https:") {
        true => Address::of_https(&Url::parse(href).unwrap()).unwrap(),
        false => Address::of_cloud(&CloudUrl::parse(href).unwrap()).unwrap(),
    };
    let map = |pairs: Pairs| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Config::resolve(address, hints, &map(options), &map(environment)).unwrap()
}

fn signed(href: &str, options: Pairs, environment: Pairs) -> String {
    let config = config(href, None, options, environment);
    config.credentials().map_or("unsigned".into(), |found| format!("{}: {}", found.kind, found.origin))
}

fn show(setting: Option<&Setting>) -> String {
    setting.map_or("-".into(), |setting| format!("{} ({})", setting.value, setting.origin))
}

const KEYS: Pairs = &[("AWS_ACCESS_KEY_ID", "i"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];

#[test]
fn only_whole_credentials_sign() {
    assert_eq!(signed("s3://b/a", &[], &[]), "unsigned");
    assert_eq!(signed("s3://b/a", &[], KEYS), "access key: environment AWS_ACCESS_KEY_ID");
    assert_eq!(signed("s3://b/a", &[("skip_signature", "true")], KEYS), "unsigned");
    assert_eq!(
        signed("s3://b/a", &[("skip_signature", "false")], &[]),
        "metadata service: store_options skip_signature"
    );
    // A token without a role would make the library ask the metadata service.
    let token = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t");
    assert_eq!(signed("s3://b/a", &[], &[token]), "unsigned");
    let role = ("AWS_ROLE_ARN", "r");
    assert_eq!(signed("s3://b/a", &[], &[token, role]), "web identity: environment AWS_WEB_IDENTITY_TOKEN_FILE");
    let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost/c");
    assert_eq!(signed("s3://b/a", &[], &[container]), "unsigned");
    assert_eq!(signed("gs://b/a", &[], KEYS), "unsigned");
    assert_eq!(
        signed("gs://b/a", &[], &[("SERVICE_ACCOUNT", "/k.json")]),
        "service account: environment SERVICE_ACCOUNT"
    );
    assert_eq!(signed("az://c@acct/a", &[], &[("AZURE_STORAGE_CLIENT_ID", "i")]), "unsigned");
    assert_eq!(signed("az://c@acct/a?sig=1&sv=2", &[], &[]), "shared access signature: href");
}

#[test]
fn credentials_are_not_mixed() {
    let own = [("access_key_id", "I"), ("secret_access_key", "S")];
    let config = config("s3://b/a", None, &own, KEYS);
    let keys: Vec<_> = config.pairs().filter(|(key, _)| CREDENTIALS.contains(key)).collect();
    assert_eq!(keys, [("aws_access_key_id", "I"), ("aws_secret_access_key", "S")]);
    // The key of one account does not open another.
    let key = [("AZURE_STORAGE_ACCOUNT_NAME", "mine"), ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")];
    assert_eq!(signed("az://c/a", &[], &key), "account key: environment AZURE_STORAGE_ACCOUNT_KEY");
    assert_eq!(signed("az://c@mine/a", &[], &key), "account key: environment AZURE_STORAGE_ACCOUNT_KEY");
    assert_eq!(signed("az://c@other/a", &[], &key), "unsigned");
}

#[test]
fn the_stronger_place_wins() {
    let hints = Hints { region: Some("eu-north-1".into()), requester_pays: Some(true), ..Hints::default() };
    let region = |href: &str, hints: Option<&Hints>, options: Pairs, environment: Pairs| {
        show(config(href, hints, options, environment).region())
    };
    let https = "https://b.s3.us-west-2.amazonaws.com/a";
    assert_eq!(region("s3://b/a", None, &[], &[]), "us-east-1 (default)");
    let variables = [("AWS_DEFAULT_REGION", "x-d-1"), ("AWS_REGION", "x-r-1")];
    assert_eq!(region("s3://b/a", None, &[], &variables), "x-r-1 (environment AWS_REGION)");
    assert_eq!(region("s3://b/a", Some(&hints), &[], &variables), "eu-north-1 (item storage:region)");
    assert_eq!(region(https, Some(&hints), &[], &variables), "us-west-2 (href)");
    assert_eq!(region(https, Some(&hints), &[("region", "o-o-1")], &variables), "o-o-1 (store_options region)");
    let pays = config("s3://b/a", Some(&hints), &[], &[]);
    assert_eq!(pays.requester_pays().map(|(pays, _)| pays), Some(true));
    let pays = config("s3://b/a", Some(&hints), &[("request_payer", "false")], &[]);
    assert_eq!(pays.requester_pays().map(|(pays, _)| pays), Some(false));
    let of_another = Hints { service: Some(Service::Azure), ..hints };
    assert_eq!(region("s3://b/a", Some(&of_another), &[], &[]), "us-east-1 (default)");
}

#[test]
fn an_item_cannot_have_the_credentials_of_the_environment() {
    let hints = Hints { endpoint: Some("https://evil.example".into()), scheme: Some("x".into()), ..Hints::default() };
    let lured = config("s3://b/a", Some(&hints), &[], KEYS);
    assert_eq!(show(lured.endpoint()), "https://evil.example (item storage:schemes 'x' platform)");
    assert_eq!(lured.credentials(), None);
    assert!(!lured.pairs().any(|(_, value)| ["i", "s", "t"].contains(&value)));
    // Nor those of the call, which are for whom the call names.
    let given = [("access_key_id", "I"), ("secret_access_key", "S"), ("aws_sse_customer_key_base64", "C")];
    let lured = config("s3://b/a", Some(&hints), &given, KEYS);
    assert_eq!(lured.credentials(), None);
    assert!(!lured.pairs().any(|(_, value)| ["I", "S", "C", "i"].contains(&value)));
    let own = config("s3://b/a", Some(&hints), &[("endpoint", "https://mine")], KEYS);
    assert!(own.credentials().is_some() && show(own.endpoint()) == "https://mine (store_options endpoint)");
}

#[test]
fn endpoints() {
    let of = |href: &str, options: Pairs, environment: Pairs| show(config(href, None, options, environment).endpoint());
    let variable = [("AWS_ENDPOINT_URL_S3", "http://here"), ("AWS_ENDPOINT_URL", "http://there")];
    assert_eq!(of("s3://b/a", &[], &variable), "http://here (environment AWS_ENDPOINT_URL_S3)");
    assert_eq!(of("s3://b/a", &[("endpoint", "http://o")], &variable), "http://o (store_options endpoint)");
    let https = "https://b.s3.us-west-2.amazonaws.com/a";
    assert_eq!(of(https, &[("endpoint", "http://o")], &variable), "https://b.s3.us-west-2.amazonaws.com (href)");
    assert_eq!(of("gs://b/a", &[("endpoint", "http://o")], &[]), "http://o (store_options endpoint)");
    let insecure = config("s3://b/a", None, &[("endpoint", "http://o")], &[]);
    assert!(insecure.pairs().any(|pair| pair == ("allow_http", "true")));
    // A bucket without a region in its host is on that of its region, once it is known.
    let anywhere = config("https://b.s3.amazonaws.com/a", None, &[], &[]);
    assert_eq!(show(anywhere.in_region("eu-west-1".into()).endpoint()), "-");
}

/// What is wrong with it, or "right".
fn wrong(href: &str, hints: Option<&Hints>, options: Pairs, environment: Pairs) -> String {
    let address = Address::of_cloud(&CloudUrl::parse(href).unwrap()).unwrap();
    let map = |pairs: Pairs| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Config::resolve(address, hints, &map(options), &map(environment)).map_or_else(|e| e.to_string(), |_| "right".into())
}

#[test]
fn parts_of_urls_are_no_more_than_parts() {
    const TRICK: &str = "x@127.0.0.1:8443/";
    let account = Hints { account: Some(TRICK.into()), scheme: Some("x".into()), ..Hints::default() };
    let sas = [("AZURE_STORAGE_SAS_TOKEN", "sig=topsecret"), ("AZURE_STORAGE_TOKEN", "token")];
    assert_eq!(
        wrong("az://c/a", Some(&account), &[], &sas),
        "what item storage:schemes 'x' account says is no name of an account"
    );
    for (href, option) in [("s3://b/a", "region"), ("az://c/a", "account_name"), ("az://c/a", "tenant_id")] {
        let said = wrong(href, None, &[(option, TRICK)], &[]);
        assert!(said.contains(&format!("store_options {option}")) && !said.contains("127"), "{said}");
        assert!(check_options(&BTreeMap::from([(option.to_owned(), TRICK.to_owned())])).is_err());
    }
    assert!(wrong("s3://b/a", None, &[], &[("AWS_REGION", TRICK)]).contains("environment AWS_REGION"));
    for endpoint in
        ["file:///etc", "https://user@host", "s3.example.org", "https://h/?a=b", "https://{x}.org", "https://h#"]
    {
        let hints = Hints { endpoint: Some(endpoint.into()), ..Hints::default() };
        assert!(wrong("s3://b/a", Some(&hints), &[], &[]).contains("platform"), "{endpoint}");
        // Where somebody else names one, it is of no account.
        assert_eq!(wrong("s3://b/a", Some(&hints), &[("endpoint", "https://h")], &[]), "right");
    }
    // Prose where a region should be is not heeded.
    let region = Hints { region: Some("West Europe / Amsterdam".into()), ..Hints::default() };
    assert_eq!(show(config("s3://b/a", Some(&region), &[], &[]).region()), "us-east-1 (default)");
}

#[test]
fn an_account_of_an_item_gets_no_key_of_another() {
    let other = Hints { account: Some("other".into()), ..Hints::default() };
    let signs = |own: Pairs, hints: Option<&Hints>| {
        let mut environment = vec![("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=topsecret")];
        environment.extend(own);
        config("az://c/a", hints, &[], &environment).credentials().is_some()
    };
    let (mine, same) = ([("AZURE_STORAGE_ACCOUNT_NAME", "mine")], [("AZURE_STORAGE_ACCOUNT_NAME", "other")]);
    assert!(signs(&mine, None) && signs(&same, Some(&other)));
    assert!(!signs(&mine, Some(&other)) && !signs(&[], Some(&other)));
}

#[test]
fn what_an_option_leads_to() {
    let of = |href: &str, options: Pairs, environment: Pairs| -> Vec<String> {
        let config = config(href, None, options, environment);
        config.leads().into_iter().map(|(lead, origin)| format!("{origin} {lead:?}")).collect()
    };
    let keys = [("access_key_id", "I"), ("secret_access_key", "S"), ("region", "eu-west-1"), ("request_payer", "true")];
    assert_eq!(of("s3://b/a", &keys, &[]), [""; 0]);
    for (href, options, wanted) in [
        ("s3://b/a", &[("endpoint", "http://h")][..], "Server(\"http://h\")"),
        ("s3://b/a", &[("proxy_url", "h:1")], "Server(\"h:1\")"),
        ("s3://b/a", &[("skip_signature", "false")], "Server(\"http://169.254.169.254/\")"),
        ("s3://b/a", &[("container_credentials_relative_uri", "/x")], "Server(\"http://169.254.170.2/x\")"),
        ("s3://b/a", &[("web_identity_token_file", "/t"), ("role_arn", "r")], "File(\"/t\")"),
        ("gs://b/a", &[("service_account", "/k")], "File(\"/k\")"),
        ("gs://b/a", &[("skip_signature", "false")], "Server(\"http://169.254.169.254/\")"),
        ("az://c/a", &[("account_name", "x")], "Server(\"https://x.blob.core.windows.net/\")"),
        ("az://c@x/a", &[("use_azure_cli", "true")], "Program(\"az\")"),
        ("az://c@x/a", &[("use_emulator", "true")], "Server(\"http://127.0.0.1:10000/\")"),
        ("az://c@x/a", &[("msi_endpoint", "http://h/t")], "Server(\"http://h/t\")"),
        ("az://c@x/a", &[("use_fabric_endpoint", "true")], "Server(\"https://x.blob.fabric.microsoft.com/\")"),
    ] {
        let leads = of(href, options, &[]);
        assert!(leads.iter().any(|lead| lead.ends_with(wanted)), "{href} {options:?}: {leads:?}");
        assert!(leads.iter().all(|lead| lead.starts_with("store_options ")), "{leads:?}");
    }
    // What the environment says is the user's word.
    assert_eq!(of("az://c@x/a", &[], &[("AZURE_USE_AZURE_CLI", "true")]), [""; 0]);
    // A key may hold the URL of a server.
    let key = config("gs://b/a", None, &[("service_account_key", "{\"gcs_base_url\": \"http://h\"}")], &[]);
    assert_eq!(show(key.endpoint()), "https://storage.googleapis.com (default)");
    assert_eq!(signed("az://c@x/a", &[("use_azure_cli", "false")], &[]), "unsigned");
}

#[test]
fn unknown_keys_are_named() {
    let check = |key: &str| check_options(&BTreeMap::from([(key.to_owned(), "https://x".to_owned())]));
    for key in ["sas_token", "service_account", "allow_http", "timeout", "endpoint"] {
        assert!(check(key).is_ok(), "{key}");
    }
    for key in ["regoin", "http2_only", "", "bucket", "aws_conditional_put"] {
        assert!(check(key).unwrap_err().to_string().contains(&format!("'{key}'")));
    }
}
