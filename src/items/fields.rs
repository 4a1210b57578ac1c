//! The fields of an item that a query can name: what SQL they are, and of what kind.

use duckdb::arrow::datatypes::{DataType, Field as ArrowField, TimeUnit};

use super::session::{identifier, literal};

/// What can be done with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// A number that may be NaN: as a [`Field`] it is a [`Kind::Number`], and NaN is NULL.
    Float,
    Text,
    /// As a field it is [`Kind::Text`].
    Enum,
    Boolean,
    /// A timestamp of any precision; without a zone it is UTC.
    Time,
    /// A timestamp with a zone in nanoseconds, of which DuckDB has fewer functions.
    TimeNanos,
    /// The text of a timestamp, known by its name.
    TimeText,
    Date,
    List,
    /// The text of a JSON value whose type is known only row by row.
    Json,
    /// Of parquet's null type: every row is NULL.
    Null,
    /// A struct, a blob, a geometry: nothing to compare.
    Other,
}

impl Kind {
    pub(super) fn of(field: &ArrowField) -> Self {
        if is_json(field) {
            return Self::Json;
        }
        match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Dictionary(..) => Self::Enum,
            DataType::Boolean => Self::Boolean,
            DataType::Null => Self::Null,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) => Self::TimeNanos,
            DataType::Timestamp(..) => Self::Time,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => Self::List,
            other if other.is_numeric() => Self::Number,
            _ => Self::Other,
        }
    }

    /// Text under a name that STAC gives to timestamps is a timestamp.
    fn named(self, name: &str) -> Self {
        let is_time = matches!(
            name,
            "datetime" | "start_datetime" | "end_datetime" | "created" | "updated" | "published" | "expires"
        );
        match self {
            Self::Text | Self::Json | Self::Number if is_time => Self::TimeText,
            kind => kind,
        }
    }
}

/// Whether a column is of DuckDB's own type of geometries.
pub(super) fn is_native(field: &ArrowField) -> bool {
    field.metadata().get("ARROW:extension:name").is_some_and(|name| name.starts_with("geoarrow"))
}

/// Whether DuckDB says that a text column is JSON.
pub(super) fn is_json(field: &ArrowField) -> bool {
    field.metadata().get("ARROW:extension:name").is_some_and(|name| name.ends_with("json"))
}

/// A field as SQL over the item relation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub sql: String,
    pub kind: Kind,
}

impl Field {
    /// A column of this kind, as SQL that needs no more care: NaN is NULL, text is text.
    fn of(column: String, kind: Kind) -> Self {
        let (sql, kind) = match kind {
            Kind::Float => (format!("CASE WHEN NOT isnan({column}) THEN {column} END"), Kind::Number),
            Kind::Enum => (format!("CAST({column} AS VARCHAR)"), Kind::Text),
            Kind::Null => (format!("CAST({column} AS VARCHAR)"), kind),
            // The text of a JSON text is what stands inside its quotes; what is no JSON is nothing to compare.
            Kind::Json => (format!("TRY(json_extract_string({column}, '$'))"), kind),
            kind => (column, kind),
        };
        Self { sql, kind }
    }

    /// Microseconds since 1970 UTC as a BIGINT; NULL where a text is no timestamp.
    pub(super) fn micros(&self) -> String {
        let sql = &self.sql;
        match self.kind {
            Kind::Time => format!("epoch_us({sql})"),
            // Rounded down, as DuckDB does for the other types; a cast would round to the nearest.
            Kind::TimeNanos => format!("((epoch_ns({sql}) - (epoch_ns({sql}) % 1000 + 1000) % 1000) // 1000)"),
            Kind::Date => format!("epoch_us(CAST({sql} AS TIMESTAMP))"),
            // A cast to TIMESTAMP would ignore the offset in the text. RFC 3339 allows small letters, DuckDB does not.
            _ => format!("epoch_us(TRY_CAST(upper(trim(CAST({sql} AS VARCHAR))) AS TIMESTAMPTZ))"),
        }
    }

    /// The text, if this is a field of text.
    pub(super) fn text(&self) -> Option<&str> {
        matches!(self.kind, Kind::Text | Kind::Json | Kind::TimeText).then_some(self.sql.as_str())
    }

    /// Whether a row holds a date without a time, as a BOOLEAN.
    pub(super) fn is_bare_date(&self) -> String {
        match self.kind {
            Kind::Date => format!("({} IS NOT NULL)", self.sql),
            Kind::Text | Kind::Json | Kind::TimeText => format!("coalesce(length(trim({})) <= 10, false)", self.sql),
            _ => "false".to_owned(),
        }
    }
}

/// The number that a text says, or NULL; NaN is none.
pub(super) fn number_in(text: &str) -> String {
    format!("nullif(TRY_CAST({text} AS DOUBLE), CAST('nan' AS DOUBLE))")
}

/// A text, or NULL where it says NaN.
pub(super) fn unless_nan(text: &str) -> String {
    format!("CASE WHEN NOT coalesce(isnan(TRY_CAST({text} AS DOUBLE)), false) THEN {text} END")
}

/// Where the properties of an item are.
#[derive(Debug, Clone, Default)]
pub(super) struct Properties {
    /// Top-level columns.
    pub flat: Vec<(String, Kind)>,
    pub nested: Nested,
}

/// The column `properties`, where there is one.
#[derive(Debug, Clone, Default)]
pub(super) enum Nested {
    #[default]
    None,
    Struct(Vec<(String, Kind)>),
    /// JSON text: its keys differ from row to row.
    Json,
}

impl Properties {
    /// The field that a user's name stands for, with or without `properties.` in front. Inside JSON any name resolves;
    /// whether a row has it is for the caller to ask.
    pub(super) fn resolve(&self, name: &str) -> Option<Field> {
        let bare = name.strip_prefix("properties.").unwrap_or(name);
        let of = |columns: &[(String, Kind)], prefix: &str, name: &str| {
            let (column, kind) = columns.iter().find(|(column, _)| column == name)?;
            // Only what DuckDB calls JSON is read as such; the name of a time makes one of any text.
            let Field { sql, kind } = Field::of(format!("{prefix}{}", identifier(column)), *kind);
            match kind.named(bare) {
                // A number is no timestamp; as text an error can say what it is.
                Kind::TimeText if kind == Kind::Number => {
                    Some(Field { sql: format!("CAST({sql} AS VARCHAR)"), kind: Kind::TimeText })
                }
                kind => Some(Field { sql, kind }),
            }
        };
        if let Some(field) = of(&self.flat, "", name).or_else(|| of(&self.flat, "", bare)) {
            return Some(field);
        }
        match &self.nested {
            Nested::None => None,
            Nested::Struct(columns) => of(columns, "\"properties\".", bare),
            Nested::Json => {
                let sql = format!("TRY(json_extract_string(\"properties\", {}))", literal(&pointer(&[bare])));
                Some(Field { sql, kind: Kind::Json.named(bare) })
            }
        }
    }

    /// Whether the name is a key of the JSON properties and not a column.
    pub(super) fn is_json_key(&self, name: &str) -> bool {
        let bare = name.strip_prefix("properties.").unwrap_or(name);
        matches!(self.nested, Nested::Json) && !self.flat.iter().any(|(column, _)| column == name || column == bare)
    }

    /// Every name that is known without reading rows.
    pub(super) fn names(&self) -> Vec<String> {
        let nested = match &self.nested {
            Nested::Struct(columns) => columns.as_slice(),
            Nested::None | Nested::Json => &[],
        };
        let comparable = self.flat.iter().chain(nested).filter(|(_, kind)| *kind != Kind::Other);
        comparable.map(|(name, _)| name.clone()).collect()
    }
}

/// A JSON pointer (RFC 6901), which unlike a JSON path can spell every key.
pub(super) fn pointer(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

/// `; did you mean 'x' or 'y'?`, or the first of the names there are.
pub fn near_misses(name: &str, known: &[String]) -> String {
    let wanted = name.strip_prefix("properties.").unwrap_or(name).to_lowercase();
    let local = |text: &str| text.rsplit(':').next().unwrap_or(text).to_owned();
    let mut ranked: Vec<(usize, &String)> = known
        .iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            let same_ending = local(&lower) == local(&wanted);
            (if same_ending { 0 } else { distance(&lower, &wanted).min(distance(&local(&lower), &wanted)) }, candidate)
        })
        .filter(|(distance, _)| *distance <= wanted.chars().count() / 3)
        .collect();
    ranked.sort();
    let quoted = |names: &[&String]| names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>();
    match ranked.as_slice() {
        [] => {
            let mut all: Vec<&String> = known.iter().collect();
            all.sort();
            let rest = if all.len() > 20 { ", ..." } else { "" };
            all.truncate(20);
            format!("; there are {}{rest}", quoted(&all).join(", "))
        }
        _ => {
            let best: Vec<&String> = ranked.iter().take(3).map(|(_, name)| *name).collect();
            format!("; did you mean {}?", quoted(&best).join(" or "))
        }
    }
}

/// Levenshtein distance, row by row.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let first: Vec<usize> = (0..=b.len()).collect();
    let last = a.chars().enumerate().fold(first, |previous, (i, ca)| {
        let mut row = Vec::with_capacity(previous.len());
        row.push(i + 1);
        for ((&cb, diagonal), above) in b.iter().zip(&previous).zip(previous.iter().skip(1)) {
            let left = row.last().copied().unwrap_or(0);
            row.push((above + 1).min(left + 1).min(diagonal + usize::from(ca != cb)));
        }
        row
    });
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(nested: Nested) -> Properties {
        Properties { flat: vec![("eo:cloud_cover".into(), Kind::Float), ("o'\"x".into(), Kind::Text)], nested }
    }

    #[test]
    fn names_resolve_with_and_without_the_prefix() {
        let flat = properties(Nested::None);
        let sql = "CASE WHEN NOT isnan(\"eo:cloud_cover\") THEN \"eo:cloud_cover\" END".into();
        let field = Field { sql, kind: Kind::Number };
        assert_eq!(flat.resolve("eo:cloud_cover"), Some(field.clone()));
        assert_eq!(flat.resolve("properties.eo:cloud_cover"), Some(field));
        assert_eq!(flat.resolve("o'\"x").unwrap().sql, "\"o'\"\"x\"");
        assert_eq!(flat.resolve("cloud"), None);
        let nested = properties(Nested::Struct(vec![("gsd".into(), Kind::Number)]));
        assert_eq!(nested.resolve("properties.gsd").unwrap().sql, "\"properties\".\"gsd\"");
        let json = properties(Nested::Json);
        assert_eq!(json.resolve("a/b'").unwrap().sql, "TRY(json_extract_string(\"properties\", '/a~1b'''))");
        assert_eq!(json.resolve("properties.datetime").unwrap().kind, Kind::TimeText);
        assert!(json.is_json_key("gsd") && !json.is_json_key("properties.eo:cloud_cover"));
    }

    #[test]
    fn near_misses_are_near() {
        let known: Vec<String> = ["eo:cloud_cover", "datetime", "gsd", "s2:snow"].map(String::from).to_vec();
        assert_eq!(near_misses("cloud_cover", &known), "; did you mean 'eo:cloud_cover'?");
        assert_eq!(near_misses("properties.datetme", &known), "; did you mean 'datetime'?");
        assert_eq!(near_misses("xyz", &known), "; there are 'datetime', 'eo:cloud_cover', 'gsd', 's2:snow'");
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
