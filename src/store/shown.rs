//! What may be shown of a path, a URL, or a text about them: no name, no password, no signature, no token.
//!
//! Everything that a person can read goes through here: messages, plans, lists of failures, what servers say.

use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use regex::{Captures, Regex};
use url::Url;

use super::service::{Service, bucket_and_key};

/// Shorter texts are too likely to be a part of something else.
const SHORTEST_SECRET: usize = 4;

/// `url` without user, password, query and fragment.
#[expect(clippy::let_underscore_must_use, reason = "fails only for URLs that cannot have a name or password")]
pub fn url(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Where Azure's URLs have a name, it is a container's.
    if Service::of_scheme(url.scheme()) != Some(Service::Azure) {
        let _ = url.set_username("");
    }
    let _ = url.set_password(None);
    url.to_string()
}

/// One path or URL as it may be shown, also where it is malformed.
pub fn place(text: &str) -> String {
    let text = text.trim();
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?', '#', '@']))
    else {
        return path(text);
    };
    // The key of an object is no part of a URL.
    if Service::of_scheme(&scheme.to_ascii_lowercase()).is_some()
        && let Ok((root, key)) = bucket_and_key(text)
    {
        return format!("{}{}", url(&root), path(key));
    }
    if let Ok(parsed) = Url::parse(text) {
        return url(&parsed);
    }
    let cut = rest.find(['?', '#']).unwrap_or(rest.len());
    let (place, query) = rest.split_at(cut);
    // Where a password holds such a sign, nobody can tell what is what.
    match query.contains('@') {
        true => format!("{scheme}:..."),
        false => format!("{scheme}://{}", place.rsplit('@').next().unwrap_or_default()),
    }
}

/// A path; or a URL that lost its scheme, with name and password in front or a signature behind.
pub fn path(text: &str) -> String {
    let is_url = text.starts_with("//") || text.starts_with("\\\\");
    // A name and password in any part: a relative href is put behind the folder of its file.
    let unnamed = |part: &str| match part.rsplit_once('@') {
        Some((user, rest)) if is_url || user.contains(':') => rest.to_owned(),
        _ => part.to_owned(),
    };
    let cut = text.find(['?', '#']).filter(|at| is_url || text.get(*at..).is_some_and(|query| query.contains('=')));
    let path = text.get(..cut.unwrap_or(text.len())).unwrap_or_default();
    let parts: Vec<String> = path.split_inclusive(['/', '\\']).map(unnamed).collect();
    let shown = parts.concat();
    // What is left may be a URL, or have another name in front.
    if shown == text { shown } else { place(&shown) }
}

/// A text of any origin, in which URLs and the parameters of signatures may stand.
pub fn message(text: &str) -> String {
    static URLS: LazyLock<Regex> = LazyLock::new(|| pattern(r#"(?i)\b[a-z][a-z0-9+.-]*://[^\s'"`<>]+"#));
    static NAMES: LazyLock<Regex> = LazyLock::new(|| pattern(r#"//[^\s/'"`<>]*:[^\s/'"`<>]*@"#));
    static PARAMETERS: LazyLock<Regex> = LazyLock::new(|| {
        let names = "x-(?:amz|goog)-(?:signature|security-token|credential)|sig|signature|(?:access_|session_)?token|\
                     secret|password|passwd|pwd|api_?key|awsaccesskeyid|googleaccessid";
        pattern(&format!(r#"(?i)\b({names})(?:=|%3d)[^\s&'"`<>]+"#))
    });
    let whole = |found: &Captures| found.get(0).map_or("", |text| text.as_str()).to_owned();
    let text = URLS.replace_all(text, |found: &Captures| {
        let url = whole(found);
        // What has nothing to hide stays letter for letter, with the comma behind it.
        if url.contains(['@', '?', '#']) { place(&url) } else { url }
    });
    let text = NAMES.replace_all(&text, "//");
    PARAMETERS.replace_all(&text, "$1=...").into_owned()
}

#[expect(clippy::expect_used, reason = "the patterns above are valid")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a valid pattern")
}

/// Texts that are known to be secret, whoever repeats them.
#[derive(Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    pub fn add(&mut self, secret: &str) {
        let decoded = percent_decode_str(secret).decode_utf8_lossy();
        for form in [secret, &decoded] {
            if form.len() >= SHORTEST_SECRET && !self.0.iter().any(|known| known == form) {
                self.0.push(form.to_owned());
            }
        }
    }

    /// What is secret of `url`, each parameter by itself, too.
    pub fn add_url(&mut self, url: &Url) {
        for secret in [url.query(), url.fragment(), url.password()].into_iter().flatten() {
            self.add(secret);
        }
        for pair in url.query().unwrap_or_default().split('&') {
            self.add_parameter(pair);
        }
    }

    /// `name=value`: short values, such as a version or a flag, are no secrets.
    pub fn add_parameter(&mut self, pair: &str) {
        const LONG: usize = 8;
        if let Some((_, value)) = pair.split_once('=').filter(|(_, value)| value.len() >= LONG) {
            self.add(value);
        }
    }

    /// `text` as [`message`], and without these.
    pub fn hide(&self, text: &str) -> String {
        let mut longest_first: Vec<&String> = self.0.iter().collect();
        longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let hidden = longest_first.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "..."));
        message(&hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_without_secrets() {
        for (text, wanted) in [
            ("https://user:pw@host:81/a.tif?sig=secret#x", "https://host:81/a.tif"),
            ("abfss://c@acct.dfs.core.windows.net/a.tif?sig=1", "abfss://c@acct.dfs.core.windows.net/a.tif"),
            ("ftp://u:p@h/a@b.tif#x", "ftp://h/a@b.tif"),
            // Malformed ones.
            ("https://user:pw@host:port/a.tif?sig=secret", "https://host:port/a.tif"),
            ("https://user:p/w@host/a.tif", "https://host/a.tif"),
            ("https://user:p?w@host/a.tif", "https:..."),
            ("https://user:p w@ho st/a.tif?sig=1", "https://ho st/a.tif"),
            ("//user:secret@host/a.tif?sig=1", "//host/a.tif"),
            ("\\\\user:secret@host\\a.tif?x", "\\\\host\\a.tif"),
            ("user:secret@host/a.tif#sig=1", "host/a.tif"),
            ("a:b@//c:d@host/a.tif", "//host/a.tif"),
            ("/items/user:secret@host/a.tif?sig=1", "/items/host/a.tif"),
            ("a:b@https://c:d@host/a.tif?sig=1", "https://host/a.tif"),
            // Files, whose names may hold such signs.
            ("/data/a@b/c?d#e.tif", "/data/a@b/c?d#e.tif"),
            ("/data/a.tif?sv=1&sig=topsecret", "/data/a.tif"),
            ("a.tif#token=topsecret", "a.tif"),
            ("C:/data/a.tif", "C:/data/a.tif"),
            ("", ""),
        ] {
            assert_eq!(place(text), wanted, "{text}");
            assert_eq!(place(&place(text)), wanted, "{text}");
        }
    }

    #[test]
    fn messages_without_secrets() {
        for (text, wanted) in [
            ("HTTP 403: https://u:p@h/a.tif?sig=s (twice)", "HTTP 403: https://h/a.tif (twice)"),
            ("no such file: '//u:p@h/a b.tif'", "no such file: '//h/a b.tif'"),
            ("a.tif?sig=a%2Bb&sv=1: gone", "a.tif?sig=...&sv=1: gone"),
            ("X-Amz-Security-Token=abc, and more", "X-Amz-Security-Token=... and more"),
            ("see https://h/a, or 1 = 1; a@b.c?", "see https://h/a, or 1 = 1; a@b.c?"),
        ] {
            assert_eq!(message(text), wanted);
        }
    }

    #[test]
    fn known_secrets_in_what_servers_say() {
        let mut secrets = Secrets::default();
        secrets.add_url(&Url::parse("https://u:hunter2@h/a.tif?sv=2024&sig=top%2Bsecret").unwrap());
        secrets.add("AKIDEXAMPLE");
        let said = secrets.hide("AKIDEXAMPLE may not: hunter2, top+secret, top%2Bsecret of 2024");
        assert_eq!(said, "... may not: ..., ..., ... of 2024");
    }
}
