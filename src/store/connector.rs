//! The HTTP client under the object stores: our own, so that a redirect is not followed with credentials in hand, and a
//! refusal is told as it was meant.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientOptions, Error as StoreError};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, RANGE, RETRY_AFTER};
use reqwest::{Client, StatusCode};

use super::counters::{count_bytes, count_request};
use super::http::{Failure, MOST_AT_ONCE, is_partial, other_length, promised, refused, total_of, transport};
use super::version::Version;
use crate::runtime;

/// Bytes of an answer that is no part of an object: a token, a refusal.
const MOST_OF_ANSWER: u64 = 256 << 10;

/// Makes the clients of one bucket.
#[derive(Debug)]
pub struct Connector {
    /// Longest time for one request.
    pub timeout: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |e: String| StoreError::Generic { store: "http client", source: e.into() };
        let client = match own_client(options, self.timeout).map_err(failed)? {
            Some(client) => client,
            None => runtime::http_client().map_err(|e| failed(e.to_string()))?,
        };
        let is_true = |key| options.get_config_value(&key).is_some_and(|text| text == "true");
        Ok(HttpClient::new(Service { client, http: is_true(ClientConfigKey::AllowHttp) }))
    }
}

/// A client of its own, where `options` ask for what the shared one does not have.
fn own_client(options: &ClientOptions, timeout: Duration) -> Result<Option<Client>, String> {
    let value = |key: ClientConfigKey| options.get_config_value(&key).filter(|text| text != "false");
    let seconds = |key: ClientConfigKey| {
        let Some(text) = options.get_config_value(&key) else { return Ok(None) };
        let number = text.trim_end_matches(['s', ' ']).parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
        let duration = number.and_then(|n| Duration::try_from_secs_f64(n).ok());
        duration.map(Some).ok_or_else(|| format!("'{text}' is no time; write seconds such as '5s'"))
    };
    let (connect, whole) = (seconds(ClientConfigKey::ConnectTimeout)?, seconds(ClientConfigKey::Timeout)?);
    let proxy = value(ClientConfigKey::ProxyUrl);
    let trusting = value(ClientConfigKey::AllowInvalidCertificates).is_some();
    let agent = value(ClientConfigKey::UserAgent);
    if connect.is_none() && whole.is_none() && proxy.is_none() && !trusting && agent.is_none() {
        return Ok(None);
    }
    let mut builder =
        runtime::http_builder().timeout(whole.unwrap_or(timeout)).tls_danger_accept_invalid_certs(trusting);
    if let Some(connect) = connect {
        builder = builder.connect_timeout(connect);
    }
    if let Some(agent) = agent {
        builder = builder.user_agent(agent);
    }
    if let Some(url) = proxy {
        // The URL may hold a password, which the error would show.
        let proxy = reqwest::Proxy::all(url).map_err(|_| "proxy_url is no URL of a proxy".to_owned())?;
        let excludes = value(ClientConfigKey::ProxyExcludes).and_then(|list| reqwest::NoProxy::from_string(&list));
        builder = builder.proxy(proxy.no_proxy(excludes));
    }
    builder.build().map(Some).map_err(|e| e.to_string())
}

#[derive(Debug)]
struct Service {
    client: Client,
    /// http is allowed, not https alone.
    http: bool,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.http && request.uri().scheme_str() != Some("https") {
            let message = "the store is behind http, not https; pass store_options allow_http := true".to_owned();
            return Err(told(Failure::lasting(message)));
        }
        // Requests for credentials have no range; of them the library knows more.
        let asked = request.headers().get(RANGE).map(asked_range).transpose().map_err(told)?;
        count_request();
        let response = self.client.call(request).await.map_err(|e| told(chained(&e)))?;
        let (mut parts, body) = response.into_parts();
        let bytes = match asked {
            None => whole(body, MOST_OF_ANSWER).await,
            Some(asked) if is_partial(parts.status, &parts.headers, &asked) => {
                let bytes = partial(&parts.headers, body, &asked).await.map_err(told)?;
                // Beside the headers, of which the library wants more than stores send.
                parts.extensions.insert(Version::of_headers(&parts.headers, total_of(&parts.headers)));
                parts.status = StatusCode::PARTIAL_CONTENT;
                parts.headers = plain(asked.start, bytes.len() as u64).map_err(told)?;
                Ok(bytes)
            }
            Some(_) if parts.status == StatusCode::OK => {
                Err(Failure::lasting("the server ignores Range requests, which a COG needs".into()))
            }
            Some(_) => Err(refused_because(parts.status, &parts.headers, body).await),
        };
        Ok(HttpResponse::from_parts(parts, bytes.map_err(told)?.into()))
    }
}

/// The headers that the library reads of a part, as it likes them.
fn plain(start: u64, length: u64) -> Result<HeaderMap, Failure> {
    let end = start.saturating_add(length);
    let range = HeaderValue::try_from(format!("bytes {start}-{}/{end}", end.saturating_sub(1)));
    let range = range.map_err(|e| Failure::lasting(e.to_string()))?;
    Ok(HeaderMap::from_iter([
        (CONTENT_RANGE, range),
        (CONTENT_LENGTH, HeaderValue::from(length)),
        (ETAG, HeaderValue::from_static("\"\"")),
        (LAST_MODIFIED, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT")),
    ]))
}

/// `bytes=0-99` as 0..100: the library asks for nothing else.
fn asked_range(value: &HeaderValue) -> Result<Range<u64>, Failure> {
    let range = value.to_str().ok().and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    let range = range.and_then(|(first, last)| Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?));
    range.ok_or_else(|| Failure::lasting("a request for another kind of range".into()))
}

/// The bytes of a range, once the answer is one to what was asked.
async fn partial(headers: &HeaderMap, body: HttpResponseBody, asked: &Range<u64>) -> Result<Bytes, Failure> {
    let promised = promised(headers, asked)?;
    let bytes = collect(body, promised, |chunk| count_bytes(chunk.len() as u64)).await?;
    if bytes.len() as u64 == promised { Ok(bytes) } else { Err(other_length(bytes.len(), promised)) }
}

/// A whole body, if it has no more than `most` bytes.
async fn whole(body: HttpResponseBody, most: u64) -> Result<Bytes, Failure> {
    let bytes = collect(body, most, |_| ()).await?;
    let long = || Failure::lasting(format!("the server answers with more than {} kB", most >> 10));
    if bytes.len() as u64 <= most { Ok(bytes) } else { Err(long()) }
}

/// A body until its end, or until it has more than `most` bytes.
async fn collect(body: HttpResponseBody, most: u64, note: impl Fn(&[u8])) -> Result<Bytes, Failure> {
    let mut chunks = body.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| chained(&e))?;
        note(&chunk);
        if bytes.is_empty() {
            // Not before the first byte is there: until then it is only a promise.
            bytes.reserve(most.min(MOST_AT_ONCE) as usize);
        }
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > most {
            break;
        }
    }
    Ok(bytes.freeze())
}

async fn refused_because(status: StatusCode, headers: &HeaderMap, body: HttpResponseBody) -> Failure {
    match whole(body, MOST_OF_ANSWER).await {
        Ok(body) => refusal(status, headers, &String::from_utf8_lossy(&body)),
        Err(failure) => {
            // The status is the news; that its explanation did not come whole stands behind it.
            let mut refused = refusal(status, headers, "");
            refused.message += &format!(" (and of its explanation: {failure})");
            refused
        }
    }
}

fn told(failure: Failure) -> HttpError {
    // Who asked retries, not the library: so that every attempt is counted, and paused as the server asks.
    HttpError::new(HttpErrorKind::Unknown, failure)
}

/// The failure somewhere in the chain of causes of what the library says.
pub fn chained(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.clone();
        }
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return transport(error);
        }
        cause = error.source();
    }
    Failure::lasting(error.to_string())
}

/// What the XML of a refusal says, and in which region the bucket is.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &str) -> Failure {
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        let text = rest.split_once('<')?.0.lines().next()?.trim();
        (!text.is_empty()).then(|| text.chars().take(200).collect::<String>())
    };
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let mut failure = refused(status, headers.get(RETRY_AFTER));
    failure.region = header("x-amz-bucket-region").or_else(|| element("Region"));
    failure.size = total_of(headers).or_else(|| element("ActualObjectSize")?.parse().ok());
    let said = [header("x-ms-error-code").or_else(|| element("Code")), element("Message")];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if !said.is_empty() {
        failure.message = failure.message.replacen(&status.to_string(), &format!("{status}, {}", said.join(": ")), 1);
    }
    if status.is_redirection() {
        failure.message += "; a redirect of an object store is not followed";
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_store_says() {
        let body = "<?xml?><Error><Code>AccessDenied</Code><Message>No &amp; no\nRequestId:1</Message><Resource>/b</Resource></Error>";
        let failure = refusal(StatusCode::FORBIDDEN, &HeaderMap::new(), body);
        assert!(failure.message.starts_with("HTTP 403 Forbidden, AccessDenied: No &amp; no; "), "{}", failure.message);
        assert!(!failure.retry);
        let plain = refusal(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), "");
        assert!(plain.retry && plain.message == "HTTP 503 Service Unavailable");
    }

    #[test]
    fn a_refusal_tells_region_and_size() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
        assert_eq!(refusal(StatusCode::MOVED_PERMANENTLY, &headers, "").region.as_deref(), Some("eu-west-1"));
        let body = "<Error><Code>InvalidRange</Code><ActualObjectSize>17</ActualObjectSize></Error>";
        assert_eq!(refusal(StatusCode::RANGE_NOT_SATISFIABLE, &HeaderMap::new(), body).size, Some(17));
    }
}
