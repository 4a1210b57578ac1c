//! Pixel values: their types, and typed buffers of them.

use std::fmt;

use crate::error::{Error, Result};

/// The type of one pixel value, named as numpy names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    UInt8,
    Int8,
    UInt16,
    Int16,
    UInt32,
    Int32,
    UInt64,
    Int64,
    Float32,
    Float64,
}

/// Runs `$body` with `$T` standing for the Rust type of a [`DataType`].
#[macro_export]
macro_rules! with_type {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::pixels::DataType::UInt8 => {
                type $T = u8;
                $body
            }
            $crate::pixels::DataType::Int8 => {
                type $T = i8;
                $body
            }
            $crate::pixels::DataType::UInt16 => {
                type $T = u16;
                $body
            }
            $crate::pixels::DataType::Int16 => {
                type $T = i16;
                $body
            }
            $crate::pixels::DataType::UInt32 => {
                type $T = u32;
                $body
            }
            $crate::pixels::DataType::Int32 => {
                type $T = i32;
                $body
            }
            $crate::pixels::DataType::UInt64 => {
                type $T = u64;
                $body
            }
            $crate::pixels::DataType::Int64 => {
                type $T = i64;
                $body
            }
            $crate::pixels::DataType::Float32 => {
                type $T = f32;
                $body
            }
            $crate::pixels::DataType::Float64 => {
                type $T = f64;
                $body
            }
        }
    };
}

impl DataType {
    pub const ALL: [DataType; 10] = [
        DataType::UInt8,
        DataType::Int8,
        DataType::UInt16,
        DataType::Int16,
        DataType::UInt32,
        DataType::Int32,
        DataType::UInt64,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
    ];

    /// numpy's name: `uint8` ... `float64`.
    pub fn name(self) -> &'static str {
        match self {
            DataType::UInt8 => "uint8",
            DataType::Int8 => "int8",
            DataType::UInt16 => "uint16",
            DataType::Int16 => "int16",
            DataType::UInt32 => "uint32",
            DataType::Int32 => "int32",
            DataType::UInt64 => "uint64",
            DataType::Int64 => "int64",
            DataType::Float32 => "float32",
            DataType::Float64 => "float64",
        }
    }

    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|d| d.name()).collect();
            Error::Argument(format!("unknown dtype '{name}'; use one of {}", names.join(", ")))
        })
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        with_type!(self, T => size_of::<T>())
    }

    pub fn is_float(self) -> bool {
        matches!(self, DataType::Float32 | DataType::Float64)
    }

    pub fn is_signed_integer(self) -> bool {
        matches!(self, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
    }

    /// The smallest type that holds every value of both (DESIGN 2.8): two integers of mixed sign take the next wider
    /// signed type, anything with a float becomes a float.
    ///
    /// # Errors
    /// `uint64` with a signed integer: no type holds both.
    pub fn promote(self, other: DataType) -> Result<DataType> {
        use DataType::*;
        if self == other {
            return Ok(self);
        }
        if self.is_float() || other.is_float() {
            let wide = |d: DataType| d == Float64 || (!d.is_float() && d.size() >= 4);
            return Ok(if wide(self) || wide(other) { Float64 } else { Float32 });
        }
        if self.is_signed_integer() == other.is_signed_integer() {
            return Ok(if self.size() >= other.size() { self } else { other });
        }
        let (signed, unsigned) = if self.is_signed_integer() { (self, other) } else { (other, self) };
        match signed.size().max(unsigned.size() * 2) {
            2 => Ok(Int16),
            4 => Ok(Int32),
            8 => Ok(Int64),
            _ => Err(Error::Argument(format!(
                "no integer type holds both {self} and {other}; pass dtype := 'float64' (or 'int64' if the values fit)"
            ))),
        }
    }

    /// Whether every value of `self` is a value of `to`.
    pub fn fits_in(self, to: DataType) -> bool {
        self.promote(to).is_ok_and(|p| p == to)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is a pixel value.
pub trait Pixel: bytemuck::Pod + PartialEq + PartialOrd + Default + Send + Sync + 'static {
    const DTYPE: DataType;
    fn to_f64(self) -> f64;
    /// The nearest value of this type; saturates, never wraps. NaN becomes 0 in an integer type.
    fn from_f64_saturating(value: f64) -> Self;
    /// `value` if this type holds it exactly (NaN and infinities only in floats; a float32 nodata such as -3.4e38 given
    /// in decimal counts as exact when it rounds to this value).
    fn from_f64_exact(value: f64) -> Option<Self>;
    fn is_nan(self) -> bool;
    fn slice(pixels: &Pixels) -> Option<&[Self]>;
    fn wrap(values: Vec<Self>) -> Pixels;
    /// The buffer itself, if it is of this type.
    fn unwrap(pixels: Pixels) -> Option<Vec<Self>>;
}

macro_rules! impl_pixel {
    ($($T:ty, $variant:ident, $exact:expr, $nan:expr;)*) => {$(
        impl Pixel for $T {
            const DTYPE: DataType = DataType::$variant;
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn from_f64_saturating(value: f64) -> Self {
                value as $T
            }
            fn from_f64_exact(value: f64) -> Option<Self> {
                let exact: fn(f64) -> Option<$T> = $exact;
                exact(value)
            }
            fn is_nan(self) -> bool {
                let nan: fn($T) -> bool = $nan;
                nan(self)
            }
            fn slice(pixels: &Pixels) -> Option<&[Self]> {
                match pixels {
                    Pixels::$variant(values) => Some(values),
                    _ => None,
                }
            }
            fn wrap(values: Vec<Self>) -> Pixels {
                Pixels::$variant(values)
            }
            fn unwrap(pixels: Pixels) -> Option<Vec<Self>> {
                match pixels {
                    Pixels::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    )*};
}

/// A buffer of pixel values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    UInt8(Vec<u8>),
    Int8(Vec<i8>),
    UInt16(Vec<u16>),
    Int16(Vec<i16>),
    UInt32(Vec<u32>),
    Int32(Vec<i32>),
    UInt64(Vec<u64>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
}

impl_pixel! {
    u8, UInt8, |v| (v as u8 as f64 == v).then_some(v as u8), |_| false;
    i8, Int8, |v| (v as i8 as f64 == v).then_some(v as i8), |_| false;
    u16, UInt16, |v| (v as u16 as f64 == v).then_some(v as u16), |_| false;
    i16, Int16, |v| (v as i16 as f64 == v).then_some(v as i16), |_| false;
    u32, UInt32, |v| (v as u32 as f64 == v).then_some(v as u32), |_| false;
    i32, Int32, |v| (v as i32 as f64 == v).then_some(v as i32), |_| false;
    u64, UInt64, |v| (v as u64 as f64 == v).then_some(v as u64), |_| false;
    i64, Int64, |v| (v as i64 as f64 == v).then_some(v as i64), |_| false;
    f32, Float32, |v| (v.is_nan() || v.is_infinite() || (v as f32).is_finite()).then_some(v as f32), |v| v.is_nan();
    f64, Float64, Some, |v| v.is_nan();
}

/// Runs `$body` with `$values` bound to the `Vec` inside a [`Pixels`].
#[macro_export]
macro_rules! with_pixels {
    ($pixels:expr, $values:ident => $body:expr) => {
        match $pixels {
            $crate::pixels::Pixels::UInt8($values) => $body,
            $crate::pixels::Pixels::Int8($values) => $body,
            $crate::pixels::Pixels::UInt16($values) => $body,
            $crate::pixels::Pixels::Int16($values) => $body,
            $crate::pixels::Pixels::UInt32($values) => $body,
            $crate::pixels::Pixels::Int32($values) => $body,
            $crate::pixels::Pixels::UInt64($values) => $body,
            $crate::pixels::Pixels::Int64($values) => $body,
            $crate::pixels::Pixels::Float32($values) => $body,
            $crate::pixels::Pixels::Float64($values) => $body,
        }
    };
}

impl Pixels {
    /// `len` zeros.
    pub fn zeros(dtype: DataType, len: usize) -> Self {
        with_type!(dtype, T => T::wrap(vec![T::default(); len]))
    }

    pub fn dtype(&self) -> DataType {
        match self {
            Pixels::UInt8(_) => DataType::UInt8,
            Pixels::Int8(_) => DataType::Int8,
            Pixels::UInt16(_) => DataType::UInt16,
            Pixels::Int16(_) => DataType::Int16,
            Pixels::UInt32(_) => DataType::UInt32,
            Pixels::Int32(_) => DataType::Int32,
            Pixels::UInt64(_) => DataType::UInt64,
            Pixels::Int64(_) => DataType::Int64,
            Pixels::Float32(_) => DataType::Float32,
            Pixels::Float64(_) => DataType::Float64,
        }
    }

    pub fn len(&self) -> usize {
        with_pixels!(self, v => v.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values, which are none in `self` from then on.
    pub fn take(&mut self) -> Pixels {
        std::mem::replace(self, Pixels::UInt8(Vec::new()))
    }

    /// 1 for each value that is not zero.
    pub fn nonzero(&self) -> Vec<u8> {
        fn marks<T: Pixel>(values: &[T]) -> Vec<u8> {
            values.iter().map(|v| u8::from(*v != T::default())).collect()
        }
        with_pixels!(self, v => marks(v))
    }

    /// The values as bytes in the machine's order, which is little-endian on every platform DuckDB ships for.
    pub fn as_bytes(&self) -> &[u8] {
        with_pixels!(self, v => bytemuck::cast_slice(v))
    }

    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        with_pixels!(self, v => bytemuck::cast_slice_mut(v))
    }
}
