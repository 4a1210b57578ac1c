//! The query over an item relation.

use std::sync::Arc;

use geo::Geometry;

use super::assets::AssetSql;
use super::fields::{Kind, near_misses, number_in, unless_nan};
use super::layout::Layout;
use super::looks::Looks;
use super::reader::{AssetColumn, Columns, Reader};
use super::search::{self, Boxes};
use super::selection::{FEW_IDS, Selection};
use super::session::{self, Private, identifier, literal};
use super::table::{Appender, Table};
use super::{facts, filter, geometry, locate, rows, storage};
use crate::error::{Error, Result};
use crate::time::Interval;

pub(super) struct Query<'a> {
    pub selection: &'a Selection,
    pub connection: Private,
    pub looks: Looks,
}

impl<'a> Query<'a> {
    pub(super) fn new(selection: &'a Selection, connection: Private) -> Result<Self> {
        let version = selection.version();
        let known = version.as_ref().and_then(|version| selection.memo.looks(version));
        if let Some(looks) = known.filter(|looks| looks.are_in(&connection)) {
            return Ok(Query { selection, connection, looks });
        }
        let relation = selection.source.relation(&connection, selection.hive)?;
        let layout = Layout::of(&connection, relation)?;
        let looks =
            Looks { layout, conditions: Vec::new(), shapes: Vec::new(), ids: ids_table(&connection, selection)? };
        let mut query = Query { selection, connection, looks };
        let (conditions, shapes) = query.argument_conditions()?;
        query.looks.shapes = shapes;
        query.looks.conditions.extend(conditions);
        let place = query.place()?;
        query.looks.conditions.extend(place);
        if let Some(version) = version {
            selection.memo.set_looks(&version, &query.looks);
        }
        Ok(query)
    }

    /// What `filter`, `ids` and `datetime` ask for.
    fn argument_conditions(&self) -> Result<(Vec<String>, Vec<Geometry>)> {
        let (mut conditions, mut shapes) = (Vec::new(), Vec::new());
        if let Some(text) = &self.selection.filter {
            let (sql, found) = filter::parts(text, &|name| self.looks.layout.field(&self.connection, "filter", name))?;
            conditions.push(sql);
            shapes = found.iter().map(geometry::in_all_turns).collect();
        }
        if let Some(ids) = &self.selection.ids {
            conditions.push(match (ids.as_slice(), &self.looks.ids) {
                ([], _) => "false".to_owned(),
                (_, Some(table)) => format!("{} IN (SELECT id FROM {})", self.looks.layout.id, table.name),
                (ids, None) => format!(
                    "{} IN ({})",
                    self.looks.layout.id,
                    ids.iter().map(|id| literal(id)).collect::<Vec<_>>().join(", ")
                ),
            });
        }
        if let Some(Interval { start, end }) = self.selection.datetime {
            let (first, last) = self.looks.layout.extent();
            let starts_in_time = end.map(|end| format!("{first} < {end}"));
            let ends_in_time = start.map(|start| format!("{last} >= {start}"));
            let overlaps: Vec<String> = starts_in_time.into_iter().chain(ends_in_time).collect();
            // An item without a time must reach the reader, who refuses it by name.
            conditions.push(format!("({} IS NULL OR ({}))", self.looks.layout.time(), overlaps.join(" AND ")));
        }
        Ok((conditions, shapes))
    }

    /// The condition on the bbox.
    fn place(&self) -> Result<Option<String>> {
        let Some(bbox) = &self.looks.layout.bbox else { return Ok(None) };
        // To look at the boxes of a small source takes longer than to read some items too many.
        let boxes = match self.selection.is_small() {
            true => Boxes::ANY,
            false => search::look(&self.connection, bbox, &self.looks.layout.relation.from, &self.condition())?,
        };
        Ok(search::condition(bbox, &self.selection.area, &boxes))
    }

    pub(super) fn condition(&self) -> String {
        if self.looks.conditions.is_empty() { "true".to_owned() } else { self.looks.conditions.join(" AND ") }
    }

    /// The terms of ORDER BY that `sortby` asks for.
    pub(super) fn sort_terms(&self) -> Result<Vec<String>> {
        let mut terms = Vec::new();
        for key in &self.selection.sortby {
            let (name, direction) = match key.strip_prefix('-') {
                Some(name) => (name, "DESC"),
                None => (key.strip_prefix('+').unwrap_or(key), "ASC"),
            };
            let field = self.looks.layout.field(&self.connection, "sortby", name)?;
            if matches!(field.kind, Kind::List | Kind::Other) {
                return Err(Error::Argument(format!("sortby: '{name}' is a list or a struct, which has no order")));
            }
            let keys = match field.kind {
                Kind::TimeText => vec![field.micros()],
                // Numbers in JSON order as numbers; what is none comes after them, as text.
                Kind::Json => vec![number_in(&field.sql), unless_nan(&field.sql)],
                _ => vec![field.sql],
            };
            terms.extend(keys.iter().map(|sql| format!("{sql} {direction} NULLS LAST")));
        }
        Ok(terms)
    }

    pub(super) fn count_steps(&self) -> Result<u64> {
        let step = self.selection.period.step_sql(&format!("({})", self.looks.layout.time()));
        let (from, condition) = (&self.looks.layout.relation.from, self.condition());
        let sql = format!("SELECT CAST(count(DISTINCT {step}) AS BIGINT) FROM {from} WHERE {condition}");
        let batches = session::rows(&self.connection, &sql)?;
        let count = batches.first().filter(|batch| batch.num_rows() == 1);
        let count = count.map_or(Ok(None), |batch| rows::integer(batch.column(0), 0))?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    pub(super) fn asset_keys(&self) -> Result<Vec<String>> {
        let mut keys = match self.looks.layout.assets.keys() {
            Ok(keys) => keys,
            Err(expression) => {
                let sql = format!("SELECT DISTINCT unnest({expression}) FROM {}", self.looks.layout.relation.from);
                rows::query_texts(&self.connection, &sql)?
            }
        };
        keys.sort();
        Ok(keys)
    }

    /// The query for the items, ready to run.
    pub(super) fn prepare(self, assets: &[String], located: &[String]) -> Result<Prepared> {
        let layout = &self.looks.layout;
        let mut columns = Columns::default();
        let mut select = vec![layout.id.clone(), layout.time()];
        // The same text may tell where the pixels are, and what they mean.
        let mut add = |sql: String| {
            select.iter().position(|known| *known == sql).unwrap_or_else(|| {
                select.push(sql);
                select.len() - 1
            })
        };
        columns.time_text = layout.time_text().map(&mut add);
        if !self.selection.period.accepts_bare_dates() {
            columns.bare_date = Some(add(layout.is_bare_date()));
        }
        columns.place = locate::Columns::of(layout, located, &mut add);
        if !assets.is_empty() {
            columns.base = layout.relation.base_sql().map(&mut add);
            if layout.assets.is_read_whole(assets) {
                columns.objects = Some(add(layout.assets.whole()));
            }
        }
        // Without assets, too: the properties say why an item has no time.
        let [of_item, properties] = layout.of_item(&facts_of_item());
        columns.of_item = [of_item.filter(|_| !assets.is_empty()).map(&mut add), properties.map(&mut add)];
        let chosen = self.selection.asset_href.as_deref().and_then(|path| path.split('.').next());
        for key in assets {
            let Some(sql) = layout.assets.sql(key, chosen.as_slice(), &layout.own) else {
                let known = self.asset_keys()?;
                return Err(Error::Argument(format!("no item has an asset '{key}'{}", near_misses(key, &known))));
            };
            if columns.objects.is_none() {
                columns.assets.push(match sql {
                    AssetSql::Typed { href, facts } => AssetColumn::Typed(add(href), facts.map(&mut add)),
                    AssetSql::Json(json) => AssetColumn::Json(add(json)),
                });
            }
        }
        let sorted = [self.sort_terms()?, layout.relation.ordinals.clone()].concat();
        if self.selection.period.depends_on_longitude() {
            columns.rank = Some(add(format!("row_number() OVER (ORDER BY {})", sorted.join(", "))));
        }
        let name = |i: usize| identifier(&format!("{}{i}", layout.own));
        let select: Vec<String> = select.iter().enumerate().map(|(i, sql)| format!("{sql} AS {}", name(i))).collect();
        let step = self.selection.period.step_sql(&name(1));
        let order = if columns.rank.is_some() { vec![name(1)] } else { [vec![step], sorted].concat() };
        let sql = format!(
            "SELECT {} FROM {} WHERE {} ORDER BY {}",
            select.join(", "),
            layout.relation.from,
            self.condition(),
            order.join(", ")
        );
        columns.place.shapes = self.looks.shapes.clone();
        let chosen = self.selection.asset_href.clone();
        let reader = Reader::new(columns, assets.to_vec(), self.selection.period, self.selection.area.clone(), chosen);
        Ok(Prepared { connection: self.connection, sql, reader, _looks: self.looks })
    }
}

/// What an item may say for all of its assets.
pub(super) fn facts_of_item() -> Vec<&'static str> {
    facts::OF_ITEM.into_iter().chain(storage::OF_ITEM).collect()
}

/// A query for items that is ready to run.
pub(super) struct Prepared {
    pub connection: Private,
    pub sql: String,
    pub reader: Reader,
    /// Tables and fetched files live as long as they are read.
    pub _looks: Looks,
}

/// The table of many ids: in a statement each would be read and planned over.
fn ids_table(connection: &Private, selection: &Selection) -> Result<Option<Arc<Table>>> {
    let Some(ids) = selection.ids.as_ref().filter(|ids| ids.len() > FEW_IDS) else { return Ok(None) };
    let table = Table::empty(connection, "id VARCHAR")?;
    let mut rows = Appender::new(&table)?;
    for id in ids {
        rows.append_texts(&[Some(id)])?;
    }
    rows.end()?;
    Ok(Some(Arc::new(table)))
}
