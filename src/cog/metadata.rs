//! GDAL's own tags: nodata, scale and offset.

use crate::pixels::{DataType, Pixel};

/// The value that marks invalid pixels, exact in the type of the pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nodata {
    Unsigned(u64),
    Signed(i64),
    /// Of `float32` and `float64` pixels; may be NaN, in which case it equals every NaN.
    Float(f64),
}

impl Nodata {
    /// Reads the text of GDAL_NODATA, or of a SQL argument, in the terms of `dtype`. `None` if it is no number, or none that
    /// `dtype` holds: no pixel can equal it. A decimal that rounds to a `float32` is that `float32`.
    pub fn parse(text: &str, dtype: DataType) -> Option<Nodata> {
        let text = text.split_whitespace().next()?;
        if let (false, Ok(exact)) = (dtype.is_float(), text.parse::<i128>()) {
            return Self::from_integer(exact, dtype);
        }
        let value = parse_float(text)?;
        match dtype {
            DataType::Float32 => f32::from_f64_exact(value).map(|v| Nodata::Float(f64::from(v))),
            DataType::Float64 => Some(Nodata::Float(value)),
            // Beyond 2^63 the cast saturates; from_integer refuses what is out of range for the type.
            _ => (value.fract() == 0.0).then_some(value as i128).and_then(|v| Self::from_integer(v, dtype)),
        }
    }

    fn from_integer(value: i128, dtype: DataType) -> Option<Nodata> {
        let signed = dtype.is_signed_integer();
        let bits = dtype.size() as u32 * 8 - u32::from(signed);
        let max = (1i128 << bits) - 1;
        let min = if signed { -max - 1 } else { 0 };
        if value < min || value > max {
            return None;
        }
        match signed {
            true => i64::try_from(value).ok().map(Nodata::Signed),
            false => u64::try_from(value).ok().map(Nodata::Unsigned),
        }
    }

    /// The value as a pixel of type `T`; `None` if `T` does not hold it.
    pub fn cast<T: Pixel>(self) -> Option<T> {
        match (self, T::DTYPE) {
            // 64-bit integers do not pass through a double unharmed.
            (Nodata::Unsigned(v), DataType::UInt64) => bytemuck::try_cast(v).ok(),
            (Nodata::Signed(v), DataType::Int64) => bytemuck::try_cast(v).ok(),
            (Nodata::Unsigned(v), _) => T::from_f64_exact(v as f64),
            (Nodata::Signed(v), _) => T::from_f64_exact(v as f64),
            (Nodata::Float(v), _) => T::from_f64_exact(v),
        }
    }

    /// Whether a pixel is invalid. Floating-point numbers need not match to the last bit: as in GDAL (`ARE_REAL_EQUAL`),
    /// five parts in ten million may be missing, since nodata values often pass through a `float32` or a short decimal.
    pub fn matches<T: Pixel>(self, pixel: T) -> bool {
        let Nodata::Float(nodata) = self else { return self.cast() == Some(pixel) };
        let value = pixel.to_f64();
        let tolerance = 2.0 * f64::from(f32::EPSILON) * (value + nodata).abs();
        value == nodata || (value - nodata).abs() < tolerance || (value.is_nan() && nodata.is_nan())
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        match self {
            Nodata::Unsigned(v) => v as f64,
            Nodata::Signed(v) => v as f64,
            Nodata::Float(v) => v,
        }
    }
}

/// Decimal numbers, and the infinities and NaNs that C libraries have printed over the years.
fn parse_float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "-1.#ind" | "1.#qnan" | "-1.#qnan" | "1.#snan" => Some(f64::NAN),
        "1.#inf" => Some(f64::INFINITY),
        "-1.#inf" => Some(f64::NEG_INFINITY),
        nan if nan.trim_start_matches(['+', '-']).starts_with("nan") => Some(f64::NAN),
        number => number.parse().ok(),
    }
}

/// Per sample, the scale and offset that a GDAL_METADATA document declares in its `role="scale"` and `role="offset"` items.
/// A sample with only one of them gets the neutral value for the other.
pub fn scale_offset(xml: &str, samples: u16) -> Vec<Option<(f64, f64)>> {
    let mut found = vec![None; usize::from(samples)];
    for (sample, role, text) in items(xml) {
        // What is no number says nothing, as in GDAL_NODATA.
        let value = parse_float(text).filter(|value| value.is_finite());
        let (Some(value), Some(slot)) = (value, found.get_mut(sample)) else { continue };
        match role {
            "scale" => slot.get_or_insert((1.0, 0.0)).0 = value,
            "offset" => slot.get_or_insert((1.0, 0.0)).1 = value,
            _ => {}
        }
    }
    found
}

/// What a GDAL_METADATA document says a sample shows: `Alpha`, `Red`, `Undefined` ... GDAL writes it where the TIFF's own tags
/// would say something else.
pub fn colour(xml: &str, sample: u16) -> Option<&str> {
    items(xml).find(|(at, role, _)| *at == usize::from(sample) && *role == "colorinterp").map(|(_, _, text)| text)
}

/// Per sample, its description in a GDAL_METADATA document.
pub fn descriptions(xml: &str, samples: u16) -> Vec<Option<String>> {
    let mut found = vec![None; usize::from(samples)];
    for (sample, role, text) in items(xml) {
        let (Some(slot), "description") = (found.get_mut(sample), role) else { continue };
        let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
        let once = |text: String| plain.iter().fold(text, |text, (escaped, sign)| text.replace(escaped, sign));
        // GDAL escapes what it has escaped already.
        *slot = Some(once(once(text.to_owned())));
    }
    found
}

/// Sample, role and text of those items of a GDAL_METADATA document that have all three.
fn items(xml: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    xml.split("<Item").skip(1).filter_map(|item| {
        let (attributes, rest) = item.split_once('>')?;
        let (text, _) = rest.split_once('<')?;
        let sample = attribute(attributes, "sample")?.parse().ok()?;
        Some((sample, attribute(attributes, "role")?, text.trim()))
    })
}

/// The value of `name="..."` in the inside of an XML tag.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, remainder) = after[1..].split_once(quote)?;
        if key.trim() == name {
            return Some(value);
        }
        rest = remainder;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodata_is_exact_in_the_type_of_the_pixels() {
        let parse = |text, dtype| Nodata::parse(text, dtype);
        assert_eq!(parse("255", DataType::UInt8), Some(Nodata::Unsigned(255)));
        assert_eq!(parse("255.0", DataType::UInt8), Some(Nodata::Unsigned(255)));
        assert_eq!(parse("-9999", DataType::UInt8), None);
        assert_eq!(parse("0.5", DataType::Int16), None);
        assert_eq!(parse("nan", DataType::Int16), None);
        assert_eq!(parse("1e3", DataType::Int16), Some(Nodata::Signed(1000)));
        assert_eq!(parse("18446744073709551615", DataType::UInt64), Some(Nodata::Unsigned(u64::MAX)));
        assert_eq!(parse("18446744073709551616", DataType::UInt64), None);
        assert_eq!(parse("-9223372036854775808", DataType::Int64), Some(Nodata::Signed(i64::MIN)));
        assert_eq!(parse("9007199254740993", DataType::Int64), Some(Nodata::Signed(9007199254740993)));
        assert_eq!(parse("9007199254740993", DataType::Int64).and_then(Nodata::cast::<i64>), Some(9007199254740993));
        assert_eq!(parse("-3.4028234663852886e+38", DataType::Float32), Some(Nodata::Float(f64::from(f32::MIN))));
        assert_eq!(parse("-3.4028234663852886e+38", DataType::Float32).and_then(Nodata::cast::<f32>), Some(f32::MIN));
        assert_eq!(parse("1e300", DataType::Float32), None);
        assert_eq!(parse(" 0 0 0", DataType::UInt8), Some(Nodata::Unsigned(0)));
        assert_eq!(parse("", DataType::UInt8), None);
        assert_eq!(parse("none", DataType::UInt8), None);
        for nan in ["nan", "-nan", "NaN", "nan(0x1)", "-1.#IND"] {
            assert!(matches!(parse(nan, DataType::Float32), Some(Nodata::Float(v)) if v.is_nan()), "{nan}");
        }
    }

    #[test]
    fn a_float_matches_nodata_that_lost_digits() {
        let nodata = Nodata::Float(-1.2676506e30);
        assert!(nodata.matches(-1.2676506002282294e30));
        assert!(nodata.matches(-1.2676506e30f32));
        assert!(!nodata.matches(-1.26766e30));
        assert!(!nodata.matches(f64::NAN) && !nodata.matches(f64::NEG_INFINITY));
        assert!(Nodata::Float(f64::NAN).matches(f32::NAN) && !Nodata::Float(f64::NAN).matches(0f32));
        assert!(Nodata::Float(f64::INFINITY).matches(f32::INFINITY) && !Nodata::Float(f64::INFINITY).matches(1f32));
        assert!(Nodata::Float(0.0).matches(-0.0) && !Nodata::Float(0.0).matches(1e-30));
        assert!(Nodata::Signed(-1).matches(-1i16) && !Nodata::Unsigned(255).matches(254u8));
    }

    #[test]
    fn scale_and_offset_belong_to_their_sample() {
        let xml = r#"<GDALMetadata>
            <Item name="OFFSET" sample="0" role="offset">-0.1</Item>
            <Item name="SCALE" sample='0' role="scale">0.0001</Item>
            <Item name="SCALE" sample="2" role="scale">2</Item>
            <Item name="a > b">3</Item><Item name="SCALE" sample="9" role="scale">7</Item>
            <Item name="DESCRIPTION" sample="1" role="description">red</Item></GDALMetadata>"#;
        assert_eq!(scale_offset(xml, 3), [Some((0.0001, -0.1)), None, Some((2.0, 0.0))]);
        assert_eq!(colour(r#"<Item name="COLORINTERP" sample="1" role="colorinterp">Alpha</Item>"#, 1), Some("Alpha"));
        assert_eq!(colour(xml, 1), None);
        assert_eq!(descriptions(xml, 3), [None, Some("red".to_owned()), None]);
        let escaped = "<Item sample=\"0\" role=\"description\">a &amp;amp; b &lt; c</Item>";
        assert_eq!(descriptions(escaped, 1), [Some("a & b < c".to_owned())]);
        assert_eq!(scale_offset("<Item sample=\"0\" role=\"scale\"", 1), [None]);
        assert_eq!(scale_offset("<Item sample=\"0 role=scale>1<", 1), [None]);
    }
}
