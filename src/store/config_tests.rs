use url::Url;

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn config(href: &str, hints: Option<&Hints>, options: Pairs, environment: Pairs) -> Config {
    let url = Url::parse(href).unwrap();
    let address = Address::of_https(&url).or_else(|| Address::of_cloud(&url).ok()).unwrap();
    let map = |pairs: Pairs| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Config::resolve(address, hints, &map(options), &map(environment))
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
    let given = config("s3://b/a", Some(&hints), &[("access_key_id", "I"), ("secret_access_key", "S")], KEYS);
    assert!(given.credentials().is_some());
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

#[test]
fn unknown_keys_are_named() {
    let check = |key: &str| check_keys([key.to_owned()].iter());
    for key in ["region", "AWS_REGION", "sas_token", "service_account", "allow_http", "timeout", "endpoint"] {
        assert!(check(key).is_ok(), "{key}");
    }
    for key in ["regoin", "http2_only", ""] {
        assert!(check(key).unwrap_err().to_string().contains(&format!("'{key}'")));
    }
}
