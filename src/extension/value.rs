//! SQL values that DuckDB hands to a bind callback.
//!
//! DuckDB's getters throw C++ exceptions, which nobody here can catch: `duckdb_get_varchar` at a NULL or where a cast to text
//! fails. Some of them change the value's own type. So [`Value::read`] alone calls them, each for the type that it is made for,
//! and everything else looks at what it gives.

use duckdb::ffi;

use super::texts::take_string;

/// An owned SQL value of any type.
#[derive(Debug)]
pub struct Value {
    raw: ffi::duckdb_value,
}

/// What a value holds.
#[derive(Debug)]
pub enum Data {
    Null,
    Boolean(bool),
    /// Of any numeric type, with its exact text.
    Number(f64, String),
    /// Also the name of an ENUM's value, and a UUID.
    Text(String),
    List(Vec<Value>),
    Struct(Vec<(String, Value)>),
    Map(Vec<(Value, Value)>),
    /// DuckDB's C API cannot read what is in it.
    Array,
    /// Of a type that no argument and no setting has a use for.
    Other,
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: null, or owned since `from_raw`.
        unsafe { ffi::duckdb_destroy_value(&mut self.raw) }
    }
}

impl Value {
    /// # Safety
    /// `raw` is null, which counts as NULL, or a live value that the caller owns.
    pub unsafe fn from_raw(raw: ffi::duckdb_value) -> Value {
        Value { raw }
    }

    /// Gives the value away; the caller destroys it.
    pub fn into_raw(self) -> ffi::duckdb_value {
        let raw = self.raw;
        std::mem::forget(self);
        raw
    }

    pub fn is_null(&self) -> bool {
        // SAFETY: the value is live unless it is null.
        self.raw.is_null() || unsafe { ffi::duckdb_is_null_value(self.raw) }
    }

    /// What it holds, its children as values of their own.
    pub fn read(&self) -> Data {
        if self.is_null() {
            return Data::Null;
        }
        // SAFETY: the value is live and not NULL, and every getter is that of its type: casts to the type that a value has
        // already, of a number to DOUBLE, and of a number, an ENUM or a UUID to text, none of which fail. The type is borrowed from the value.
        unsafe {
            let logical = ffi::duckdb_get_value_type(self.raw);
            match ffi::duckdb_get_type_id(logical) {
                ffi::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN => Data::Boolean(ffi::duckdb_get_bool(self.raw)),
                ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR
                | ffi::DUCKDB_TYPE_DUCKDB_TYPE_ENUM
                | ffi::DUCKDB_TYPE_DUCKDB_TYPE_UUID => {
                    take_string(ffi::duckdb_get_varchar(self.raw)).map_or(Data::Null, Data::Text)
                }
                ffi::DUCKDB_TYPE_DUCKDB_TYPE_LIST => Data::List(self.elements()),
                ffi::DUCKDB_TYPE_DUCKDB_TYPE_STRUCT => Data::Struct(self.members(logical)),
                ffi::DUCKDB_TYPE_DUCKDB_TYPE_MAP => Data::Map(self.entries()),
                id if is_numeric(id) => {
                    // The text first: DuckDB 1.5 makes the value itself a DOUBLE.
                    let text = take_string(ffi::duckdb_get_varchar(self.raw)).unwrap_or_else(|| "a number".to_owned());
                    Data::Number(ffi::duckdb_get_double(self.raw), text)
                }
                ffi::DUCKDB_TYPE_DUCKDB_TYPE_ARRAY => Data::Array,
                _ => Data::Other,
            }
        }
    }

    /// # Safety
    /// The value is a LIST and not NULL.
    unsafe fn elements(&self) -> Vec<Value> {
        // SAFETY: indices are below the size; each child is an owned copy.
        unsafe {
            let size = ffi::duckdb_get_list_size(self.raw);
            (0..size).map(|i| Value::from_raw(ffi::duckdb_get_list_child(self.raw, i))).collect()
        }
    }

    /// # Safety
    /// The value is a STRUCT of the type `logical` and not NULL.
    unsafe fn members(&self, logical: ffi::duckdb_logical_type) -> Vec<(String, Value)> {
        // SAFETY: indices are below the count; names and children are owned copies.
        unsafe {
            let member = |i| {
                // A member without a name is found by none.
                let name = take_string(ffi::duckdb_struct_type_child_name(logical, i)).unwrap_or_default();
                (name, Value::from_raw(ffi::duckdb_get_struct_child(self.raw, i)))
            };
            (0..ffi::duckdb_struct_type_child_count(logical)).map(member).collect()
        }
    }

    /// # Safety
    /// The value is a MAP and not NULL.
    unsafe fn entries(&self) -> Vec<(Value, Value)> {
        // SAFETY: indices are below the size; keys and values are owned copies.
        unsafe {
            let entry = |i| {
                let key = Value::from_raw(ffi::duckdb_get_map_key(self.raw, i));
                (key, Value::from_raw(ffi::duckdb_get_map_value(self.raw, i)))
            };
            (0..ffi::duckdb_get_map_size(self.raw)).map(entry).collect()
        }
    }

    /// The text of a VARCHAR.
    pub fn text(&self) -> Option<String> {
        if let Data::Text(text) = self.read() { Some(text) } else { None }
    }

    /// A number of any type.
    pub fn number(&self) -> Option<f64> {
        if let Data::Number(number, _) = self.read() { Some(number) } else { None }
    }

    /// The children of a LIST.
    pub fn list(&self) -> Option<Vec<Value>> {
        if let Data::List(list) = self.read() { Some(list) } else { None }
    }

    /// The fields of a STRUCT.
    pub fn fields(&self) -> Option<Vec<(String, Value)>> {
        if let Data::Struct(fields) = self.read() { Some(fields) } else { None }
    }

    /// The entries of a MAP, whose keys and values are text.
    pub fn text_map(&self) -> Option<Vec<(String, String)>> {
        let Data::Map(entries) = self.read() else { return None };
        entries.iter().map(|(key, value)| Some((key.text()?, value.text()?))).collect()
    }
}

impl Data {
    /// What may name something: a text, or a whole number as text.
    pub fn name(&self) -> Option<&str> {
        match self {
            Data::Text(text) => Some(text),
            Data::Number(_, text) if text.bytes().all(|c| c.is_ascii_digit() || c == b'-') => Some(text),
            _ => None,
        }
    }

    /// A whole number; `None` for a fraction or what an f64 does not hold exactly.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Data::Number(value, _) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i64),
            _ => None,
        }
    }
}

/// As a message shows it.
impl std::fmt::Display for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Data::Null => f.write_str("NULL"),
            Data::Boolean(value) => write!(f, "{value}"),
            Data::Number(_, text) => f.write_str(text),
            Data::Text(text) => write!(f, "'{text}'"),
            Data::List(_) => f.write_str("a list"),
            Data::Struct(_) => f.write_str("a STRUCT"),
            Data::Map(_) => f.write_str("a MAP"),
            Data::Array => f.write_str("an ARRAY, which a cast such as ::VARCHAR[] makes a list"),
            Data::Other => f.write_str("a value of another type"),
        }
    }
}

fn is_numeric(id: u32) -> bool {
    use ffi::*;
    matches!(
        id,
        DUCKDB_TYPE_DUCKDB_TYPE_TINYINT
            | DUCKDB_TYPE_DUCKDB_TYPE_SMALLINT
            | DUCKDB_TYPE_DUCKDB_TYPE_INTEGER
            | DUCKDB_TYPE_DUCKDB_TYPE_BIGINT
            | DUCKDB_TYPE_DUCKDB_TYPE_UTINYINT
            | DUCKDB_TYPE_DUCKDB_TYPE_USMALLINT
            | DUCKDB_TYPE_DUCKDB_TYPE_UINTEGER
            | DUCKDB_TYPE_DUCKDB_TYPE_UBIGINT
            | DUCKDB_TYPE_DUCKDB_TYPE_HUGEINT
            | DUCKDB_TYPE_DUCKDB_TYPE_UHUGEINT
            | DUCKDB_TYPE_DUCKDB_TYPE_FLOAT
            | DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE
            | DUCKDB_TYPE_DUCKDB_TYPE_DECIMAL
    )
}

#[cfg(test)]
mod tests {
    use super::Data;

    #[test]
    fn whole_numbers() {
        let number = |value: f64| Data::Number(value, value.to_string());
        assert_eq!(number(5.0).integer(), Some(5));
        assert_eq!(number(-3.0).integer(), Some(-3));
        for no in [number(0.5), number(1e16), number(f64::NAN), Data::Null, Data::Text("5".into())] {
            assert_eq!(no.integer(), None, "{no}");
        }
    }
}
