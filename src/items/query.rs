//! The query over an item relation.

use std::sync::Arc;

use serde_json::Value;

use super::assets::{AssetSql, facts};
use super::fields::{Kind, near_misses};
use super::item::{Asset, FirstAsset, FirstItem};
use super::layout::Layout;
use super::session::{self, Private, failed, literal};
use super::storage::{self, Storage};
use super::stream::{AssetColumn, Columns, Prepared, Reader};
use super::{Selection, filter, locate, rows, search};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::time::Interval;

pub(super) struct Query<'a> {
    selection: &'a Selection,
    connection: Private,
    looks: Looks,
}

/// What a look at the items tells, without their rows.
#[derive(Debug, Clone)]
pub(super) struct Looks {
    layout: Layout,
    /// Every condition, all of which must hold.
    conditions: Vec<String>,
    /// Some rows have no bbox, so that the geometry decides.
    needs_geometry: bool,
}

impl<'a> Query<'a> {
    pub(super) fn new(selection: &'a Selection, connection: Private) -> Result<Self> {
        let version = selection.source.version();
        let known = version.as_ref().and_then(|version| selection.memo.at(version, |known| known.looks.clone()));
        if let Some(looks) = known.filter(|looks| looks.layout.relation.is_in(&connection)) {
            return Ok(Query { selection, connection, looks });
        }
        let relation = selection.source.relation(&connection, selection.hive)?;
        let layout = Layout::of(&connection, relation)?;
        let looks = Looks { layout, conditions: Vec::new(), needs_geometry: false };
        let mut query = Query { selection, connection, looks };
        let conditions = query.argument_conditions()?;
        query.looks.conditions.extend(conditions);
        let (place, needs_geometry) = query.place()?;
        query.looks.conditions.extend(place);
        query.looks.needs_geometry = needs_geometry;
        if let Some(version) = version {
            selection.memo.at(&version, |known| known.looks = Some(query.looks.clone()));
        }
        Ok(query)
    }

    /// What `filter`, `ids` and `datetime` ask for.
    fn argument_conditions(&self) -> Result<Vec<String>> {
        let mut conditions = Vec::new();
        if let Some(text) = &self.selection.filter {
            conditions.push(filter::to_sql(text, &|name| self.looks.layout.field(&self.connection, "filter", name))?);
        }
        if let Some(ids) = &self.selection.ids {
            conditions.push(match ids.as_slice() {
                [] => "false".to_owned(),
                ids => format!(
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
        Ok(conditions)
    }

    /// The condition on the bbox, and whether some rows have none.
    fn place(&self) -> Result<(Option<String>, bool)> {
        let Some(bbox) = &self.looks.layout.bbox else { return Ok((None, true)) };
        let boxes = search::look(&self.connection, bbox, &self.looks.layout.relation.from, &self.condition())?;
        let condition = search::condition(bbox, &self.selection.area, &boxes);
        Ok((condition, boxes.irregular && self.looks.layout.geometry.is_some()))
    }

    fn condition(&self) -> String {
        if self.looks.conditions.is_empty() { "true".to_owned() } else { self.looks.conditions.join(" AND ") }
    }

    /// The terms of ORDER BY that `sortby` asks for.
    fn sort_terms(&self) -> Result<Vec<String>> {
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
                Kind::Json => vec![format!("TRY_CAST({} AS DOUBLE)", field.sql), field.sql],
                _ => vec![field.sql],
            };
            terms.extend(keys.iter().map(|sql| format!("{sql} {direction} NULLS LAST")));
        }
        Ok(terms)
    }

    pub(super) fn first(&self) -> Result<Option<FirstItem>> {
        let relation = &self.looks.layout.relation;
        let Some((ordinals, place)) = self.first_row()? else { return Ok(None) };
        let row = relation.ordinals.iter().zip(&ordinals).map(|(column, value)| format!("{column} = {value}"));
        let row = row.collect::<Vec<_>>().join(" AND ");
        let (keys, values) = self.looks.layout.assets.described();
        let crs = self.looks.layout.crs().unwrap_or_else(|| "NULL".to_owned());
        let base = relation.base_sql().unwrap_or_else(|| "NULL".to_owned());
        let storage = self.looks.layout.storage().unwrap_or_else(|| "NULL".to_owned());
        let sql = format!(
            "SELECT {}, {keys}, {values}, CAST({crs} AS VARCHAR), CAST({base} AS VARCHAR), CAST({storage} AS VARCHAR) \
             FROM {} WHERE {row}",
            self.looks.layout.id, relation.from
        );
        let batches = session::rows(&self.connection, &sql)?;
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
        let [id, keys, values, crs, base, stored] = batch.columns() else { return Ok(None) };
        let id = rows::text(id, 0).ok_or_else(|| Error::Items("an item has no id".into()))?.to_owned();
        let crs: Option<Arc<str>> = rows::text(crs, 0).map(Arc::from);
        let base: Option<Arc<str>> = rows::text(base, 0).map(Arc::from);
        let stored = rows::text(stored, 0).and_then(|json| storage::read(&serde_json::from_str(json).ok()?));
        let of_item = Shared { crs, base, storage: stored };
        let keys = rows::text_list(keys, 0).unwrap_or_default();
        let values = rows::text_list(values, 0).unwrap_or_default();
        let mut assets = Vec::with_capacity(keys.len());
        for (key, value) in keys.into_iter().zip(values) {
            if let (Some(key), Some(json)) = (key, value) {
                assets.extend(described_asset(&id, key, &json, &of_item)?);
            }
        }
        Ok(Some(FirstItem { id, place: Some(place), assets }))
    }

    /// Names the row of the first item that touches the area, and where it is.
    fn first_row(&self) -> Result<Option<(Vec<i64>, Place)>> {
        let layout = &self.looks.layout;
        let (from, ordinals) = (&layout.relation.from, layout.relation.ordinals);
        let sort = self.sort_terms()?;
        // Without `sortby`, rows come in file order of themselves, and the scan ends with the first.
        let order = match sort.is_empty() {
            true => String::new(),
            false => format!(" ORDER BY {}, {}", sort.join(", "), ordinals.join(", ")),
        };
        let mut select = vec![layout.id.clone()];
        select.extend(ordinals.iter().map(|column| format!("CAST({column} AS BIGINT)")));
        let columns = locate::Columns::of(layout, &[], |sql| {
            select.push(sql);
            select.len() - 1
        });
        let sql = format!("SELECT {} FROM {from} WHERE {}{order}", select.join(", "), self.condition());
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut locator = locate::Locator::new(columns);
        for batch in statement.stream_arrow([]).map_err(failed)? {
            let batch = batch.map_err(failed)?;
            let Some((ids, named)) = batch.columns().split_first() else { continue };
            for row in 0..batch.num_rows() {
                let id = rows::text(ids, row).ok_or_else(|| Error::Items("an item has no id".into()))?;
                let place = locator.place(&batch, row, id)?;
                if let Some(place) = place.filter(|place| place.touches(&self.selection.area)) {
                    let named = named.iter().take(ordinals.len());
                    let ordinals: Option<Vec<i64>> = named.map(|column| rows::integer(column, row)).collect();
                    return Ok(ordinals.map(|ordinals| (ordinals, place)));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn count_steps(&self) -> Result<u64> {
        let step = self.selection.period.step_sql(&format!("({})", self.looks.layout.time()));
        let (from, condition) = (&self.looks.layout.relation.from, self.condition());
        let sql = format!("SELECT CAST(count(DISTINCT {step}) AS BIGINT) FROM {from} WHERE {condition}");
        let batches = session::rows(&self.connection, &sql)?;
        let count =
            batches.first().filter(|batch| batch.num_rows() == 1).and_then(|batch| rows::integer(batch.column(0), 0));
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
        let mut add = |sql: String| {
            select.push(sql);
            select.len() - 1
        };
        columns.time_text = layout.time_text().map(&mut add);
        if !self.selection.period.accepts_bare_dates() {
            columns.bare_date = Some(add(layout.is_bare_date()));
        }
        columns.place = locate::Columns::of(layout, located, &mut add);
        if !assets.is_empty() {
            columns.base = layout.relation.base_sql().map(&mut add);
            columns.crs = layout.crs().map(&mut add);
            columns.storage = layout.storage().map(&mut add);
            columns.objects = layout.assets.objects(assets).map(&mut add);
        }
        for key in assets {
            let Some(sql) = layout.assets.sql(key) else {
                let known = self.asset_keys()?;
                return Err(Error::Argument(format!("no item has an asset '{key}'{}", near_misses(key, &known))));
            };
            columns.assets.push(match sql {
                AssetSql::Typed { href, facts } => AssetColumn::Typed(add(href), facts.map(&mut add)),
                AssetSql::Json(json) => AssetColumn::Json(add(json)),
                AssetSql::Object => AssetColumn::Object,
            });
        }
        let select: Vec<String> = select.iter().enumerate().map(|(i, sql)| format!("{sql} AS c{i}")).collect();
        let order = [vec![self.selection.period.step_sql("c1")], self.sort_terms()?, ordinal_terms(layout)].concat();
        let sql = format!(
            "SELECT {} FROM {} WHERE {} ORDER BY {}",
            select.join(", "),
            layout.relation.from,
            self.condition(),
            order.join(", ")
        );
        let reader = Reader::new(columns, assets.to_vec(), self.selection.period, self.selection.area.clone());
        Ok(Prepared { connection: self.connection, sql, reader, _relation: self.looks.layout.relation })
    }
}

fn ordinal_terms(layout: &Layout) -> Vec<String> {
    layout.relation.ordinals.iter().map(|column| (*column).to_owned()).collect()
}

/// What an item says for all of its assets.
#[derive(Default)]
pub(super) struct Shared {
    pub crs: Option<Arc<str>>,
    pub base: Option<Arc<str>>,
    pub storage: Option<Storage>,
}

pub(super) fn described_asset(id: &str, key: String, json: &str, of_item: &Shared) -> Result<Option<FirstAsset>> {
    let value: Value = serde_json::from_str(json)
        .map_err(|e| Error::Items(format!("item '{id}' asset '{key}': not readable as JSON: {e}")))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let Some(href) = text("href") else { return Ok(None) };
    let facts = facts(&value);
    let roles = value.get("roles").and_then(Value::as_array).into_iter().flatten();
    let roles = roles.filter_map(Value::as_str).map(str::to_owned).collect();
    let asset = Asset {
        href: href.into(),
        base: of_item.base.clone(),
        nodata: facts.nodata,
        scale_offset: facts.scale_offset,
        crs: facts.crs.or_else(|| of_item.crs.clone()),
        store: storage::hints(facts.storage.as_deref(), of_item.storage.as_ref()).map(Arc::new),
    };
    Ok(Some(FirstAsset { media_type: text("type"), key, roles, asset }))
}
