//! How the assets of an archive would be opened, without opening them.

use std::sync::Arc;

use regex::Regex;

use super::assets::located;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::items::{FirstAsset, Memo, Selection, default_bands};
use crate::store::config::Setting;
use crate::store::{Address, Config, Location, Options, Route, Session, shown};

/// One asset's way to its bytes. Holds nothing secret but in `config`.
pub struct Opening {
    pub item: String,
    pub asset: String,
    /// Without name, password and query.
    pub href: String,
    /// `file`, `http`, `http, then signed`, `store` or `duckdb`.
    pub access: &'static str,
    /// The object store that the href belongs to.
    pub config: Option<Arc<Config>>,
    /// The key in the bucket, else the path of the file or URL.
    pub path: String,
    pub signed: bool,
    /// What signs, or would, where the request alone is refused; and where it comes from.
    pub credentials: Option<(String, String)>,
    pub tier: Option<String>,
}

/// What is replaced in hrefs, and what relative ones belong to if not to the file of the item.
type Hrefs<'a> = (Option<&'a (Regex, String)>, Option<&'a str>);

/// The assets of the first item of the archive, one for each store; `asset` alone if it is given.
///
/// # Errors
/// What is wrong with the items; an archive without items; an asset that the item lacks; an href that cannot be opened.
pub fn openings(
    mut selection: Selection,
    options: Options,
    (replace, base): Hrefs,
    asset: Option<&str>,
) -> Result<Vec<Opening>> {
    let session = Session::new(options);
    selection.source = selection.source.reachable(&session, selection.threads)?;
    selection.memo = Memo::of(&selection);
    let first = interrupt::apart(move || selection.first())?
        .ok_or_else(|| Error::Items("there is no item with a place on the Earth".into()))?;
    let keys = match asset {
        Some(key) => vec![key.to_owned()],
        None => default_bands(&first),
    };
    let mut found: Vec<Opening> = Vec::new();
    for key in keys {
        let Some(asset) = first.assets.iter().find(|asset| asset.key == key) else {
            let there: Vec<&str> = first.assets.iter().map(|asset| asset.key.as_str()).collect();
            return Err(Error::Argument(format!(
                "item '{}' has no asset '{key}'; there are: {}",
                first.id,
                there.join(", ")
            )));
        };
        let context = || format!("item '{}' asset '{key}'", first.id);
        let opening = opening(&session, &first.id, asset, (replace, base)).map_err(|e| e.within(context()))?;
        if !found.iter().any(|other| other.place() == opening.place()) {
            found.push(opening);
        }
    }
    Ok(found)
}

fn opening(session: &Session, item: &str, asset: &FirstAsset, (replace, base): Hrefs) -> Result<Opening> {
    let hints = asset.asset.store.as_deref();
    let location = located(session.options(), replace, base, &asset.asset)?;
    let object = session.object(location.clone(), hints)?;
    let config = match object.route() {
        // Whatever it takes is not our business.
        Route::Files(_) => None,
        _ => session.store_of(&location, hints)?,
    };
    let (access, signed) = match object.route() {
        Route::Files(_) => ("duckdb", false),
        Route::File => ("file", false),
        Route::Http(None) => ("http", false),
        Route::Http(Some(_)) => ("http, then signed", false),
        Route::Store(config) => ("store", config.credentials().is_some()),
    };
    let credentials = config.as_ref().and_then(|config| config.credentials());
    let credentials = credentials.map(|found| (found.kind.to_owned(), found.origin.to_string()));
    let mut opening = Opening {
        item: item.to_owned(),
        asset: asset.key.clone(),
        href: location.to_string(),
        access,
        path: match (&location, &config) {
            // A key may look as if a signature stood behind it.
            (_, Some(config)) => shown::path(config.address.key.as_ref()),
            (Location::File(_), _) => location.to_string(),
            _ => location.path().into_owned(),
        },
        config,
        signed,
        credentials,
        tier: hints.and_then(|hints| hints.tier.clone()),
    };
    if let (Location::Http(url), "http") = (&location, access) {
        let query = url.query().unwrap_or_default().to_ascii_lowercase();
        let own = match () {
            () if query.split('&').any(|pair| pair.contains("signature=") || pair.starts_with("sig=")) => "signature",
            () if !url.username().is_empty() => "name and password",
            () => return Ok(opening),
        };
        opening.signed = true;
        opening.credentials = Some((own.to_owned(), "href".to_owned()));
    }
    Ok(opening)
}

impl Opening {
    /// What two assets of one store have in common.
    fn place(&self) -> (String, &'static str, Option<&(String, String)>, Vec<String>) {
        let server = match (self.config.as_deref(), url::Url::parse(&self.href)) {
            (Some(Config { address: Address { service, bucket, .. }, .. }), _) => format!("{service:?} {bucket}"),
            (None, Ok(url)) => url.origin().ascii_serialization(),
            (None, Err(_)) => String::new(),
        };
        let settings = [self.account(), self.region(), self.endpoint()];
        let settings =
            settings.into_iter().map(|setting| setting.map(|(value, _)| value).unwrap_or_default()).collect();
        (server, self.access, self.credentials.as_ref(), settings)
    }

    fn told(setting: Option<&Setting>) -> Option<(String, String)> {
        setting.map(|setting| (setting.value.clone(), setting.origin.to_string()))
    }

    /// Value and origin.
    pub fn account(&self) -> Option<(String, String)> {
        Self::told(self.config.as_ref()?.account())
    }

    /// Value and origin.
    pub fn region(&self) -> Option<(String, String)> {
        Self::told(self.config.as_ref()?.region())
    }

    /// Value, without name and password, and origin.
    pub fn endpoint(&self) -> Option<(String, String)> {
        Self::told(self.config.as_ref()?.endpoint()).map(|(url, origin)| (shown::place(&url), origin))
    }
}
