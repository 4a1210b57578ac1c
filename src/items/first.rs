//! The first item that touches the area, with what its assets say.

use std::sync::Arc;

use duckdb::arrow::array::RecordBatch;
use serde_json::Value;

use super::facts::{self, Facts};
use super::item::{Asset, FirstAsset, FirstItem};
use super::query::{Query, facts_of_item};
use super::session::{self, failed};
use super::{json, locate, rows};
use crate::error::{Error, Result};
use crate::place::Place;

/// Takes a row whose item is at a place, or leaves it.
type Take<'a, T> = &'a mut dyn FnMut(&RecordBatch, usize, Place) -> Result<T>;

/// Rows that a search looks at before it looks at all.
const FEW: usize = 64;

enum Found<T> {
    Item(T),
    /// Among so many rows; and the first thing that was wrong with one.
    Nothing {
        rows: usize,
        fault: Option<Error>,
    },
}

impl Query<'_> {
    pub(super) fn first(&self) -> Result<Option<FirstItem>> {
        // Of a small source the assets are read beside what tells where the items are: a second statement would take longer. Of a large
        // one they would be read of many items for one.
        let with_assets =
            || self.search(self.description(), &mut |batch, row, place| self.described(batch, row, place));
        if self.selection.is_small() {
            return with_assets();
        }
        let ordinals = &self.looks.layout.relation.ordinals;
        let named = ordinals.iter().map(|column| format!("CAST({column} AS BIGINT)")).collect();
        let found = self.search(named, &mut |batch, row, place| {
            let columns = batch.columns().iter().skip(1).take(ordinals.len());
            Ok((columns.map(|column| rows::integer(column, row)).collect::<Result<Option<Vec<_>>>>()?, place))
        })?;
        let Some((Some(row), place)) = found else { return Ok(None) };
        match self.at(&row, place) {
            Err(_) if self.selection.passes_over => with_assets(),
            found => found,
        }
    }

    /// What `take` makes of the first item that touches the area, of a row with the id and the columns `more`. An item of which it makes
    /// nothing may be passed over, if the selection wants that.
    fn search<T>(&self, more: Vec<String>, take: Take<T>) -> Result<Option<T>> {
        let layout = &self.looks.layout;
        let (from, ordinals) = (&layout.relation.from, &layout.relation.ordinals);
        let sort = self.sort_terms()?;
        // Without `sortby`, rows come in file order of themselves, and the scan ends with the first; mostly with one of the first few, which
        // DuckDB must be told, or its threads read on until somebody has looked at them.
        let searches = match sort.is_empty() && self.looks.ids.is_none() {
            true => vec![(format!(" LIMIT {FEW}"), FEW), (String::new(), usize::MAX)],
            false => vec![(format!(" ORDER BY {}", [sort, ordinals.clone()].concat().join(", ")), usize::MAX)],
        };
        let mut select = [vec![layout.id.clone()], more].concat();
        let mut columns = locate::Columns::of(layout, &[], |sql| {
            select.push(sql);
            select.len() - 1
        });
        columns.shapes = self.looks.shapes.clone();
        let sql = format!("SELECT {} FROM {from} WHERE {}", select.join(", "), self.condition());
        let mut locator = locate::Locator::new(columns);
        for (order, most) in searches {
            match self.search_in(&format!("{sql}{order}"), &mut locator, take)? {
                Found::Item(found) => return Ok(Some(found)),
                Found::Nothing { rows, .. } if rows >= most => {}
                Found::Nothing { fault, .. } => return fault.map_or(Ok(None), Err),
            }
        }
        Ok(None)
    }

    fn search_in<T>(&self, sql: &str, locator: &mut locate::Locator, take: Take<T>) -> Result<Found<T>> {
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let (mut rows, mut fault) = (0, None);
        for batch in statement.stream_arrow([]).map_err(failed)? {
            let batch = batch.map_err(failed)?;
            let Some(ids) = batch.columns().first() else { continue };
            rows += batch.num_rows();
            for row in 0..batch.num_rows() {
                // What is wrong with an item is told by the stream, unless there is no other.
                let found = match rows::text(ids, row)? {
                    Some(id) => locator.place(&batch, row, id)?,
                    None => Err("an item has no id".to_owned()),
                };
                match found {
                    Ok(Some(place)) if place.touches(&self.selection.area) => match take(&batch, row, place) {
                        Err(what) if self.selection.passes_over => fault = fault.or(Some(what)),
                        found => return found.map(Found::Item),
                    },
                    Ok(_) => {}
                    Err(what) => fault = fault.or(Some(Error::Items(what))),
                }
            }
        }
        Ok(Found::Nothing { rows, fault })
    }

    /// The item of a row that its ordinals name.
    fn at(&self, row: &[i64], place: Place) -> Result<Option<FirstItem>> {
        let layout = &self.looks.layout;
        let row = layout.relation.ordinals.iter().zip(row).map(|(column, value)| format!("{column} = {value}"));
        let sql = format!(
            "SELECT {}, {} FROM {} WHERE {}",
            layout.id,
            self.description().join(", "),
            layout.relation.from,
            row.collect::<Vec<_>>().join(" AND ")
        );
        let batches = session::rows(&self.connection, &sql)?;
        let batch = batches.iter().find(|batch| batch.num_rows() > 0);
        batch.map(|batch| self.described(batch, 0, place)).transpose()
    }

    /// The columns behind the id that [`Query::described`] reads.
    fn description(&self) -> Vec<String> {
        let layout = &self.looks.layout;
        let null = || "CAST(NULL AS VARCHAR)".to_owned();
        let base = layout.relation.base_sql().map_or_else(null, |base| format!("CAST({base} AS VARCHAR)"));
        let more: Vec<&str> = self.chosen().and_then(|path| path.split('.').next()).into_iter().collect();
        let assets = match layout.assets.described(self.selection.named.as_deref(), &more, &layout.own) {
            Some((keys, values)) => [null(), keys, values],
            None => [layout.assets.whole(), "CAST(NULL AS VARCHAR[])".to_owned(), "CAST(NULL AS VARCHAR[])".to_owned()],
        };
        let [columns, properties] = layout.of_item(&facts_of_item()).map(|sql| sql.unwrap_or_else(null));
        [base, columns, properties].into_iter().chain(assets).collect()
    }

    fn described(&self, batch: &RecordBatch, row: usize, place: Place) -> Result<FirstItem> {
        let column = |index: usize| batch.columns().get(index);
        let text = |index: usize| column(index).map_or(Ok(None), |column| rows::text(column, row));
        let list = |index: usize| column(index).map_or(Ok(Vec::new()), |column| rows::text_list(column, row));
        let id = text(0)?.ok_or_else(|| Error::Items("an item has no id".into()))?;
        let described = Described {
            base: text(1)?.map(Arc::from),
            of_item: facts::of_item(text(2)?, text(3)?),
            chosen: self.chosen(),
        };
        let assets = match text(4)? {
            Some(json) => described.assets(id, json, self.selection.named.as_deref())?,
            None => {
                let pairs = list(5)?.into_iter().zip(list(6)?);
                pairs.filter_map(|(key, json)| described.asset(&key?, &json?)).collect()
            }
        };
        Ok(FirstItem { id: id.to_owned(), place: Some(place), assets })
    }

    fn chosen(&self) -> Option<&str> {
        self.selection.asset_href.as_deref()
    }
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
