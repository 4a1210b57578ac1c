//! What the name of a band means: an asset, a band of it by number or by name, or the one band that is called so.

use crate::error::{Error, Result};
use crate::items::{FirstItem, Named};

/// Which band of an asset.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// The only one.
    Only,
    /// Counted from 0.
    Number(u16),
    /// By a name that the item or the file gives it.
    Named(String),
}

/// What can be asked about an archive.
pub trait Archive {
    /// The first item, with the assets that the names may mean.
    fn first(&self) -> &FirstItem;
    /// Every asset key of the archive.
    fn keys(&self) -> Result<Vec<String>>;
    /// The first item with all of its assets.
    fn whole(&self) -> Result<FirstItem>;
}

/// The asset keys that names of bands may mean: the whole name, and what stands before each colon.
pub fn keys_in<'n>(names: impl Iterator<Item = &'n String>) -> Vec<String> {
    names.flat_map(|name| splits(name).map(|(key, _)| key.to_owned()).chain([name.clone()])).collect()
}

/// `name` cut in two at each of its colons, the last one first.
fn splits(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let cut = |(at, _): (usize, &str)| Some((name.get(..at)?, name.get(at + 1..)?));
    name.rmatch_indices(':').filter_map(cut).filter(|(key, band)| !key.is_empty() && !band.is_empty())
}

/// An asset and one of its bands: `'visual:2'` is the second band of `visual`, `'analytic:red'` the one that is called red,
/// unless an asset is named so; and `'red'` the only band of the archive with that common name, where no asset has that key.
///
/// # Errors
/// A band number of 0; a common name that several bands have.
pub fn meaning(name: &str, archive: &impl Archive) -> Result<(String, Sample)> {
    let is_there = |key: &str| archive.first().assets.iter().any(|asset| asset.key == key);
    if is_there(name) {
        return Ok((name.to_owned(), Sample::Only));
    }
    if let Some((key, number)) = splits(name).next() {
        match number.parse::<u16>() {
            Ok(0) => return Err(Error::Argument(format!("band '{name}': bands of an asset are counted from 1"))),
            Ok(n) => return Ok((key.to_owned(), Sample::Number(n - 1))),
            Err(_) => {}
        }
    }
    if let Some((key, band)) = splits(name).find(|(key, _)| is_there(key)) {
        return Ok((key.to_owned(), Sample::Named(band.to_owned())));
    }
    let known = archive.keys()?;
    if known.iter().any(|key| key == name) {
        return Ok((name.to_owned(), Sample::Only));
    }
    if let Some((key, band)) = splits(name).find(|(key, _)| known.iter().any(|known| known == key)) {
        return Ok((key.to_owned(), Sample::Named(band.to_owned())));
    }
    let whole = archive.whole()?;
    let mut called = Vec::new();
    for asset in &whole.assets {
        for (index, band) in asset.bands.iter().enumerate() {
            if band.common_name.as_deref() == Some(name) {
                let sample = if asset.bands.len() == 1 { Sample::Only } else { Sample::Number(index as u16) };
                called.push((asset.key.clone(), sample));
            }
        }
    }
    match called.as_slice() {
        [] => Ok((name.to_owned(), Sample::Only)),
        [one] => Ok(one.clone()),
        _ => Err(Error::Argument(format!(
            "band '{name}' is the common name of several bands of item '{}'; choose one of {}",
            whole.id,
            called.iter().map(shown).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn shown((asset, sample): &(String, Sample)) -> String {
    match sample {
        Sample::Number(n) => format!("'{asset}:{}'", n + 1),
        Sample::Only | Sample::Named(_) => format!("'{asset}'"),
    }
}

/// The number of a band, by what the item calls the bands of the asset, else by the descriptions in the file.
///
/// # Errors
/// No band, or several, of that name; the message lists those there are.
pub fn number(asset: &str, sample: Sample, bands: &[Named], descriptions: &[Option<String>]) -> Result<Option<u16>> {
    let wanted = match sample {
        Sample::Only => return Ok(None),
        Sample::Number(n) => return Ok(Some(n)),
        Sample::Named(name) => name,
    };
    let columns: [Vec<Option<&str>>; 3] = [
        bands.iter().map(|band| band.name.as_deref()).collect(),
        bands.iter().map(|band| band.common_name.as_deref()).collect(),
        descriptions.iter().map(Option::as_deref).collect(),
    ];
    for names in &columns {
        let hits: Vec<usize> = (0..names.len()).filter(|i| names.get(*i) == Some(&Some(wanted.as_str()))).collect();
        match hits.as_slice() {
            [] => {}
            [one] => return Ok(Some(*one as u16)),
            _ => {
                let choices: Vec<String> = hits.iter().map(|n| format!("'{asset}:{}'", n + 1)).collect();
                return Err(Error::Argument(format!(
                    "asset '{asset}' has several bands '{wanted}'; choose one of {}",
                    choices.join(", ")
                )));
            }
        }
    }
    let mut known: Vec<String> = Vec::new();
    for name in columns.iter().flatten().flatten() {
        let name = format!("'{asset}:{name}'");
        if !known.contains(&name) {
            known.push(name);
        }
    }
    let there =
        if known.is_empty() { "they have no names".to_owned() } else { format!("there are {}", known.join(", ")) };
    Err(Error::Argument(format!("asset '{asset}' has no band '{wanted}'; {there}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::{Asset, FirstAsset};

    struct Two(FirstItem);

    impl Archive for Two {
        fn first(&self) -> &FirstItem {
            &self.0
        }

        fn keys(&self) -> Result<Vec<String>> {
            Ok(vec!["late".into(), "late:b".into()])
        }

        fn whole(&self) -> Result<FirstItem> {
            Ok(self.0.clone())
        }
    }

    fn named(name: &str, common: &str) -> Named {
        Named { name: Some(name.into()), common_name: Some(common.into()) }
    }

    fn archive() -> Two {
        let asset = |key: &str, bands: Vec<Named>| FirstAsset {
            key: key.into(),
            roles: vec![],
            media_type: None,
            bands,
            asset: Asset::default(),
        };
        let analytic = asset("analytic", vec![named("1", "red"), named("b:2", "nir")]);
        let assets = vec![
            analytic,
            asset("B03", vec![named("B03", "green")]),
            asset("a:b", vec![]),
            asset("tci", vec![named("x", "nir")]),
        ];
        Two(FirstItem { id: "first".into(), place: None, assets })
    }

    #[test]
    fn names_mean_assets_then_numbers_then_names_then_common_names() {
        let meaning = |name: &str| meaning(name, &archive());
        let of = |key: &str, sample: Sample| Ok((key.to_owned(), sample));
        assert_eq!(meaning("a:b"), of("a:b", Sample::Only));
        assert_eq!(meaning("analytic:2"), of("analytic", Sample::Number(1)));
        assert_eq!(meaning("analytic:red"), of("analytic", Sample::Named("red".into())));
        assert_eq!(meaning("analytic:b:2"), of("analytic:b", Sample::Number(1)), "a number is a number");
        assert_eq!(meaning("late"), of("late", Sample::Only));
        assert_eq!(meaning("late:b:x"), of("late:b", Sample::Named("x".into())));
        assert_eq!(meaning("green"), of("B03", Sample::Only));
        assert_eq!(meaning("red"), of("analytic", Sample::Number(0)));
        assert_eq!(meaning("blue"), of("blue", Sample::Only), "which no item has");
        let several = meaning("nir").unwrap_err().to_string();
        assert!(several.contains("'analytic:2', 'tci'"), "{several}");
        assert!(meaning("analytic:0").unwrap_err().to_string().contains("counted from 1"));
        assert_eq!(keys_in(["a:b:c".to_owned()].iter()), ["a:b", "a", "a:b:c"]);
    }

    #[test]
    fn numbers_of_names() {
        let bands = [named("B4", "red"), named("B3", "green"), named("B8", "nir"), named("B8A", "nir")];
        let file = [Some("Red band".to_owned()), None];
        let number = |name: &str| number("x", Sample::Named(name.into()), &bands, &file);
        assert_eq!((number("B3"), number("red"), number("Red band")), (Ok(Some(1)), Ok(Some(0)), Ok(Some(0))));
        assert!(number("nir").unwrap_err().to_string().contains("'x:3', 'x:4'"));
        assert!(number("blue").unwrap_err().to_string().contains("there are 'x:B4'"));
    }
}
