use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use bytes::Bytes;
use url::Url;

use super::*;
use crate::runtime;
use crate::store::{ByteSource, CloudUrl, Object};

/// Answers as many connections as there are answers, with what `answer` makes of each request's head.
fn server(count: usize, answer: fn(&str) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        stream.write_all(answer(&head.join("\n")).as_bytes()).unwrap();
    };
    std::thread::spawn(move || listener.incoming().take(count).flatten().for_each(serve));
    url
}

fn answered(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn found() -> String {
    let headers = "Content-Range: bytes 0-3/4\r\nETag: \"1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    answered("206 Partial Content", headers, "data")
}

fn session(store: &[(&str, &str)], environment: &[(&str, &str)]) -> Session {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let options = Options {
        store: map(store),
        max_concurrent: 4,
        timeout: Duration::from_secs(5),
        max_retries: 1,
        access: Access::default(),
        allow_local: false,
        files: None,
    };
    Session { environment: Arc::new(map(environment)), ..Session::new(options) }
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

fn route(session: &Session, href: &str) -> String {
    let object = Location::resolve(href, None).and_then(|location| session.object(location, None)).unwrap();
    match object.route() {
        Route::Files(_) => "files".into(),
        Route::File => "file".into(),
        Route::Http(None) => "http".into(),
        Route::Http(Some(_)) => "http, then signed".into(),
        Route::Store(config) => {
            format!("store, {}", if config.credentials().is_some() { "signed" } else { "unsigned" })
        }
    }
}

#[test]
fn https_stays_https_unless_a_signature_is_at_hand() {
    let (bare, with_keys) = (session(&[], &[]), session(&[], &KEYS));
    let s3 = "https://b.s3.us-west-2.amazonaws.com/a.tif";
    assert_eq!((route(&bare, s3), route(&with_keys, s3)), ("http".into(), "http, then signed".into()));
    for own in ["https://b.s3.amazonaws.com/a.tif?X-Amz-Signature=1", "https://u:p@b.s3.amazonaws.com/a.tif"] {
        assert_eq!(route(&with_keys, own), "http");
    }
    assert_eq!(route(&with_keys, "https://storage.googleapis.com/b/a.tif"), "http");
    assert_eq!(route(&with_keys, "https://example.org/b/a.tif"), "http");
    assert_eq!(
        (route(&bare, "s3://b/a.tif"), route(&with_keys, "s3://b/a.tif")),
        ("store, unsigned".into(), "store, signed".into())
    );
    assert_eq!(route(&session(&[("skip_signature", "true")], &KEYS), "s3://b/a.tif"), "store, unsigned");
}

/// An https URL of a bucket whose server is here.
fn behind(session: &Session, url: &str) -> Object {
    let address =
        Address { endpoint: Some(url.into()), ..Address::of_cloud(&CloudUrl::parse("s3://b/a.tif").unwrap()).unwrap() };
    let config = session.configured(address, None).unwrap();
    let location = Location::Http(Url::parse(&format!("{url}/b/a.tif")).unwrap());
    Object::new(location, Route::Http(Some(config)), session.clone())
}

fn read(object: &Object, range: std::ops::Range<u64>) -> Result<Bytes> {
    runtime::io().unwrap().block_on(object.read(range))
}

#[test]
fn a_refused_url_is_signed_and_the_next_one_at_once() {
    let url = server(3, |head| match head.to_lowercase().contains("authorization: aws4-hmac-sha256") {
        true => found(),
        false => answered("403 Forbidden", "", ""),
    });
    let session = session(&[], &KEYS);
    // Refused, signed; signed: a fourth request would find no server.
    assert_eq!(&read(&behind(&session, &url), 0..4).unwrap()[..], b"data");
    assert_eq!(&read(&behind(&session, &url), 0..4).unwrap()[..], b"data");
}

#[test]
fn what_is_public_is_never_signed() {
    let url = server(1, |head| match head.to_lowercase().contains("authorization") {
        true => answered("400 Bad Request", "", "expired token"),
        false => found(),
    });
    assert_eq!(&read(&behind(&session(&[], &KEYS), &url), 0..4).unwrap()[..], b"data");
}

#[test]
fn nothing_is_asked_for_beyond_the_end() {
    let url = server(1, |_| found());
    let object = behind(&session(&[], &KEYS), &url);
    assert_eq!(&read(&object, 0..4).unwrap()[..], b"data");
    assert!(read(&object, 4..8).unwrap().is_empty());
}

#[test]
fn the_region_that_a_bucket_names_is_taken() {
    let url = server(3, |head| match head.contains("/eu-central-1/s3/aws4_request") {
        true => found(),
        false => answered("400 Bad Request", "x-amz-bucket-region: eu-central-1\r\n", ""),
    });
    let of = |session: &Session| {
        let mut address = Address::of_cloud(&CloudUrl::parse("s3://moved/a.tif").unwrap()).unwrap();
        address.endpoint = Some(url.clone());
        let route = Route::Store(session.configured(address, None).unwrap());
        let location = Location::resolve("s3://moved/a.tif", None).unwrap();
        Object::new(location, route, session.clone())
    };
    let stubborn = session(&[("region", "us-east-1")], &KEYS);
    let message = read(&of(&stubborn), 0..4).unwrap_err().to_string();
    assert!(message.contains("'eu-central-1'"), "{message}");
    let session = session(&[], &KEYS);
    assert_eq!(&read(&of(&session), 0..4).unwrap()[..], b"data");
}
