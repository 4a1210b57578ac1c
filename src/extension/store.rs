//! `lazycogs_store`: how the assets of an archive would be opened, and where each part of it comes from.

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::arguments;
use super::rows::{Cell, Once};
use super::vectors::Chunk;
use crate::error::Result;
use crate::plan::{Opening, openings};

pub struct Store;

const COLUMNS: [(&str, Type); 19] = [
    ("item_id", Type::VARCHAR),
    ("asset", Type::VARCHAR),
    ("href", Type::VARCHAR),
    ("access", Type::VARCHAR),
    ("service", Type::VARCHAR),
    ("bucket", Type::VARCHAR),
    ("path", Type::VARCHAR),
    ("account", Type::VARCHAR),
    ("account_from", Type::VARCHAR),
    ("region", Type::VARCHAR),
    ("region_from", Type::VARCHAR),
    ("endpoint", Type::VARCHAR),
    ("endpoint_from", Type::VARCHAR),
    ("requester_pays", Type::BOOLEAN),
    ("requester_pays_from", Type::VARCHAR),
    ("signed", Type::BOOLEAN),
    ("credentials", Type::VARCHAR),
    ("credentials_from", Type::VARCHAR),
    ("tier", Type::VARCHAR),
];

impl TableFunction for Store {
    const NAME: &'static str = "lazycogs_store";
    type Bind = Vec<Opening>;
    type Global = Once;
    type Local = ();

    fn parameters() -> Vec<Type> {
        vec![Type::ANY]
    }

    fn named_parameters() -> Vec<(&'static str, Type)> {
        arguments::of_archive()
    }

    fn bind(info: &BindInfo) -> Result<Vec<Opening>> {
        let archive = arguments::archive(info)?;
        let hrefs = (archive.href_replace.as_ref(), archive.items_base.as_deref());
        let found = openings(archive.selection, archive.store, hrefs, archive.asset.as_deref())?;
        for (name, column) in &COLUMNS {
            info.add_column(name, column);
        }
        info.set_cardinality(found.len() as u64, true);
        Ok(found)
    }

    fn init(found: &Vec<Opening>, info: &InitInfo) -> Result<Once> {
        Ok(Once::new(info, found.iter().map(cells).collect()))
    }

    fn scan(_: &Vec<Opening>, global: &Once, _: &mut (), output: &mut Chunk) -> Result<()> {
        // SAFETY: `cells` gives the columns of COLUMNS in their order and types.
        unsafe { global.emit(output) };
        Ok(())
    }
}

fn cells(opening: &Opening) -> Vec<Cell> {
    let config = opening.config.as_deref();
    let pays = config.and_then(|config| config.requester_pays());
    let mut cells: Vec<Cell> = vec![
        opening.item.clone().into(),
        opening.asset.clone().into(),
        opening.href.clone().into(),
        opening.access.into(),
        config.map(|config| config.address.service.name()).into(),
        config.map(|config| config.address.bucket.clone()).into(),
        opening.path.clone().into(),
    ];
    for told in [opening.account(), opening.region(), opening.endpoint()] {
        let (value, origin) = told.unzip();
        cells.extend([value.into(), origin.into()]);
    }
    let (kind, origin) = opening.credentials.clone().unzip();
    cells.extend([
        pays.map(|(pays, _)| pays).into(),
        pays.map(|(_, origin)| origin.to_string()).into(),
        opening.signed.into(),
        kind.into(),
        origin.into(),
        opening.tier.clone().into(),
    ]);
    cells
}
