//! Whole answers of a server that is asked by GET or POST, such as an API; and who asks, which is for that server alone.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response};
use serde_json::Value;
use url::Url;

use super::counters::{count_bytes, count_request};
use super::http::{Failure, MOST_REDIRECTS, permitted, redirected, refused_with, transport};
use super::session::Session;
use super::shown::Secrets;
use crate::error::{Error, Result};
use crate::runtime;

/// Bytes of a refusal that are read.
const MOST_OF_REFUSAL: u64 = 64 << 10;
/// What the connection itself needs, and nobody else may write.
const NOT_THEIRS: [&str; 7] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "upgrade", "te"];

/// What a server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    pub url: Url,
    /// Names and values; those that cannot be headers, or are the connection's own, are passed over.
    pub headers: Vec<(String, String)>,
    /// JSON, sent by POST; without it the question is a GET.
    pub body: Option<String>,
}

/// A good answer.
pub struct Answer {
    /// Where it came from, redirects followed, without name, password and query: those are of who asks.
    pub url: Url,
    pub content_type: String,
    pub bytes: Bytes,
}

/// Who asks: headers, and what a URL holds besides its place. They go to the server of that URL, and to no other.
pub struct Keys {
    server: Url,
    headers: HeaderMap,
    secrets: Secrets,
}

impl Keys {
    /// Those for the server of `url`.
    ///
    /// # Errors
    /// What cannot be a header; two ways to say who asks. The value, which may be a secret, is not repeated.
    pub fn new(url: &Url, headers: &[(String, String)], bearer_token: Option<&str>) -> Result<Keys> {
        let mut keys = Keys { server: url.clone(), headers: HeaderMap::new(), secrets: Secrets::default() };
        keys.secrets.add_url(url);
        for (name, value) in headers {
            let named = name.trim().parse::<HeaderName>().ok().filter(|name| !NOT_THEIRS.contains(&name.as_str()));
            let named = named.ok_or_else(|| Error::Argument(format!("headers: '{name}' cannot be set as a header")))?;
            keys.add(named, value, value).map_err(|()| wrong_value(&format!("headers: the value of '{name}'")))?;
        }
        if let Some(token) = bearer_token {
            if keys.headers.contains_key(AUTHORIZATION) {
                return Err(Error::Argument("bearer_token and headers both give 'Authorization'; give one".into()));
            }
            let value = format!("Bearer {}", token.trim());
            keys.add(AUTHORIZATION, &value, token.trim()).map_err(|()| wrong_value("bearer_token"))?;
        }
        Ok(keys)
    }

    fn add(&mut self, name: HeaderName, value: &str, secret: &str) -> Result<(), ()> {
        let mut value = HeaderValue::from_str(value).map_err(|_| ())?;
        value.set_sensitive(true);
        self.secrets.add(secret);
        // What stands behind the name of a scheme, too.
        if let Some((_, rest)) = secret.split_once(' ') {
            self.secrets.add(rest.trim());
        }
        self.headers.insert(name, value);
        Ok(())
    }

    /// Whether `url` is of the server that they are for; one that went over from http to https is the same.
    fn are_for(&self, url: &Url) -> bool {
        let is_default = |url: &Url| url.port().is_none();
        let went_over = self.server.scheme() == "http" && url.scheme() == "https";
        url.origin() == self.server.origin()
            || went_over && url.host() == self.server.host() && is_default(url) && is_default(&self.server)
    }

    /// `url` with name, password and query of the URL that they came with, as far as it has none of its own.
    fn complete(&self, mut url: Url) -> Url {
        if !self.are_for(&url) {
            return url;
        }
        if url.username().is_empty() && url.password().is_none() && !self.server.username().is_empty() {
            // Neither fails for a URL that has a host, as every http URL does.
            let named =
                url.set_username(self.server.username()).and_then(|()| url.set_password(self.server.password()));
            debug_assert!(named.is_ok());
        }
        let missing: Vec<(String, String)> = self
            .server
            .query_pairs()
            .filter(|(name, _)| !url.query_pairs().any(|(own, _)| own == *name))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if !missing.is_empty() {
            url.query_pairs_mut().extend_pairs(missing);
        }
        url
    }

    /// `text` without what is secret.
    pub fn hide(&self, text: &str) -> String {
        self.secrets.hide(text)
    }
}

fn wrong_value(what: &str) -> Error {
    Error::Argument(format!("{what} has signs that no header can hold"))
}

impl Session {
    /// Asks once, redirects included; an answer has at most `most` bytes, and one that has more is refused as 413 is.
    ///
    /// # Errors
    /// As a [`Failure`], whose message holds nothing secret.
    pub async fn ask(&self, question: &Question, keys: &Keys, most: u64) -> Result<Answer, Failure> {
        let client = runtime::http_client().map_err(|e| Failure::lasting(e.to_string()))?;
        let permit = self.permits.acquire().await;
        let answer = self.traffic().clone().of(send(self, &client, question, keys, most)).await;
        drop(permit);
        answer.map_err(|failure| Failure { message: keys.hide(&failure.message), ..failure })
    }
}

async fn send(
    session: &Session,
    client: &Client,
    question: &Question,
    keys: &Keys,
    most: u64,
) -> Result<Answer, Failure> {
    let options = session.options();
    let deadline = Instant::now() + options.timeout;
    let location = super::Location::Http(question.url.clone());
    session.check(&location).map_err(|e| Failure::lasting(e.to_string()))?;
    let (mut url, mut body) = (keys.complete(question.url.clone()), question.body.clone());
    for _ in 0..=MOST_REDIRECTS {
        count_request();
        let request = match &body {
            Some(body) => client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body.clone()),
            None => client.get(url.clone()),
        };
        let mut headers = plain(&question.headers);
        if keys.are_for(&url) {
            headers.extend(keys.headers.clone());
        }
        let request = request.header(ACCEPT, "application/geo+json, application/json").headers(headers);
        let left = deadline.saturating_duration_since(Instant::now());
        let response = request.timeout(left).send().await.map_err(|e| transport(&e))?;
        match redirected(&url, &response) {
            None => return answer(url, response, most).await,
            Some(next) => {
                url = keys.complete(permitted(next?, &options.access)?);
                // Only "see other" means another question: whoever forgets the body asks for everything.
                body = body.filter(|_| response.status().as_u16() != 303);
            }
        }
    }
    Err(Failure::lasting(format!("more than {MOST_REDIRECTS} redirects")))
}

/// The headers that a server asked for.
fn plain(headers: &[(String, String)]) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        let name = name.parse::<HeaderName>().ok().filter(|name| !NOT_THEIRS.contains(&name.as_str()))?;
        Some((name, HeaderValue::from_str(value).ok()?))
    };
    headers.iter().filter_map(pair).collect()
}

async fn answer(url: Url, response: Response, most: u64) -> Result<Answer, Failure> {
    let status = response.status();
    let header = |name| response.headers().get(name).cloned();
    let (wait, kind) = (header(RETRY_AFTER), header(CONTENT_TYPE));
    let content_type = kind.and_then(|kind| kind.to_str().map(str::to_ascii_lowercase).ok()).unwrap_or_default();
    if status.is_success() {
        let bytes = collect(response, most).await?.ok_or_else(|| Failure {
            status: Some(413),
            ..Failure::lasting(format!("the answer has more than {} MB", most / 1_000_000))
        })?;
        return Ok(Answer { url: plain_place(url), content_type, bytes });
    }
    let hint = match status.as_u16() {
        401 | 403 => "; pass bearer_token or headers if the API wants a key",
        _ => "",
    };
    // A refusal without its explanation is one, too.
    let said = collect(response, MOST_OF_REFUSAL).await.ok().flatten();
    let said = said.and_then(|body| explanation(&body)).map(|said| format!(", {said}")).unwrap_or_default();
    Err(refused_with(status, wait.as_ref(), &format!("{said}{hint}")))
}

fn plain_place(mut url: Url) -> Url {
    // Neither fails for a URL that has a host, as every http URL does.
    let unnamed = url.set_username("").and_then(|()| url.set_password(None));
    debug_assert!(unnamed.is_ok());
    url.set_query(None);
    url
}

/// What the JSON of a refusal says.
fn explanation(body: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let said = ["description", "detail", "message", "title", "error"].into_iter().find_map(|name| {
        match json.get(name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Value::Null | Value::String(_) => None,
            other => Some(other.to_string()),
        }
    })?;
    Some(said.lines().next().unwrap_or_default().chars().take(200).collect())
}

/// The body; `None` if it has more than `most` bytes.
async fn collect(mut response: Response, most: u64) -> Result<Option<Bytes>, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| transport(&e))? {
        count_bytes(chunk.len() as u64);
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > most {
            return Ok(None);
        }
    }
    Ok(Some(bytes.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn keys_are_for_one_server() {
        let keys = Keys::new(&url("http://me:pw@api.org/v1?key=topsecret"), &[], Some("token")).unwrap();
        for same in ["http://api.org/search", "https://api.org/v1"] {
            assert!(keys.are_for(&url(same)), "{same}");
        }
        for other in ["http://api.org:81/", "https://api.org:81/", "http://evil.org/", "http://api.org.evil.org/"] {
            assert!(!keys.are_for(&url(other)), "{other}");
            assert_eq!(keys.complete(url(other)), url(other));
        }
        let keys = Keys::new(&url("https://api.org/"), &[], None).unwrap();
        assert!(!keys.are_for(&url("http://api.org/")), "what was said to https is not said in the open");
    }

    #[test]
    fn the_query_of_the_first_url_stays() {
        let keys = Keys::new(&url("http://me:pw@api.org/v1?key=topsecret&a=1"), &[], None).unwrap();
        let complete = keys.complete(url("http://api.org/search?a=2&token=x"));
        assert_eq!(complete.as_str(), "http://me:pw@api.org/search?a=2&token=x&key=topsecret");
        assert_eq!(keys.hide("it said topsecret"), "it said ...");
    }

    #[test]
    fn what_is_no_header_is_told_without_its_value() {
        let of = |name: &str, value: &str, token: Option<&str>| {
            let keys = Keys::new(&url("http://h/"), &[(name.into(), value.into())], token);
            keys.err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(of("x y", "v", None).contains("'x y' cannot be"));
        assert!(of("Host", "v", None).contains("'Host' cannot be"));
        let said = of("x-key", "topsecret\n", None);
        assert!(said.contains("'x-key'") && !said.contains("topsecret"));
        assert!(of("authorization", "Basic x", Some("t")).contains("give one"));
        assert_eq!(of("x-key", "topsecret", Some("t")), "");
    }

    #[test]
    fn what_refusals_say() {
        let said = |body: &str| explanation(body.as_bytes());
        assert_eq!(said(r#"{"code": "NotFoundError", "description": "no such thing"}"#).unwrap(), "no such thing");
        assert_eq!(said(r#"{"detail": [{"loc": ["limit"]}]}"#).unwrap(), r#"[{"loc":["limit"]}]"#);
        assert_eq!(said("<html>no</html>"), None);
    }
}
