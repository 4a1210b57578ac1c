//! Ranged reads over http and https.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::counters::{COUNTERS, add};

/// A server that ignores Range sends the whole object; this much of it may be read past to reach the range.
const SKIP_LIMIT: u64 = 16 * 1024 * 1024;

/// Bytes, and the ETag, else the Last-Modified time, of the object they belong to.
pub struct Fetched {
    pub bytes: Bytes,
    pub etag: Option<String>,
}

/// A failed attempt.
pub struct Failure {
    pub message: String,
    pub retry: bool,
    pub wait: Option<Duration>,
}

impl Failure {
    fn temporary(message: String) -> Failure {
        Failure { message, retry: true, wait: None }
    }

    fn final_(message: String) -> Failure {
        Failure { message, retry: false, wait: None }
    }
}

/// One attempt at one range.
pub async fn get(client: &Client, url: &Url, range: Range<u64>, timeout: Duration) -> Result<Fetched, Failure> {
    let last = range.end.saturating_sub(1);
    let request = client.get(url.clone()).header(RANGE, format!("bytes={}-{last}", range.start)).timeout(timeout);
    let response = request.send().await.map_err(|e| transport(&e))?;
    // A server without ETags may at least say when the object was written.
    let version = response.headers().get(ETAG).or_else(|| response.headers().get(LAST_MODIFIED));
    let etag = version.and_then(|v| v.to_str().ok()).map(str::to_owned);
    let bytes = match response.status() {
        StatusCode::PARTIAL_CONTENT => partial(response, range).await?,
        StatusCode::OK => whole(response, range).await?,
        StatusCode::RANGE_NOT_SATISFIABLE if is_beyond_end(response.headers(), range.start) => Bytes::new(),
        status => return Err(refused(status, response.headers())),
    };
    Ok(Fetched { bytes, etag })
}

/// Whether a refusal of the range says that the object ends before it.
fn is_beyond_end(headers: &HeaderMap, start: u64) -> bool {
    let total = headers.get(CONTENT_RANGE).and_then(|v| v.to_str().ok()?.strip_prefix("bytes */")?.parse::<u64>().ok());
    total.is_some_and(|total| total <= start)
}

async fn partial(response: Response, range: Range<u64>) -> Result<Bytes, Failure> {
    let given = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).and_then(parse_content_range);
    let expected = match given {
        Some((start, end, total)) if start == range.start && end <= range.end => {
            if end < range.end && total.is_some_and(|t| t > end) {
                return Err(Failure::temporary("the server sent less than the range asked for".into()));
            }
            end - start
        }
        _ => return Err(Failure::final_("the server answered another range than the one asked for".into())),
    };
    let mut bytes = BytesMut::with_capacity(expected.min(64 << 20) as usize);
    collect(response, |chunk| {
        bytes.extend_from_slice(chunk);
        bytes.len() as u64 <= expected
    })
    .await?;
    if bytes.len() as u64 != expected {
        return Err(Failure::temporary(format!("the body has {} bytes instead of {expected}", bytes.len())));
    }
    Ok(bytes.freeze())
}

/// The server ignored Range and sends the object from its first byte.
async fn whole(response: Response, range: Range<u64>) -> Result<Bytes, Failure> {
    if range.start > SKIP_LIMIT {
        return Err(Failure::final_("the server ignores Range requests, which a COG needs".into()));
    }
    let length = response.content_length();
    let mut bytes = BytesMut::new();
    collect(response, |chunk| {
        bytes.extend_from_slice(chunk);
        (bytes.len() as u64) < range.end
    })
    .await?;
    if (bytes.len() as u64) < length.unwrap_or(0).min(range.end) {
        return Err(Failure::temporary("the body ends early".into()));
    }
    let end = range.end.min(bytes.len() as u64);
    Ok(bytes.freeze().slice(range.start.min(end) as usize..end as usize))
}

/// Reads the body until its end or until `more` says no.
async fn collect(mut response: Response, mut more: impl FnMut(&[u8]) -> bool) -> Result<(), Failure> {
    while let Some(chunk) = response.chunk().await.map_err(|e| transport(&e))? {
        add(&COUNTERS.bytes, chunk.len() as u64);
        if !more(&chunk) {
            break;
        }
    }
    Ok(())
}

fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    let hint = match status.as_u16() {
        401 | 403 => "; pass store_options or set the credentials of the environment",
        _ => "",
    };
    let retry = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED);
    let wait = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    Failure { message: format!("HTTP {status}{hint}"), retry, wait }
}

/// A failure below HTTP, told by its innermost cause, without the URL that reqwest puts in front.
fn transport(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::temporary("timed out".into());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Failure { message: format!("connection failed: {cause}"), retry: !error.is_builder(), wait: None }
}

/// `bytes 0-99/1234` as (0, 100, Some(1234)).
fn parse_content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse::<u64>().ok()?.checked_add(1)?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 0-99/1234"), Some((0, 100, Some(1234))));
        assert_eq!(parse_content_range("bytes 5-5/*"), Some((5, 6, None)));
        assert_eq!(parse_content_range("bytes */1234"), None);
        assert_eq!(parse_content_range("items 0-1/2"), None);
    }
}
