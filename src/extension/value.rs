//! SQL values that DuckDB hands to a bind callback.

use duckdb::ffi;

use super::api::take_string;

/// An owned SQL value of any type.
#[derive(Debug)]
pub struct Value {
    raw: ffi::duckdb_value,
}

// SAFETY: a duckdb_value is a heap object without ties to a connection or thread; all access here is read-only.
unsafe impl Send for Value {}
unsafe impl Sync for Value {}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: owned since `from_raw`.
        unsafe { ffi::duckdb_destroy_value(&mut self.raw) }
    }
}

impl Value {
    /// # Safety
    /// `raw` is a live value that the caller owns.
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
        self.raw.is_null() || unsafe { ffi::duckdb_is_null_value(self.raw) }
    }

    fn type_id(&self) -> u32 {
        // SAFETY: the type is borrowed from the value and must not be destroyed.
        unsafe { ffi::duckdb_get_type_id(ffi::duckdb_get_value_type(self.raw)) }
    }

    /// The text of a VARCHAR.
    pub fn text(&self) -> Option<String> {
        (!self.is_null() && self.type_id() == ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR).then(|| self.cast_text()).flatten()
    }

    /// Any value cast to text.
    pub fn cast_text(&self) -> Option<String> {
        // SAFETY: the string is allocated for us.
        unsafe { take_string(ffi::duckdb_get_varchar(self.raw)) }
    }

    /// What may name something: a text, an enum's, a UUID or a whole number, as text.
    pub fn name(&self) -> Option<String> {
        use ffi::*;
        let names = matches!(
            self.type_id(),
            DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR
                | DUCKDB_TYPE_DUCKDB_TYPE_ENUM
                | DUCKDB_TYPE_DUCKDB_TYPE_UUID
                | DUCKDB_TYPE_DUCKDB_TYPE_TINYINT
                | DUCKDB_TYPE_DUCKDB_TYPE_SMALLINT
                | DUCKDB_TYPE_DUCKDB_TYPE_INTEGER
                | DUCKDB_TYPE_DUCKDB_TYPE_BIGINT
                | DUCKDB_TYPE_DUCKDB_TYPE_UTINYINT
                | DUCKDB_TYPE_DUCKDB_TYPE_USMALLINT
                | DUCKDB_TYPE_DUCKDB_TYPE_UINTEGER
                | DUCKDB_TYPE_DUCKDB_TYPE_UBIGINT
                | DUCKDB_TYPE_DUCKDB_TYPE_HUGEINT
        );
        (!self.is_null() && names).then(|| self.cast_text()).flatten()
    }

    /// The kind of its type, for messages.
    pub fn type_name(&self) -> &'static str {
        use ffi::*;
        match self.type_id() {
            DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN => "a BOOLEAN",
            DUCKDB_TYPE_DUCKDB_TYPE_FLOAT | DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE | DUCKDB_TYPE_DUCKDB_TYPE_DECIMAL => {
                "a number"
            }
            DUCKDB_TYPE_DUCKDB_TYPE_STRUCT => "a STRUCT",
            DUCKDB_TYPE_DUCKDB_TYPE_MAP => "a MAP",
            DUCKDB_TYPE_DUCKDB_TYPE_LIST => "a list",
            DUCKDB_TYPE_DUCKDB_TYPE_ARRAY => "an ARRAY, which a cast to VARCHAR[] makes a list",
            DUCKDB_TYPE_DUCKDB_TYPE_BLOB => "a BLOB",
            _ => "a value of another type",
        }
    }

    /// A number of any type.
    pub fn number(&self) -> Option<f64> {
        use ffi::*;
        let numeric = matches!(
            self.type_id(),
            DUCKDB_TYPE_DUCKDB_TYPE_TINYINT
                | DUCKDB_TYPE_DUCKDB_TYPE_SMALLINT
                | DUCKDB_TYPE_DUCKDB_TYPE_INTEGER
                | DUCKDB_TYPE_DUCKDB_TYPE_BIGINT
                | DUCKDB_TYPE_DUCKDB_TYPE_UTINYINT
                | DUCKDB_TYPE_DUCKDB_TYPE_USMALLINT
                | DUCKDB_TYPE_DUCKDB_TYPE_UINTEGER
                | DUCKDB_TYPE_DUCKDB_TYPE_UBIGINT
                | DUCKDB_TYPE_DUCKDB_TYPE_HUGEINT
                | DUCKDB_TYPE_DUCKDB_TYPE_FLOAT
                | DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE
                | DUCKDB_TYPE_DUCKDB_TYPE_DECIMAL
        );
        (!self.is_null() && numeric).then(|| unsafe { ffi::duckdb_get_double(self.raw) })
    }

    /// A whole number; `None` for a fraction or what an i64 cannot hold.
    pub fn integer(&self) -> Option<i64> {
        let value = self.number()?;
        (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64)
    }

    pub fn boolean(&self) -> Option<bool> {
        (!self.is_null() && self.type_id() == ffi::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN)
            .then(|| unsafe { ffi::duckdb_get_bool(self.raw) })
    }

    /// The children of a LIST.
    pub fn list(&self) -> Option<Vec<Value>> {
        if self.is_null() || self.type_id() != ffi::DUCKDB_TYPE_DUCKDB_TYPE_LIST {
            return None;
        }
        // SAFETY: indices are below the size; each child is an owned copy.
        unsafe {
            let size = ffi::duckdb_get_list_size(self.raw);
            Some((0..size).map(|i| Value::from_raw(ffi::duckdb_get_list_child(self.raw, i))).collect())
        }
    }

    /// The fields of a STRUCT.
    pub fn fields(&self) -> Option<Vec<(String, Value)>> {
        if self.is_null() || self.type_id() != ffi::DUCKDB_TYPE_DUCKDB_TYPE_STRUCT {
            return None;
        }
        // SAFETY: the type is borrowed from the value; names and children are owned copies.
        unsafe {
            let logical = ffi::duckdb_get_value_type(self.raw);
            let count = ffi::duckdb_struct_type_child_count(logical);
            (0..count)
                .map(|i| {
                    let name = take_string(ffi::duckdb_struct_type_child_name(logical, i))?;
                    Some((name, Value::from_raw(ffi::duckdb_get_struct_child(self.raw, i))))
                })
                .collect()
        }
    }

    /// The entries of a MAP, keys and values as text.
    pub fn text_map(&self) -> Option<Vec<(String, String)>> {
        if self.is_null() || self.type_id() != ffi::DUCKDB_TYPE_DUCKDB_TYPE_MAP {
            return None;
        }
        // SAFETY: indices are below the size; keys and values are owned copies.
        unsafe {
            (0..ffi::duckdb_get_map_size(self.raw))
                .map(|i| {
                    let key = Value::from_raw(ffi::duckdb_get_map_key(self.raw, i));
                    let value = Value::from_raw(ffi::duckdb_get_map_value(self.raw, i));
                    Some((key.cast_text()?, value.cast_text()?))
                })
                .collect()
        }
    }
}
