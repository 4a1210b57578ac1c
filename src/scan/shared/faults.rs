//! Panics on demand, for the tests of what a query says when a part of it dies. The variable `LAZYCOGS_PANIC` of the process
//! names the part.

use std::sync::LazyLock;

static ARMED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("LAZYCOGS_PANIC").ok());

/// # Panics
/// Where the part is to die.
pub fn point(part: &str) {
    assert!(ARMED.as_deref() != Some(part), "{part} was to panic");
}
