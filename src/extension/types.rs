//! DuckDB's logical types.

use duckdb::ffi;

use super::texts::c_string;

/// A DuckDB type by its id, JSON, or a list, struct or map of others.
#[derive(Debug, Clone)]
pub enum Type {
    Id(u32),
    Json,
    /// Of doubles, by their names.
    Doubles(&'static [&'static str]),
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
}

impl Type {
    pub const ANY: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_ANY);
    pub const BOOLEAN: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN);
    pub const TINYINT: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_TINYINT);
    pub const UTINYINT: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_UTINYINT);
    pub const SMALLINT: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_SMALLINT);
    pub const USMALLINT: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_USMALLINT);
    pub const INTEGER: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_INTEGER);
    pub const UINTEGER: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_UINTEGER);
    pub const BIGINT: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_BIGINT);
    pub const UBIGINT: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_UBIGINT);
    pub const FLOAT: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_FLOAT);
    pub const DOUBLE: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE);
    pub const VARCHAR: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR);
    pub const BLOB: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_BLOB);
    pub const TIMESTAMP: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIMESTAMP);

    pub const TIMESTAMPTZ: Type = Type::Id(ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIMESTAMP_TZ);
    pub const BBOX: Type = Type::Doubles(&["xmin", "ymin", "xmax", "ymax"]);

    pub fn list(child: Type) -> Type {
        Type::List(Box::new(child))
    }

    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Box::new(key), Box::new(value))
    }

    /// Runs `body` with the logical type, which lives as long as the call.
    pub(super) fn with<R>(&self, body: impl FnOnce(ffi::duckdb_logical_type) -> R) -> R {
        // SAFETY: every logical type is created here, only lent to `body`, and destroyed here; the constructors of
        // nested types copy their children.
        unsafe {
            let mut logical = self.create();
            let result = body(logical);
            ffi::duckdb_destroy_logical_type(&mut logical);
            result
        }
    }

    unsafe fn create(&self) -> ffi::duckdb_logical_type {
        // SAFETY: constructors; a child is live for the length of the call that copies it.
        unsafe {
            match self {
                Type::Id(id) => ffi::duckdb_create_logical_type(*id),
                Type::Json => {
                    let text = ffi::duckdb_create_logical_type(ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR);
                    // DuckDB's own JSON is text of this name.
                    ffi::duckdb_logical_type_set_alias(text, c"JSON".as_ptr());
                    text
                }
                Type::Doubles(names) => Type::DOUBLE.with(|double| {
                    let names: Vec<_> = names.iter().map(|name| c_string(name)).collect();
                    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
                    let mut types = vec![double; pointers.len()];
                    ffi::duckdb_create_struct_type(types.as_mut_ptr(), pointers.as_mut_ptr(), pointers.len() as u64)
                }),
                Type::List(child) => child.with(|c| ffi::duckdb_create_list_type(c)),
                Type::Map(key, value) => key.with(|k| value.with(|v| ffi::duckdb_create_map_type(k, v))),
            }
        }
    }
}
