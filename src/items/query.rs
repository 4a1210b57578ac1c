//! The query over an item relation.

use std::sync::Arc;

use geo::Geometry;
use serde_json::Value;

use super::assets::AssetSql;
use super::facts::{self, Facts};
use super::fields::{Kind, near_misses, number_in, unless_nan};
use super::item::{Asset, FirstAsset, FirstItem};
use super::layout::Layout;
use super::session::{self, Private, Table, failed, identifier, literal};
use super::stream::{AssetColumn, Columns, Prepared, Reader};
use super::{Selection, filter, geometry, json, locate, rows, search, storage};
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
    /// Shapes that the geometry of an item must meet, in all turns.
    shapes: Vec<Geometry>,
    /// Holds the ids that are asked for, where they are many.
    ids: Option<Arc<Table>>,
}

impl Looks {
    /// Whether a connection can read what they name.
    fn are_in(&self, connection: &Private) -> bool {
        self.layout.relation.is_in(connection) && self.ids.as_ref().is_none_or(|table| table.is_in(connection))
    }
}

/// Ids that stand in every statement; more go into a table, once.
pub(super) const FEW_IDS: usize = 100;

impl<'a> Query<'a> {
    pub(super) fn new(selection: &'a Selection, connection: Private) -> Result<Self> {
        let version = selection.source.version();
        let known = version.as_ref().and_then(|version| selection.memo.at(version, |known| known.looks.clone()));
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
            selection.memo.at(&version, |known| known.looks = Some(query.looks.clone()));
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
        let boxes = search::look(&self.connection, bbox, &self.looks.layout.relation.from, &self.condition())?;
        Ok(search::condition(bbox, &self.selection.area, &boxes))
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
                Kind::Json => vec![number_in(&field.sql), unless_nan(&field.sql)],
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
        let (layout, chosen) = (&self.looks.layout, self.selection.asset_href.as_deref());
        let more: Vec<&str> = chosen.and_then(|path| path.split('.').next()).into_iter().collect();
        let null = |sql: Option<String>| sql.unwrap_or_else(|| "CAST(NULL AS VARCHAR)".to_owned());
        let named = self.selection.named.as_deref();
        let assets = match layout.assets.described(named, &more, &layout.own) {
            Some((keys, values)) => format!("CAST(NULL AS VARCHAR), {keys}, {values}"),
            None => layout.assets.whole(),
        };
        let [columns, properties] = layout.of_item(&facts_of_item());
        let sql = format!(
            "SELECT {}, {}, {}, {}, {assets} FROM {} WHERE {row}",
            layout.id,
            null(relation.base_sql().map(|base| format!("CAST({base} AS VARCHAR)"))),
            null(columns),
            null(properties),
            relation.from
        );
        let batches = session::rows(&self.connection, &sql)?;
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
        let column = |index: usize| batch.columns().get(index);
        let text = |index: usize| column(index).map_or(Ok(None), |column| rows::text(column, 0));
        let id = text(0)?.ok_or_else(|| Error::Items("an item has no id".into()))?;
        let described =
            Described { base: text(1)?.map(Arc::from), of_item: facts::of_item(text(2)?, text(3)?), chosen };
        let assets = match (text(4)?, column(5), column(6)) {
            (Some(json), ..) => described.assets(id, json, named)?,
            (None, Some(keys), Some(values)) => {
                let pairs = rows::text_list(keys, 0)?.into_iter().zip(rows::text_list(values, 0)?);
                pairs.filter_map(|(key, json)| described.asset(&key?, &json?)).collect()
            }
            _ => Vec::new(),
        };
        Ok(Some(FirstItem { id: id.to_owned(), place: Some(place), assets }))
    }

    /// Names the row of the first item that touches the area, and where it is.
    fn first_row(&self) -> Result<Option<(Vec<i64>, Place)>> {
        let layout = &self.looks.layout;
        let (from, ordinals) = (&layout.relation.from, &layout.relation.ordinals);
        let sort = self.sort_terms()?;
        // Without `sortby`, rows come in file order of themselves, and the scan ends with the first.
        let order = match sort.is_empty() && self.looks.ids.is_none() {
            true => String::new(),
            false => format!(" ORDER BY {}", [sort, ordinals.clone()].concat().join(", ")),
        };
        let mut select = vec![layout.id.clone()];
        select.extend(ordinals.iter().map(|column| format!("CAST({column} AS BIGINT)")));
        let mut columns = locate::Columns::of(layout, &[], |sql| {
            select.push(sql);
            select.len() - 1
        });
        columns.shapes = self.looks.shapes.clone();
        let sql = format!("SELECT {} FROM {from} WHERE {}{order}", select.join(", "), self.condition());
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut locator = locate::Locator::new(columns);
        let mut fault = None;
        for batch in statement.stream_arrow([]).map_err(failed)? {
            let batch = batch.map_err(failed)?;
            let Some((ids, named)) = batch.columns().split_first() else { continue };
            for row in 0..batch.num_rows() {
                // What is wrong with an item is told by the stream, unless there is no other.
                let found = match rows::text(ids, row)? {
                    Some(id) => locator.place(&batch, row, id)?,
                    None => Err("an item has no id".to_owned()),
                };
                match found {
                    Ok(Some(place)) if place.touches(&self.selection.area) => {
                        let named = named.iter().take(ordinals.len());
                        let ordinals = named.map(|column| rows::integer(column, row)).collect::<Result<Vec<_>>>()?;
                        return Ok(ordinals.into_iter().collect::<Option<Vec<_>>>().map(|row| (row, place)));
                    }
                    Ok(_) => {}
                    Err(what) => fault = fault.or(Some(what)),
                }
            }
        }
        fault.map_or(Ok(None), |what| Err(Error::Items(what)))
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
        let name = |i: usize| identifier(&format!("{}{i}", layout.own));
        let select: Vec<String> = select.iter().enumerate().map(|(i, sql)| format!("{sql} AS {}", name(i))).collect();
        let step = self.selection.period.step_sql(&name(1));
        let order = [vec![step], self.sort_terms()?, layout.relation.ordinals.clone()].concat();
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
fn facts_of_item() -> Vec<&'static str> {
    facts::OF_ITEM.into_iter().chain(storage::OF_ITEM).collect()
}

/// The table of many ids. They travel as one text, which a statement of many literals is slow to read.
fn ids_table(connection: &Private, selection: &Selection) -> Result<Option<Arc<Table>>> {
    let Some(ids) = selection.ids.as_ref().filter(|ids| ids.len() > FEW_IDS) else { return Ok(None) };
    let mut between = "\n".to_owned();
    while ids.iter().any(|id| id.contains(&between)) {
        between.push('\u{1}');
    }
    let query =
        format!("SELECT DISTINCT unnest(string_split({}, {})) AS id", literal(&ids.join(&between)), literal(&between));
    Ok(Some(Arc::new(Table::create(connection, &query)?)))
}

/// How the assets of one item are described.
pub(super) struct Described<'a> {
    pub base: Option<Arc<str>>,
    /// What the item says for all of its assets.
    pub of_item: Result<Facts, String>,
    /// The way to the href that the call wants.
    pub chosen: Option<&'a str>,
}

impl Described<'_> {
    /// The assets, those that are `named` or all, out of the text of all of them.
    fn assets(&self, id: &str, json: &str, named: Option<&[String]>) -> Result<Vec<FirstAsset>> {
        let wanted = |key: &str| named.is_none_or(|named| named.iter().any(|name| name == key));
        match (json::members(json), named) {
            _ if json.trim() == "null" => Ok(Vec::new()),
            (Ok(members), _) => {
                let members = members.iter().filter(|(key, _)| wanted(key));
                Ok(members.filter_map(|(key, json)| self.asset(key, json)).collect())
            }
            (Err(what), None) => Err(Error::Items(format!("item '{id}': the text of 'assets' {what}"))),
            (Err(what), Some(named)) => {
                let fault = format!("the text of 'assets' {what}");
                Ok(named.iter().map(|key| faulty(key, fault.clone())).collect())
            }
        }
    }

    /// `None` for an asset without href, which is none.
    pub(super) fn asset(&self, key: &str, json: &str) -> Option<FirstAsset> {
        if json.trim() == "null" {
            return None;
        }
        let object = match facts::asset_object(json, self.chosen, &["type", "roles", "eo:bands"]) {
            Ok(object) => object,
            Err(what) => return Some(faulty(key, what)),
        };
        // An asset without href is none, whatever else it says.
        let href = facts::href(&object).ok()?;
        let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let read = || {
            let facts = facts::facts(&object, self.chosen)?;
            let asset = facts.asset(&href, self.of_item.as_ref().map_err(String::clone)?);
            Ok((Asset { base: self.base.clone(), ..asset }, facts::band_names(&object)?))
        };
        let (asset, bands) = read().unwrap_or_else(|what: String| (Asset::faulty(what), Vec::new()));
        // Roles that cannot be read are none: they only choose the default bands.
        let roles = json::elements(&object, "roles").unwrap_or_default();
        let roles = roles.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Some(FirstAsset { key: key.to_owned(), roles, media_type: text("type"), bands, asset })
    }
}

fn faulty(key: &str, fault: String) -> FirstAsset {
    let asset = Asset::faulty(fault);
    FirstAsset { key: key.to_owned(), roles: Vec::new(), media_type: None, bands: Vec::new(), asset }
}
