//! JSON as Python's `json` reads it: `NaN` and the infinities stand bare, numbers may be too large for a double, and values
//! nest deeper than most readers allow. Archives are written by it.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Levels of a value that is read whole. Python stops near this, too.
const MAX_DEPTH: usize = 1000;

/// The value of a text. What JSON has no number for (NaN, infinities, 1e999) becomes text that says it, as in STAC.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.end()?;
    Ok(value)
}

/// The members of an object in their order, each value as text.
pub(super) fn members(text: &str) -> Result<Vec<(Cow<'_, str>, &str)>, String> {
    let mut parser = Parser { text, at: 0 };
    if !parser.takes('{') {
        parse(text)?;
        return Err("is no object".to_owned());
    }
    let mut members = Vec::new();
    if !parser.takes('}') {
        loop {
            let key = parser.string()?;
            parser.expect(':')?;
            members.push((key, parser.raw()?));
            if parser.takes('}') {
                break;
            }
            parser.expect(',')?;
        }
    }
    parser.end()?;
    Ok(members)
}

/// The `wanted` members of an object; those of them that stand there twice count as they stand last.
pub(super) fn pick(text: &str, wanted: &[&[&str]]) -> Result<Value, String> {
    let is_wanted = |key: &str| wanted.iter().any(|names| names.contains(&key));
    let mut picked = Map::new();
    for (key, value) in members(text)? {
        if is_wanted(&key) {
            let value = parse(value).map_err(|what| format!("'{key}' {what}"))?;
            picked.insert(key.into_owned(), value);
        }
    }
    Ok(Value::Object(picked))
}

/// A value, or the one that a text holds: a column of text may hold lists, objects, and text in its quotes.
///
/// # Errors
/// A text that begins like such a value and is none.
pub(super) fn told(value: &Value) -> Result<Cow<'_, Value>, String> {
    match value {
        Value::String(text) if text.trim_start().starts_with(['[', '{', '"']) => parse(text).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(value)),
    }
}

/// The elements of a list, which may stand there as text, as may each of them.
pub(super) fn elements(object: &Value, name: &str) -> Result<Vec<Value>, String> {
    let within = |what: String| format!("'{name}' {what}");
    match object.get(name).map(told).transpose().map_err(within)?.as_deref() {
        Some(Value::Array(elements)) => {
            elements.iter().map(|element| told(element).map(Cow::into_owned)).collect::<Result<_, _>>().map_err(within)
        }
        _ => Ok(Vec::new()),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn takes(&mut self, wanted: char) -> bool {
        let found = self.peek() == u8::try_from(wanted).ok();
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.takes(wanted) { Ok(()) } else { self.wrong() }
    }

    fn end(&mut self) -> Result<(), String> {
        if self.peek().is_none() { Ok(()) } else { self.wrong() }
    }

    fn wrong<T>(&mut self) -> Result<T, String> {
        Err(match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(c) => format!("is not readable as JSON: '{c}' at byte {}", self.at),
            None => "is not readable as JSON: it ends too early".to_owned(),
        })
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("is nested more than {MAX_DEPTH} levels deep"));
        }
        match self.peek() {
            Some(b'"') => self.string().map(|text| Value::String(text.into_owned())),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(_) => self.scalar(),
            None => self.wrong(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let mut members = Map::new();
        self.expect('{')?;
        if self.takes('}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.peek();
            let key = self.string()?.into_owned();
            self.expect(':')?;
            members.insert(key, self.value(depth + 1)?);
            if self.takes('}') {
                return Ok(Value::Object(members));
            }
            self.expect(',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        let mut elements = Vec::new();
        self.expect('[')?;
        if self.takes(']') {
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if self.takes(']') {
                return Ok(Value::Array(elements));
            }
            self.expect(',')?;
        }
    }

    /// A number or a word, to the next sign that ends one.
    fn scalar(&mut self) -> Result<Value, String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.find(|c: char| ",]}:\"[{".contains(c) || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let value = match word.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            "nan" | "-nan" => Value::from("NaN"),
            "infinity" | "inf" => Value::from("Infinity"),
            "-infinity" | "-inf" => Value::from("-Infinity"),
            _ if !word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => return self.wrong(),
            number => match (number.parse::<i64>(), number.parse::<f64>()) {
                (Ok(whole), _) => Value::from(whole),
                (_, Ok(number)) if number.is_finite() => Value::from(number),
                (_, Ok(number)) => Value::from(if number > 0.0 { "Infinity" } else { "-Infinity" }),
                _ => return self.wrong(),
            },
        };
        self.at += length;
        Ok(value)
    }

    /// The text of a value, without a look at what is inside.
    fn raw(&mut self) -> Result<&'a str, String> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => drop(self.string()?),
            Some(b'{' | b'[') => self.skip_nested()?,
            _ => drop(self.scalar()?),
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn skip_nested(&mut self) -> Result<(), String> {
        let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
        for (length, byte) in self.text.as_bytes().iter().skip(self.at).enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 1 => {
                    self.at += length + 1;
                    return Ok(());
                }
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        self.at = self.text.len();
        self.wrong()
    }

    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        self.expect('"')?;
        let rest = self.text.get(self.at..).unwrap_or_default();
        if let Some(end) = rest.find(['"', '\\']).filter(|end| rest.as_bytes().get(*end) == Some(&b'"')) {
            self.at += end + 1;
            return Ok(Cow::Borrowed(rest.get(..end).unwrap_or_default()));
        }
        let mut units: Vec<u16> = Vec::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    // Half of a pair alone, which Python writes and reads, is no character.
                    return Ok(Cow::Owned(String::from_utf16_lossy(&units)));
                }
                '\\' => units.push(match chars.next().map(|(_, c)| c) {
                    Some(c @ ('"' | '\\' | '/')) => c as u16,
                    Some('b') => 8,
                    Some('f') => 12,
                    Some('n') => 10,
                    Some('r') => 13,
                    Some('t') => 9,
                    Some('u') => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        match u16::from_str_radix(&digits, 16) {
                            Ok(unit) if digits.len() == 4 => unit,
                            _ => return self.wrong(),
                        }
                    }
                    _ => return self.wrong(),
                }),
                c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            }
        }
        self.at = self.text.len();
        self.wrong()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let text = r#" {"a": NaN, "b": [Infinity, -Infinity, 1e999, -1e999, 12345678901234567890123], "c": "x\ud800y\u00e9"} "#;
        let wanted = json!({
            "a": "NaN",
            "b": ["Infinity", "-Infinity", "Infinity", "-Infinity", 1.2345678901234568e22],
            "c": "x\u{fffd}y\u{e9}",
        });
        assert_eq!(parse(text), Ok(wanted));
        assert_eq!(parse("NaN"), Ok(json!("NaN")));
    }

    #[test]
    fn deep_values_are_read_and_deeper_ones_refused() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(200)).is_ok() && parse(&nested(900)).is_ok());
        assert!(parse(&nested(5000)).unwrap_err().contains("1000 levels"));
        let object = format!(r#"{{"deep": {}, "href": "x"}}"#, nested(100_000));
        assert_eq!(pick(&object, &[&["href"]]), Ok(json!({"href": "x"})), "what is not wanted is not read");
    }

    #[test]
    fn members_keep_their_order_and_their_text() {
        let text = r#"{ "b" : {"x": "}\"]", "y": [1, {}]} , "a": NaN, "b":2, "\u0061/~": "q" }"#;
        let found = members(text).unwrap();
        let wanted = [("b", r#"{"x": "}\"]", "y": [1, {}]}"#), ("a", "NaN"), ("b", "2"), ("a/~", "\"q\"")];
        assert_eq!(found, wanted.map(|(key, value)| (Cow::from(key), value)));
        assert_eq!(pick(text, &[&["a", "b"]]), Ok(json!({"a": "NaN", "b": 2})));
        assert_eq!(members("{}"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in
            ["", "{", "[1,", "{\"a\" 1}", "tru", "\"a", "\"\\x\"", "\"\\u12\"", "[1 2]", "1 2", "{\"a\":}", "+1", "-"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["[]", "1", "{\"a\":[}", "{\"a\":1", "{a:1}", "{} x", "\"{}\""] {
            assert!(members(text).is_err(), "{text}");
        }
    }

    #[test]
    fn text_that_holds_a_value_is_read() {
        assert_eq!(told(&json!("\"inf\"")).unwrap().as_ref(), &json!("inf"));
        assert_eq!(told(&json!(" [{\"nodata\": NaN}]")).unwrap().as_ref(), &json!([{"nodata": "NaN"}]));
        assert_eq!(told(&json!("red")).unwrap().as_ref(), &json!("red"));
        assert!(told(&json!("[1")).is_err());
    }
}
