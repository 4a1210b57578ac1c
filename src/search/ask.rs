//! What a search asks for, and how a page of it is asked for: as the body of a POST, or as the query of a GET.

use serde_json::{Map, Value, json};
use url::Url;

use super::place::Place;
use crate::error::{Error, Result};
use crate::items::parse_filter;
use crate::store::Question;
use crate::time::Interval;

/// What a page holds at first.
pub const PAGE_SIZE: u64 = 250;

/// One search.
#[derive(Debug, Clone)]
pub struct Search {
    /// The landing page of an API, or its `/search`.
    pub url: Url,
    pub collections: Vec<String>,
    pub place: Place,
    pub datetime: Option<Interval>,
    pub filter: Option<Filter>,
    pub ids: Vec<String>,
    /// As many items in all.
    pub most: Option<u64>,
    /// As many items a page, where the server can.
    pub page_size: u64,
}

/// A filter in both languages: a POST takes JSON, a GET text, where there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    json: Value,
    text: Option<String>,
}

impl Filter {
    /// Reads CQL2, text or JSON.
    ///
    /// # Errors
    /// What is neither.
    pub fn parse(filter: &str) -> Result<Filter> {
        let expr = parse_filter(filter)?;
        let json = expr.to_value().map_err(|e| Error::Argument(format!("filter: {e}")))?;
        let text = match filter.trim_start().starts_with('{') {
            true => expr.to_text().ok(),
            false => Some(filter.trim().to_owned()),
        };
        Ok(Filter { json, text })
    }
}

impl Search {
    /// The first pages at `endpoint`: one, or one for each box.
    pub(super) fn asks(&self, endpoint: &Url) -> Vec<Ask> {
        let mut body = Map::new();
        let list = |names: &[String]| json!(names);
        if !self.collections.is_empty() {
            body.insert("collections".into(), list(&self.collections));
        }
        if !self.ids.is_empty() {
            body.insert("ids".into(), list(&self.ids));
        }
        if let Some(datetime) = self.datetime {
            body.insert("datetime".into(), closed(datetime).into());
        }
        if let Some(filter) = &self.filter {
            body.insert("filter".into(), filter.json.clone());
            body.insert("filter-lang".into(), "cql2-json".into());
        }
        body.insert("limit".into(), self.page_size.min(self.most.unwrap_or(u64::MAX)).into());
        let ask = |name: &str, place: Value| {
            let mut body = body.clone();
            body.insert(name.to_owned(), place);
            self.ask(endpoint, body)
        };
        match &self.place {
            Place::Anywhere => vec![self.ask(endpoint, body)],
            Place::Boxes(boxes) => boxes.iter().map(|edges| ask("bbox", json!(edges))).collect(),
            Place::Shape(shape) => vec![ask("intersects", shape.clone())],
        }
    }

    fn ask(&self, endpoint: &Url, body: Map<String, Value>) -> Ask {
        let filter = self.filter.as_ref().and_then(|filter| filter.text.clone());
        Ask { url: endpoint.clone(), headers: Vec::new(), body: Some(body), filter }
    }
}

/// A half-open interval as STAC writes it, where both ends are inside.
fn closed(Interval { start, end }: Interval) -> String {
    let show = |time: Option<i64>| match time.map(jiff::Timestamp::from_microsecond) {
        Some(Ok(instant)) => instant.to_string(),
        _ => "..".to_owned(),
    };
    let last = end.map(|end| end - 1);
    match start.is_some() && start == last {
        true => show(start),
        false => format!("{}/{}", show(start), show(last)),
    }
}

/// A request for one page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ask {
    pub url: Url,
    pub headers: Vec<(String, String)>,
    /// Of a POST.
    pub body: Option<Map<String, Value>>,
    /// The filter of the body as text.
    filter: Option<String>,
}

impl Ask {
    /// A GET of what a URL names.
    pub fn of(url: Url) -> Ask {
        Ask { url, headers: Vec::new(), body: None, filter: None }
    }

    /// How many items the page may have, where it says so.
    pub fn limit(&self) -> Option<u64> {
        match &self.body {
            Some(body) => body.get("limit").and_then(Value::as_u64),
            None => self.url.query_pairs().find(|(name, _)| name == "limit").and_then(|(_, value)| value.parse().ok()),
        }
    }

    /// The same page with no more than `limit` items.
    pub fn set_limit(&mut self, limit: u64) {
        match &mut self.body {
            Some(body) => drop(body.insert("limit".into(), limit.into())),
            None => set_query(&mut self.url, "limit", &limit.to_string()),
        }
    }

    /// What is sent, where a POST is refused as a GET.
    pub fn question(&self, by_get: bool) -> Question {
        let (mut url, headers) = (self.url.clone(), self.headers.clone());
        let body = match &self.body {
            Some(body) if by_get => {
                for (name, value) in body {
                    if let Some((name, text)) = self.parameter(name, value) {
                        set_query(&mut url, name, &text);
                    }
                }
                None
            }
            body => body.clone().map(|body| Value::Object(body).to_string()),
        };
        Question { url, headers, body }
    }

    /// A member of a body as the parameter of a query: lists with commas, objects as JSON, a filter as text.
    fn parameter<'a>(&self, name: &'a str, value: &Value) -> Option<(&'a str, String)> {
        let plain = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text = match (name, value, &self.filter) {
            ("filter", Value::Object(_), Some(filter)) => filter.clone(),
            ("filter-lang", _, Some(_)) => "cql2-text".to_owned(),
            (_, Value::Null, _) => return None,
            (_, Value::Array(list), _) if list.iter().all(|value| !value.is_object() && !value.is_array()) => {
                list.iter().map(plain).collect::<Vec<_>>().join(",")
            }
            (_, Value::Object(members), _) if members.is_empty() => return None,
            (_, value, _) => plain(value),
        };
        (!text.is_empty()).then_some((name, text))
    }

    /// The page that `link` of an answer leads to, which came from `page`.
    ///
    /// # Errors
    /// A link that leads nowhere.
    pub fn next(&self, link: &Value, page: &Url) -> Result<Ask, String> {
        let href = link.get("href").and_then(Value::as_str).ok_or("the link to the next page has no href")?;
        let mut url = page.join(href).map_err(|e| format!("the link to the next page is no URL: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the link to the next page has the scheme '{}'", url.scheme()));
        }
        url.set_fragment(None);
        let url = secured(url, page);
        let merges = link.get("merge").and_then(Value::as_bool).unwrap_or(false);
        let mut headers = if merges { self.headers.clone() } else { Vec::new() };
        for (name, value) in link.get("headers").and_then(Value::as_object).into_iter().flatten() {
            headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            headers.extend(value_of_header(value).map(|value| (name.clone(), value)));
        }
        let body = is_post(link).then(|| match link.get("body").and_then(Value::as_object) {
            Some(own) if merges => self.body.clone().unwrap_or_default().into_iter().chain(own.clone()).collect(),
            Some(own) => own.clone(),
            // Without any body it would be a search for everything.
            None => self.body.clone().unwrap_or_default(),
        });
        let is_own =
            |body: &Map<String, Value>| body.get("filter") == self.body.as_ref().and_then(|own| own.get("filter"));
        let filter = self.filter.clone().filter(|_| body.as_ref().is_none_or(is_own));
        Ok(Ask { url, headers, body, filter })
    }
}

/// A URL that `page` names, not by http where the page came by https: servers behind a proxy often do not know how they are called.
pub fn secured(mut url: Url, page: &Url) -> Url {
    if page.scheme() == "https" && url.scheme() == "http" && url.host() == page.host() && url.port().is_none() {
        let secured = url.set_scheme("https");
        debug_assert!(secured.is_ok());
    }
    url
}

/// Whether a link is followed by POST.
pub fn is_post(link: &Value) -> bool {
    link.get("method").and_then(Value::as_str).is_some_and(|method| method.eq_ignore_ascii_case("POST"))
}

fn value_of_header(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")),
        _ => None,
    }
}

fn set_query(url: &mut Url, name: &str, value: &str) {
    let kept: Vec<(String, String)> =
        url.query_pairs().filter(|(known, _)| known != name).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn search() -> Search {
        Search {
            url: url("https://h/"),
            collections: vec!["a".into(), "b".into()],
            place: Place::Boxes(vec![[1.0, 2.0, 3.5, 4.0]]),
            datetime: Some(Interval::parse("2024-05").unwrap()),
            filter: Some(Filter::parse("\"eo:cloud_cover\" < 20").unwrap()),
            ids: Vec::new(),
            most: Some(10),
            page_size: PAGE_SIZE,
        }
    }

    #[test]
    fn times_in_every_form() {
        for (given, sent) in [
            ("2024-01-15T10:00:00Z", "2024-01-15T10:00:00Z"),
            ("2024-01-15T10:00:00+02:00", "2024-01-15T08:00:00Z"),
            ("2024-01-15 10:00:00", "2024-01-15T10:00:00Z"),
            ("2024-01-15", "2024-01-15T00:00:00Z/2024-01-15T23:59:59.999999Z"),
            ("2024-02", "2024-02-01T00:00:00Z/2024-02-29T23:59:59.999999Z"),
            ("2024", "2024-01-01T00:00:00Z/2024-12-31T23:59:59.999999Z"),
            ("2024-01-01/2024-01-31", "2024-01-01T00:00:00Z/2024-01-31T23:59:59.999999Z"),
            ("2024-01-01/2024-01-31T12:00:00Z", "2024-01-01T00:00:00Z/2024-01-31T12:00:00Z"),
            ("2024-01-01/..", "2024-01-01T00:00:00Z/.."),
            ("2024-01-01/", "2024-01-01T00:00:00Z/.."),
            ("../2024-01-31", "../2024-01-31T23:59:59.999999Z"),
        ] {
            assert_eq!(closed(Interval::parse(given).unwrap()), sent, "{given}");
        }
    }

    #[test]
    fn a_post_and_the_same_as_a_get() {
        let ask = search().asks(&url("https://h/search")).remove(0);
        let body: Value = serde_json::from_str(&ask.question(false).body.unwrap()).unwrap();
        let wanted = json!({
            "collections": ["a", "b"], "bbox": [1.0, 2.0, 3.5, 4.0], "limit": 10, "filter-lang": "cql2-json",
            "datetime": "2024-05-01T00:00:00Z/2024-05-31T23:59:59.999999Z",
            "filter": {"op": "<", "args": [{"property": "eo:cloud_cover"}, 20.0]},
        });
        assert_eq!(body, wanted);
        let get = ask.question(true);
        assert_eq!(get.body, None);
        let mut pairs: Vec<String> = get.url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.sort();
        assert_eq!(
            pairs,
            [
                "bbox=1.0,2.0,3.5,4.0",
                "collections=a,b",
                "datetime=2024-05-01T00:00:00Z/2024-05-31T23:59:59.999999Z",
                "filter-lang=cql2-text",
                "filter=\"eo:cloud_cover\" < 20",
                "limit=10"
            ]
        );
    }

    #[test]
    fn a_filter_of_json_is_told_as_text() {
        let filter = Filter::parse(r#"{"op": "lte", "args": [{"property": "gsd"}, 10]}"#).unwrap();
        assert_eq!(filter.json, json!({"op": "<=", "args": [{"property": "gsd"}, 10.0]}));
        assert_eq!(Filter::parse(&filter.text.unwrap()).unwrap().json, filter.json);
        let time = Filter::parse("datetime >= TIMESTAMP('2024-05-01T00:00:00Z')").unwrap();
        let wanted = json!({"op": ">=", "args": [{"property": "datetime"}, {"timestamp": "2024-05-01T00:00:00Z"}]});
        assert_eq!(time.json, wanted);
        let shape = Filter::parse("S_INTERSECTS(geometry, POINT(1.5 2))").unwrap();
        let point = json!({"type": "Point", "coordinates": [1.5, 2.0]});
        assert_eq!(shape.json, json!({"op": "s_intersects", "args": [{"property": "geometry"}, point]}));
        assert!(Filter::parse("gsd <").unwrap_err().to_string().starts_with("filter"));
    }

    #[test]
    fn next_links_of_every_kind() {
        let first = search().asks(&url("https://h/v1/search")).remove(0);
        let page = url("https://h/v1/search");
        let next = |link: Value| first.next(&link, &page);
        let get = next(json!({"href": "http://h/v1/search?token=x", "rel": "next"})).unwrap();
        assert_eq!((get.url.as_str(), &get.body), ("https://h/v1/search?token=x", &None), "still https");
        let own = next(json!({"href": "?p=2", "method": "post", "body": {"token": "x"}})).unwrap();
        assert_eq!(own.url.as_str(), "https://h/v1/search?p=2");
        assert_eq!(Value::Object(own.body.unwrap()), json!({"token": "x"}));
        let merged =
            json!({"href": "https://h/v1/search", "method": "POST", "body": {"token": "x", "limit": 5}, "merge": true});
        let merged = next(merged).unwrap();
        let body = merged.body.as_ref().unwrap();
        assert_eq!(
            (&body["token"], &body["limit"], &body["collections"]),
            (&json!("x"), &json!(5), &json!(["a", "b"]))
        );
        assert!(merged.question(true).url.as_str().contains("cql2-text"));
        let bare = next(json!({"href": "https://h/v1/search?token=x", "method": "POST"})).unwrap();
        assert_eq!(bare.body, first.body, "no search for everything");
        let with_headers = next(json!({"href": "/s", "headers": {"Search-After": "1,2", "n": 3, "o": {}}})).unwrap();
        assert_eq!(with_headers.headers, [("Search-After".into(), "1,2".into()), ("n".into(), "3".into())]);
        for wrong in [json!({}), json!({"href": "file:///etc/passwd"}), json!({"href": "http://["})] {
            assert!(next(wrong).is_err());
        }
    }

    #[test]
    fn the_size_of_a_page_is_set_where_it_stands() {
        let mut post = search().asks(&url("https://h/search")).remove(0);
        post.set_limit(3);
        let mut get = Ask::of(url("https://h/search?limit=100&token=a%20b"));
        assert_eq!((post.limit(), get.limit()), (Some(3), Some(100)));
        get.set_limit(50);
        assert_eq!(get.url.as_str(), "https://h/search?token=a+b&limit=50");
    }
}
