//! Which version of an object an answer is of, and whether two answers can be of one.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;
use reqwest::header::{DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED};

/// What tells one version of an object from another. Answers need not tell the same: tags are compared with tags, and times
/// with times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// The opaque part of an ETag; of a file, what [`super::FileVersion`] makes of it.
    tag: Option<String>,
    /// Seconds since 1970.
    modified: Option<i64>,
    /// Bytes of the whole object.
    pub size: Option<u64>,
}

impl Version {
    pub fn of_tag(tag: String) -> Version {
        Version { tag: Some(tag), ..Version::default() }
    }

    pub fn of_size(size: Option<u64>) -> Version {
        Version { size, ..Version::default() }
    }

    /// What an answer says of its object, which has `size` bytes if that is told.
    pub fn of_headers(headers: &HeaderMap, size: Option<u64>) -> Version {
        let text = |name: HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let time = |name: HeaderName| text(name).and_then(|text| seconds(&text));
        // An object as young as the answer may be written once more within the second; or the server tells the time of day.
        let modified = time(LAST_MODIFIED).filter(|written| time(DATE).is_none_or(|now| *written < now));
        Version { tag: text(ETAG).and_then(|text| opaque(&text)), modified, size }
    }

    /// Whether a later version would look different. A size alone tells some from others, and not the same from another.
    pub fn is_told(&self) -> bool {
        self.tag.is_some() || self.modified.is_some()
    }

    /// What tells that `later` is another version; `None` where nothing does. Where both have tags, their times do not count:
    /// servers of one object may differ in them.
    pub fn change(&self, later: &Version) -> Option<String> {
        let show = |time| Timestamp::from_second(time).map_or_else(|_| String::new(), |time| time.to_string());
        let told = match (&self.tag, &later.tag, self.modified, later.modified) {
            (Some(before), Some(after), ..) => {
                (before != after).then(|| format!("its ETag changed from {before} to {after}"))
            }
            (.., Some(before), Some(after)) if before != after => {
                Some(format!("its Last-Modified changed from {} to {}", show(before), show(after)))
            }
            _ => None,
        };
        told.or_else(|| {
            let (before, after) = (self.size?, later.size?);
            (before != after).then(|| format!("its size changed from {before} to {after} bytes"))
        })
    }

    /// Takes from `later` what was not told before.
    pub fn complete(&mut self, later: Version) {
        self.tag = self.tag.take().or(later.tag);
        self.modified = self.modified.or(later.modified);
        self.size = self.size.or(later.size);
    }
}

/// What stands in the quotes, if there are any. Weak tags are compared like strong ones, and whoever compresses an answer on its
/// way may have said so behind the tag of the object. An empty tag tells nothing.
fn opaque(etag: &str) -> Option<String> {
    const ENCODINGS: [&str; 4] = ["gzip", "br", "zstd", "deflate"];
    let text = etag.trim();
    let text = text.strip_prefix("W/").or_else(|| text.strip_prefix("w/")).unwrap_or(text);
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let encoded = ENCODINGS.iter().find_map(|name| text.strip_suffix(name)?.strip_suffix(['-', ';']));
    let plain = encoded.map(|tag| tag.trim_end_matches('-')).filter(|tag| !tag.is_empty()).unwrap_or(text);
    (!plain.is_empty()).then(|| plain.to_owned())
}

/// The seconds since 1970 of a time in one of the three forms that HTTP has for it.
pub fn seconds(text: &str) -> Option<i64> {
    const OLDER: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    const USUAL: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let text = text.trim();
    let older = |form: &&str| DateTime::strptime(form, text).ok()?.to_zoned(TimeZone::UTC).ok();
    let usual = USUAL.parse_timestamp(text).ok();
    usual.or_else(|| OLDER.iter().find_map(older).map(|time| time.timestamp())).map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(pairs: &[(HeaderName, &str)]) -> Version {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        Version::of_headers(&headers, None)
    }

    #[test]
    fn one_object_by_any_of_its_tags() {
        let tag = |text: &str| version(&[(ETAG, text)]);
        for one in
            ["\"abc\"", "W/\"abc\"", "w/\"abc\"", "abc", " \"abc\" ", "\"abc-gzip\"", "W/\"abc;br\"", "\"abc--gzip\""]
        {
            assert_eq!(tag("\"abc\"").change(&tag(one)), None, "{one}");
        }
        for other in ["\"abd\"", "W/\"ABC\"", "\"abc-1\"", "\"gzip\"", "\"-gzip\""] {
            assert!(tag("\"abc\"").change(&tag(other)).is_some_and(|said| said.contains("ETag")), "{other}");
        }
        for nothing in ["", "\"\"", "W/\"\""] {
            assert!(!tag(nothing).is_told(), "{nothing}");
        }
    }

    #[test]
    fn a_tag_is_no_time() {
        const OLD: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
        const NEW: &str = "Thu, 01 Jan 2026 00:00:01 GMT";
        let (tag, old, new) =
            (version(&[(ETAG, "\"a\"")]), version(&[(LAST_MODIFIED, OLD)]), version(&[(LAST_MODIFIED, NEW)]));
        assert_eq!((tag.change(&old), old.change(&tag), tag.change(&Version::default())), (None, None, None));
        assert!(
            old.change(&new).is_some_and(|said| said.contains("from 2026-01-01T00:00:00Z to 2026-01-01T00:00:01Z"))
        );
        let mut known = tag.clone();
        known.complete(old.clone());
        assert!(known.change(&new).is_some() && known.change(&version(&[(ETAG, "\"b\"")])).is_some());
        known.complete(Version::of_size(Some(7)));
        assert!(known.change(&Version::of_size(Some(8))).is_some_and(|said| said.contains("from 7 to 8")));
        // Where both say both, the tag decides.
        assert_eq!(known.change(&version(&[(ETAG, "\"a\""), (LAST_MODIFIED, NEW)])), None);
    }

    #[test]
    fn times_in_every_form_of_http() {
        let wanted = seconds("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wanted, Some(784_111_777));
        for form in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Mon, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(seconds(form), wanted, "{form}");
        }
        for other in ["0", "never", "", "1994-11-06T08:49:37Z"] {
            assert_eq!(seconds(other), None, "{other}");
        }
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert!(!version(&[(LAST_MODIFIED, now), (DATE, now)]).is_told());
    }
}
