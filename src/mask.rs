//! Which values of a mask hide what lies under them: clouds, shadows, fill.

use std::fmt;

use crate::error::{Error, Result};
use crate::pixels::{DataType, Pixel};

/// What a mask's values mean. A value hides as soon as one of the conditions says so; NaN always does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rule {
    /// These hide.
    pub values: Option<Vec<f64>>,
    /// All but these hide.
    pub keep: Option<Vec<f64>>,
    /// Numbers of bits, 0 is the lowest: what has any of them set hides.
    pub bits: Option<Vec<u32>>,
    /// What is larger hides.
    pub above: Option<f64>,
    /// What is smaller hides.
    pub below: Option<f64>,
    /// What is that near to a hidden pixel is hidden, too: between centres, in units of the mask's CRS.
    pub grow: f64,
}

impl Rule {
    /// Whether it says of any value that it hides.
    pub fn is_empty(&self) -> bool {
        self.values.is_none()
            && self.keep.is_none()
            && self.bits.is_none()
            && self.above.is_none()
            && self.below.is_none()
    }

    /// # Errors
    /// Bits of numbers that have none, or fewer.
    pub fn check(&self, band: &str, dtype: DataType) -> Result<()> {
        let Some(bits) = &self.bits else { return Ok(()) };
        if dtype.is_float() {
            return Err(Error::Argument(format!(
                "mask_bits: mask_band '{band}' has type {dtype}, whose values have no bits; use mask_above, mask_below or \
                 mask_values"
            )));
        }
        let has = 8 * dtype.size() as u32;
        match bits.iter().find(|bit| **bit >= has) {
            Some(bit) => Err(Error::Argument(format!(
                "mask_bits: mask_band '{band}' has type {dtype}, with bits 0 to {}; there is no bit {bit}",
                has - 1
            ))),
            None => Ok(()),
        }
    }

    /// For each value 1 where it shows, 0 where it hides.
    pub fn visible<S: Pixel>(&self, values: &[S]) -> Vec<u8> {
        let there_are = 1_usize.checked_shl(8 * S::DTYPE.size() as u32).unwrap_or(usize::MAX);
        if S::DTYPE.is_float() || values.len() < there_are {
            return values.iter().map(|value| self.shows(*value)).collect();
        }
        // Fewer values can be than there are: each is judged once.
        let lowest = S::from_f64_saturating(f64::NEG_INFINITY).to_f64();
        let table: Vec<u8> = (0..there_are).map(|i| self.shows(S::from_f64_saturating(lowest + i as f64))).collect();
        values.iter().map(|value| table.get((value.to_f64() - lowest) as usize).copied().unwrap_or(0)).collect()
    }

    fn shows<S: Pixel>(&self, value: S) -> u8 {
        let number = value.to_f64();
        let hides = value.is_nan()
            || self.values.as_ref().is_some_and(|values| values.contains(&number))
            || self.keep.as_ref().is_some_and(|keep| !keep.contains(&number))
            || self.bits.as_ref().is_some_and(|bits| bits.iter().any(|bit| has_bit(value, *bit)))
            || self.above.is_some_and(|above| number > above)
            || self.below.is_some_and(|below| number < below);
        u8::from(!hides)
    }
}

/// Whether an integer has a bit, as its two's complement stores it.
fn has_bit<S: Pixel>(value: S, bit: u32) -> bool {
    // The lowest byte comes first on every platform that DuckDB ships for.
    bytemuck::bytes_of(&value).get(bit as usize / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

/// As the arguments that make it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (name, list) in [("mask_values", &self.values), ("mask_keep", &self.keep)] {
            parts.extend(list.as_ref().map(|list| format!("{name} := {list:?}")));
        }
        parts.extend(self.bits.as_ref().map(|bits| format!("mask_bits := {bits:?}")));
        for (name, limit) in [("mask_above", self.above), ("mask_below", self.below)] {
            parts.extend(limit.map(|limit| format!("{name} := {limit}")));
        }
        if self.grow > 0.0 {
            parts.push(format!("mask_grow := {}", self.grow));
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule::default()
    }

    #[test]
    fn each_condition_hides_by_itself() {
        let scl = [0_u8, 4, 8, 9];
        assert_eq!(Rule { values: Some(vec![0.0, 8.0, 9.0]), ..rule() }.visible(&scl), [0, 1, 0, 0]);
        assert_eq!(Rule { keep: Some(vec![4.0, 8.0]), ..rule() }.visible(&scl), [0, 1, 1, 0]);
        assert_eq!(Rule { above: Some(8.0), ..rule() }.visible(&scl), [1, 1, 1, 0], "8 is not above 8");
        assert_eq!(Rule { below: Some(4.0), ..rule() }.visible(&scl), [0, 1, 1, 1]);
        let both = Rule { values: Some(vec![9.0]), keep: Some(vec![4.0, 9.0]), ..rule() };
        assert_eq!(both.visible(&scl), [0, 1, 0, 0]);
        assert_eq!(Rule { above: Some(40.0), ..rule() }.visible(&[f32::NAN, 39.5, 40.5]), [0, 1, 0]);
    }

    #[test]
    fn bits_are_those_of_the_stored_number() {
        let clouds = Rule { bits: Some(vec![1, 3, 4]), ..rule() };
        assert_eq!(clouds.visible(&[21824_u16, 22280, 1 << 1, 1 << 3, 1 << 4, 1 << 5, 0]), [1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(Rule { bits: Some(vec![15]), ..rule() }.visible(&[-1_i16, 1]), [0, 1]);
        assert_eq!(Rule { bits: Some(vec![63]), ..rule() }.visible(&[1_u64 << 63, 1 << 62]), [0, 1]);
        let check = |bits: Vec<u32>, dtype| Rule { bits: Some(bits), ..rule() }.check("qa", dtype);
        assert_eq!(check(vec![15], DataType::UInt16), Ok(()));
        assert!(check(vec![16], DataType::UInt16).unwrap_err().to_string().contains("bits 0 to 15"));
        assert!(check(vec![0], DataType::Float32).unwrap_err().to_string().contains("no bits"));
    }

    #[test]
    fn a_table_says_the_same_as_each_value() {
        let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let rule = Rule { values: Some(vec![-5.0, 7.0]), bits: Some(vec![9]), above: Some(30_000.0), ..rule() };
        let one_by_one: Vec<u8> = all.iter().flat_map(|value| rule.visible(&[*value])).collect();
        assert_eq!(rule.visible(&all), one_by_one);
    }
}
