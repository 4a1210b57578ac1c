//! What queries over an index need to know of it first.

use std::sync::Arc;

use geo::Geometry;

use super::layout::Layout;
use super::session::Private;
use super::table::Table;

/// What a look at the items tells, without their rows.
#[derive(Debug, Clone)]
pub(super) struct Looks {
    pub layout: Layout,
    /// Every condition, all of which must hold.
    pub conditions: Vec<String>,
    /// Shapes that the geometry of an item must meet, in all turns.
    pub shapes: Vec<Geometry>,
    /// Holds the ids that are asked for, where they are many.
    pub ids: Option<Arc<Table>>,
}

impl Looks {
    /// Whether a connection can read what they name.
    pub(super) fn are_in(&self, connection: &Private) -> bool {
        self.tables().all(|table| table.is_in(connection))
    }

    /// What the process would have to hold to remember them.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.layout.relation.table.iter().chain(&self.ids)
    }
}
