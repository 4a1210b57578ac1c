//! Ranged reads over http and https.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use percent_encoding::{CONTROLS, percent_encode};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE,
    RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::counters::{count_bytes, count_request};
use super::version::{self, Version};
use super::{Access, Location};
use crate::buffers;
use crate::pixels::Pixels;

/// A server that ignores Range sends the whole object; this much of it may be read past to reach the range.
const SKIP_LIMIT: u64 = 16 * 1024 * 1024;

/// No more memory is taken before the first byte of a body is there.
pub const MOST_AT_ONCE: u64 = 64 << 20;

/// More redirects than this go round in a circle.
pub const MOST_REDIRECTS: usize = 10;

/// Bytes, and what the answer says about the object they belong to.
pub struct Fetched {
    pub bytes: Bytes,
    pub version: Version,
}

/// A failed attempt.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub message: String,
    pub retry: bool,
    pub wait: Option<Duration>,
    /// Of an answer that refuses.
    pub status: Option<u16>,
    /// In which region the bucket is, where the store says so.
    pub region: Option<String>,
    /// Bytes of the whole object, where the refusal tells.
    pub size: Option<u64>,
    /// There was no answer in time.
    pub timed_out: bool,
}

impl Failure {
    pub fn passing(message: String) -> Failure {
        Failure { message, retry: true, ..Failure::default() }
    }

    pub fn lasting(message: String) -> Failure {
        Failure { message, ..Failure::default() }
    }
}

/// One attempt at one range, redirects included.
pub async fn get(
    client: &Client,
    url: &Url,
    range: Range<u64>,
    timeout: Duration,
    access: &Access,
) -> Result<Fetched, Failure> {
    let deadline = Instant::now() + timeout;
    let last = range.end.saturating_sub(1);
    let mut url = url.clone();
    for _ in 0..=MOST_REDIRECTS {
        count_request();
        let left = deadline.saturating_duration_since(Instant::now());
        // A range of what somebody compresses on the way is no range of the object.
        let request = client.get(url.clone()).header(RANGE, format!("bytes={}-{last}", range.start));
        let request = request.header(ACCEPT_ENCODING, "identity").timeout(left);
        let response = request.send().await.map_err(|e| transport(&e))?;
        match redirected(&url, &response) {
            Some(next) => url = permitted(next?, access)?,
            None => return answer(response, range).await,
        }
    }
    Err(Failure::lasting(format!("more than {MOST_REDIRECTS} redirects")))
}

/// Where an answer sends us, if it does. Name and password go along to the same server, and to no other.
pub fn redirected(from: &Url, response: &Response) -> Option<Result<Url, Failure>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    // What is not ASCII stands for its bytes, in whatever encoding the server writes.
    let location = percent_encode(response.headers().get(LOCATION)?.as_bytes(), CONTROLS).to_string();
    let Ok(mut next) = from.join(&location) else {
        return Some(Err(Failure::lasting("the server redirects to what is no URL".into())));
    };
    next.set_fragment(None);
    if next.origin() == from.origin() && next.username().is_empty() && next.password().is_none() {
        // Neither fails for a URL that has a host, as every http URL does.
        let named = next.set_username(from.username()).and_then(|()| next.set_password(from.password()));
        if named.is_err() {
            return Some(Err(Failure::lasting("the server redirects to a URL without a host".into())));
        }
    }
    Some(Ok(next))
}

pub fn permitted(url: Url, access: &Access) -> Result<Url, Failure> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Failure::lasting(format!("the server redirects to the scheme '{}'", url.scheme())));
    }
    let location = Location::Http(url.clone());
    access.check(&location).map_err(|e| Failure::lasting(format!("the server redirects to {location}: {e}")))?;
    Ok(url)
}

async fn answer(response: Response, range: Range<u64>) -> Result<Fetched, Failure> {
    let size = total_of(response.headers());
    let mut version = Version::of_headers(response.headers(), size);
    let bytes = match response.status() {
        status if is_partial(status, response.headers(), &range) => partial(response, range).await?,
        StatusCode::OK => {
            version.size = response.content_length();
            whole(response, range).await?
        }
        StatusCode::RANGE_NOT_SATISFIABLE if size.is_some_and(|size| size <= range.start) => Bytes::new(),
        status => return Err(refused(status, response.headers().get(RETRY_AFTER))),
    };
    Ok(Fetched { bytes, version })
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    header(headers, CONTENT_LENGTH)?.parse().ok()
}

/// The size of the object that a Content-Range tells.
pub fn total_of(headers: &HeaderMap) -> Option<u64> {
    header(headers, CONTENT_RANGE)?.rsplit_once('/')?.1.trim().parse().ok()
}

/// Whether the body is a part of the object: some servers say 200 all the same, and mean what their Content-Range says.
pub fn is_partial(status: StatusCode, headers: &HeaderMap, asked: &Range<u64>) -> bool {
    let is_told = || headers.contains_key(CONTENT_RANGE) && promised(headers, asked).ok() == content_length(headers);
    status == StatusCode::PARTIAL_CONTENT || status == StatusCode::OK && content_length(headers).is_some() && is_told()
}

async fn partial(response: Response, range: Range<u64>) -> Result<Bytes, Failure> {
    let expected = promised(response.headers(), &range)?;
    let mut bytes: Vec<u8> = buffers::take(expected.min(MOST_AT_ONCE) as usize);
    bytes.clear();
    collect(response, |chunk| {
        bytes.extend_from_slice(chunk);
        bytes.len() as u64 <= expected
    })
    .await?;
    if bytes.len() as u64 != expected {
        return Err(other_length(bytes.len(), expected));
    }
    Ok(buffers::lent(Pixels::UInt8(bytes)))
}

/// How many bytes a partial answer promises: those asked for, from the first one on, as far as the object goes.
pub fn promised(headers: &HeaderMap, asked: &Range<u64>) -> Result<u64, Failure> {
    if !headers.contains_key(CONTENT_RANGE) {
        return untold(headers, asked);
    }
    match header(headers, CONTENT_RANGE).and_then(parse_content_range) {
        Some((start, end, total)) if start == asked.start && end <= asked.end => {
            if end < asked.end && total.is_some_and(|t| t > end) {
                return Err(Failure::passing("the server sent less than the range asked for".into()));
            }
            Ok(end - start)
        }
        _ => Err(Failure::lasting("the server answered another range than the one asked for".into())),
    }
}

/// What a part without a Content-Range can be: all that was asked for, or a whole object that is shorter.
fn untold(headers: &HeaderMap, asked: &Range<u64>) -> Result<u64, Failure> {
    let kind = header(headers, CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with("multipart/byteranges") {
        let message = "the server answers one range with several parts (multipart/byteranges), which no COG needs";
        return Err(Failure::lasting(message.into()));
    }
    let wanted = asked.end.saturating_sub(asked.start);
    let fits = |length: &u64| *length > 0 && (*length == wanted || *length < wanted && asked.start == 0);
    content_length(headers).filter(fits).ok_or_else(|| {
        Failure::lasting("the server sends a part of the object (206) and does not say which (no Content-Range)".into())
    })
}

/// A body of another length than was promised.
pub fn other_length(found: usize, promised: u64) -> Failure {
    match found as u64 > promised {
        true => Failure::passing(format!("the body has more than the {promised} bytes of the range")),
        false => Failure::passing(format!("the body has {found} bytes instead of {promised}")),
    }
}

/// The server ignored Range and sends the object from its first byte.
async fn whole(response: Response, range: Range<u64>) -> Result<Bytes, Failure> {
    if range.start > SKIP_LIMIT {
        return Err(Failure::lasting("the server ignores Range requests, which a COG needs".into()));
    }
    let length = response.content_length();
    let mut bytes = BytesMut::new();
    collect(response, |chunk| {
        bytes.extend_from_slice(chunk);
        (bytes.len() as u64) < range.end
    })
    .await?;
    if (bytes.len() as u64) < length.unwrap_or(0).min(range.end) {
        return Err(Failure::passing("the body ends early".into()));
    }
    let end = range.end.min(bytes.len() as u64);
    Ok(bytes.freeze().slice(range.start.min(end) as usize..end as usize))
}

/// Reads the body until its end or until `more` says no.
async fn collect(mut response: Response, mut more: impl FnMut(&[u8]) -> bool) -> Result<(), Failure> {
    while let Some(chunk) = response.chunk().await.map_err(|e| transport(&e))? {
        count_bytes(chunk.len() as u64);
        if !more(&chunk) {
            break;
        }
    }
    Ok(())
}

pub fn refused(status: StatusCode, retry_after: Option<&HeaderValue>) -> Failure {
    let hint = match status.as_u16() {
        401 | 403 => "; pass store_options or set the credentials of the environment",
        _ => "",
    };
    refused_with(status, retry_after, hint)
}

/// A refusal, with `more` behind its status.
pub fn refused_with(status: StatusCode, retry_after: Option<&HeaderValue>, more: &str) -> Failure {
    let retry = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED);
    let wait = retry_after.and_then(|value| pause(value.to_str().ok()?.trim()));
    let message = format!("HTTP {status}{more}");
    Failure { message, retry, wait, status: Some(status.as_u16()), ..Failure::default() }
}

/// Seconds, or the time until when.
fn pause(text: &str) -> Option<Duration> {
    let seconds = text.parse().ok();
    let until = || u64::try_from(version::seconds(text)?.saturating_sub(Timestamp::now().as_second())).ok();
    seconds.or_else(until).map(Duration::from_secs)
}

/// Exponential backoff with jitter, or what the server asked for, never above half a minute.
pub fn backoff(attempt: usize, asked: Option<Duration>) -> Duration {
    const LONGEST: Duration = Duration::from_secs(30);
    // The sub-microsecond digits of the clock are jitter enough to spread the retries of one burst.
    let noise = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos() % 1000);
    let base = Duration::from_millis(100) * 2u32.saturating_pow(attempt.min(8) as u32 - 1);
    let jittered = base.mul_f64(0.5 + f64::from(noise) / 1000.0);
    asked.unwrap_or(Duration::ZERO).max(jittered).min(LONGEST)
}

/// What TLS has to say comes as an I/O error of invalid data, perhaps inside another; no connection makes one of itself.
fn is_of_tls(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    error.kind() == std::io::ErrorKind::InvalidData || inner.is_some_and(is_of_tls)
}

/// A failure below HTTP, told by its innermost cause, without the URL that reqwest puts in front.
pub fn transport(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure { timed_out: true, ..Failure::passing("timed out".into()) };
    }
    let mut cause: &dyn std::error::Error = error;
    let mut is_tls = false;
    while let Some(inner) = cause.source() {
        cause = inner;
        is_tls |= error.is_connect() && inner.downcast_ref().is_some_and(is_of_tls);
    }
    if is_tls {
        return Failure::lasting(format!(
            "TLS failure: {cause}; is it https, and is the certificate one that this machine trusts? \
             (the variable SSL_CERT_FILE names others)"
        ));
    }
    Failure { message: format!("connection failed: {cause}"), retry: !error.is_builder(), ..Failure::default() }
}

/// `bytes 0-99/1234` as (0, 100, Some(1234)); `None` of what is no range of an object of that size. The unit is written in any
/// case, and by some servers with a colon or an equals sign behind it.
fn parse_content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let rest = value.get(..5).filter(|unit| unit.eq_ignore_ascii_case("bytes")).and_then(|_| value.get(5..))?;
    let (range, total) = rest.strip_prefix([' ', '\t', ':', '='])?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (start, end) = (number(first)?, number(last)?.checked_add(1)?);
    let total = if total.trim() == "*" { None } else { Some(number(total)?) };
    (start < end && total.is_none_or(|total| end <= total)).then_some((start, end, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 0-99/1234"), Some((0, 100, Some(1234))));
        assert_eq!(parse_content_range("bytes 5-5/*"), Some((5, 6, None)));
        for one in
            ["Bytes 0-99/1234", "BYTES  0-99/1234", "bytes\t0 - 99 / 1234", "bytes=0-99/1234", "bytes: 0-99/1234"]
        {
            assert_eq!(parse_content_range(one), Some((0, 100, Some(1234))), "{one}");
        }
        assert_eq!(parse_content_range("bytes */1234"), None);
        assert_eq!(parse_content_range("bytes0-99/1234"), None);
        assert_eq!(parse_content_range("items 0-1/2"), None);
        for forged in ["5-0/*", "5-4/*", "0-18446744073709551615/*", "0-9/5", "0-9/x", "-1-5/*", "0-/9"] {
            assert_eq!(parse_content_range(&format!("bytes {forged}")), None, "{forged}");
        }
    }

    #[test]
    fn no_more_is_promised_than_was_asked_for() {
        let promised = |range: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, range.parse().unwrap())]);
            super::promised(&headers, &(10..20)).map_err(|failure| failure.retry)
        };
        assert_eq!(promised("bytes 10-19/100"), Ok(10));
        assert_eq!(promised("bytes 10-14/15"), Ok(5));
        assert_eq!(promised("bytes 10-14/100"), Err(true));
        for other in ["bytes 10-20/100", "bytes 9-19/100", "bytes 0-9/100", "bytes 10-9/*", "bytes 10-4/*"] {
            assert_eq!(promised(other), Err(false), "{other}");
        }
    }
}
