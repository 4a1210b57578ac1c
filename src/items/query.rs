//! The query over an item relation.

use std::sync::Arc;

use duckdb::Connection;
use serde_json::Value;

use super::assets::{AssetSql, facts};
use super::fields::{Kind, near_misses};
use super::item::{Asset, FirstAsset, FirstItem};
use super::layout::{Bbox, Layout};
use super::session::{self, failed, literal};
use super::storage::{self, Storage};
use super::stream::{AssetColumn, Columns, ItemStream};
use super::{Selection, filter, geometry, rows};
use crate::error::{Error, Result};
use crate::time::Interval;

pub(super) struct Query<'a> {
    selection: &'a Selection,
    connection: Connection,
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
    pub(super) fn new(selection: &'a Selection) -> Result<Self> {
        let connection = session::connect(selection.threads)?;
        let version = selection.source.version();
        if let Some(looks) =
            version.as_ref().and_then(|version| selection.memo.at(version, |known| known.looks.clone()))
        {
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
        let boxes = &self.selection.boxes;
        if !bbox.pruning {
            let west = &bbox.edges[0];
            return Ok((Some(format!("({west} IS NULL OR {})", touches_any(bbox, boxes, true))), true));
        }
        // Two looks at the statistics and the edges keep the usual condition one that skips row groups.
        let [west, _, east, _] = &bbox.edges;
        let crossing = self.exists(&[format!("{west} > {east}"), in_latitude(bbox, boxes)])?;
        let without_bbox = self.looks.layout.geometry.is_some() && self.exists(&[format!("{west} IS NULL")])?;
        let touches = touches_any(bbox, boxes, crossing);
        Ok(match without_bbox {
            true => (Some(format!("({west} IS NULL OR {touches})")), true),
            false => (Some(touches), false),
        })
    }

    fn exists(&self, more: &[String]) -> Result<bool> {
        let conditions: Vec<&str> = self.looks.conditions.iter().chain(more).map(String::as_str).collect();
        let sql =
            format!("SELECT 'yes' FROM {} WHERE {} LIMIT 1", self.looks.layout.relation.from, conditions.join(" AND "));
        Ok(!rows::query_texts(&self.connection, &sql)?.is_empty())
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
        let row = if self.selection.sortby.is_empty() && !self.looks.needs_geometry {
            format!("{} LIMIT 1", self.condition())
        } else {
            let Some(ordinals) = self.first_ordinals()? else { return Ok(None) };
            let row = relation.ordinals.iter().zip(&ordinals).map(|(column, value)| format!("{column} = {value}"));
            row.collect::<Vec<_>>().join(" AND ")
        };
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
        Ok(Some(FirstItem { id, assets }))
    }

    /// Names the row of the first matching item.
    fn first_ordinals(&self) -> Result<Option<Vec<i64>>> {
        let relation = &self.looks.layout.relation;
        let sort = self.sort_terms()?;
        // Without `sortby`, rows come in file order of themselves, and the scan ends with the first.
        let order = match sort.is_empty() {
            true => String::new(),
            false => format!(" ORDER BY {}, {}", sort.join(", "), relation.ordinals.join(", ")),
        };
        let mut select: Vec<String> =
            relation.ordinals.iter().map(|column| format!("CAST({column} AS BIGINT)")).collect();
        let bbox = self.looks.layout.bbox.as_ref().map(|bbox| format!("CAST({} AS DOUBLE)", bbox.edges[0]));
        select.push(bbox.unwrap_or_else(|| "CAST(NULL AS DOUBLE)".to_owned()));
        let geometry = self.looks.layout.geometry.as_ref().filter(|_| self.looks.needs_geometry);
        select.extend(geometry.map(|(sql, _)| sql.clone()));
        let sql = format!("SELECT {} FROM {} WHERE {}{order}", select.join(", "), relation.from, self.condition());
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let count = relation.ordinals.len();
        for batch in statement.stream_arrow([]).map_err(failed)? {
            let batch = batch.map_err(failed)?;
            let (ordinals, place) = batch.columns().split_at(count.min(batch.num_columns()));
            for row in 0..batch.num_rows() {
                let has_bbox = place.first().is_some_and(|west| rows::double(west, row).is_some());
                let bounds = || {
                    let (bytes, (_, encoding)) = (rows::bytes(place.get(1)?, row)?, geometry?);
                    geometry::bounds(&geometry::parse(*encoding, bytes).ok()??)
                };
                if has_bbox || bounds().is_some_and(|bounds| self.touches(bounds)) {
                    return Ok(ordinals.iter().map(|column| rows::integer(column, row)).collect());
                }
            }
        }
        Ok(None)
    }

    fn touches(&self, bounds: [f64; 4]) -> bool {
        self.selection.boxes.iter().any(|area| geometry::touches(bounds, *area))
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

    pub(super) fn stream(self, assets: &[String]) -> Result<ItemStream> {
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
        columns.bbox =
            layout.bbox.as_ref().map(|bbox| bbox.edges.clone().map(|edge| add(format!("CAST({edge} AS DOUBLE)"))));
        columns.geometry = layout.geometry.as_ref().map(|(sql, encoding)| (add(sql.clone()), *encoding));
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
        ItemStream::start(self.connection, sql, columns, self.selection, assets, self.looks.layout.relation.clone())
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

/// Whether an item's bbox touches one of the boxes. Without crossing items, each edge is compared with a constant, which
/// DuckDB holds against the statistics of a row group.
fn touches_any(bbox: &Bbox, boxes: &[[f64; 4]], crossing: bool) -> String {
    let [west, south, east, north] = &bbox.edges;
    let one = |&[w, s, e, n]: &[f64; 4]| {
        let (inside_west, inside_east) = (format!("{west} <= {e:e}"), format!("{east} >= {w:e}"));
        let longitude = match crossing {
            true => format!(
                "CASE WHEN {west} <= {east} THEN {inside_west} AND {inside_east} ELSE {inside_west} OR {inside_east} END"
            ),
            false => format!("{inside_west} AND {inside_east}"),
        };
        format!("{south} <= {n:e} AND {north} >= {s:e} AND {longitude}")
    };
    any(boxes.iter().map(one).collect())
}

fn in_latitude(bbox: &Bbox, boxes: &[[f64; 4]]) -> String {
    let [_, south, _, north] = &bbox.edges;
    any(boxes.iter().map(|[_, s, _, n]| format!("{south} <= {n:e} AND {north} >= {s:e}")).collect())
}

fn any(conditions: Vec<String>) -> String {
    match conditions.as_slice() {
        [] => "false".to_owned(),
        [one] => format!("({one})"),
        _ => format!("(({}))", conditions.join(") OR (")),
    }
}
