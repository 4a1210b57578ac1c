//! The general-purpose compressions: bytes in, exactly the bytes of a tile out.
//!
//! Decoders that are dear to set up are kept, one per thread.

use std::cell::RefCell;

use lzma_rust2::{Action, Status, XzStream};

use super::lzw;
use crate::error::{Error, Result};

/// LZMA's largest preset has a dictionary of 64 MiB; a stream that asks for more than this is refused.
const LZMA_MEMORY_KIB: u32 = 128 << 10;

/// How the tiles of a level are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
    Lzma,
    Lerc,
    LercDeflate,
    LercZstd,
    Zstd,
    WebP,
}

impl Compression {
    /// From the values of the Compression tag and, for LERC, of its parameter for a compression around it.
    ///
    /// # Errors
    /// `Unsupported`, naming the compression.
    pub fn from_code(code: u16, lerc_inner: u64) -> Result<Compression> {
        let name = match code {
            1 => return Ok(Compression::None),
            5 => return Ok(Compression::Lzw),
            7 => return Ok(Compression::Jpeg),
            8 | 32946 => return Ok(Compression::Deflate),
            32773 => return Ok(Compression::PackBits),
            34925 => return Ok(Compression::Lzma),
            34887 => match lerc_inner {
                0 => return Ok(Compression::Lerc),
                1 => return Ok(Compression::LercDeflate),
                2 => return Ok(Compression::LercZstd),
                other => return Err(Error::Unsupported(format!("LERC inside the unknown compression {other}"))),
            },
            50000 => return Ok(Compression::Zstd),
            50001 => return Ok(Compression::WebP),
            2 | 32771 => "CCITT RLE",
            3 => "CCITT fax 3",
            4 => "CCITT fax 4",
            6 => "old-style JPEG",
            9 | 10 => "JBIG (T.85/T.43)",
            32766 => "NeXT RLE",
            32809 => "ThunderScan",
            32908 | 32909 => "Pixar",
            33003 | 33005 | 34712 => "JPEG 2000",
            34661 => "JBIG",
            34676 | 34677 => "SGI Log",
            34933 | 50002 | 52546 => "JPEG XL",
            _ => "an unknown scheme",
        };
        Err(Error::Unsupported(format!(
            "the TIFF compression {code} ({name}) is not supported; rewrite the file with DEFLATE, ZSTD or LZW"
        )))
    }

    /// libtiff applies predictors to these and ignores the tag elsewhere.
    pub(super) fn takes_predictor(self) -> bool {
        matches!(self, Compression::Lzw | Compression::Deflate | Compression::Zstd | Compression::Lzma)
    }

    /// Whether it knows nothing of pixels: a tile is decoded into its own place.
    pub(super) fn is_of_bytes(self) -> bool {
        self.takes_predictor() || matches!(self, Compression::None | Compression::PackBits)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::None => "uncompressed",
            Compression::Lzw => "LZW",
            Compression::Jpeg => "JPEG",
            Compression::Deflate => "DEFLATE",
            Compression::PackBits => "PackBits",
            Compression::Lzma => "LZMA",
            Compression::Lerc | Compression::LercDeflate | Compression::LercZstd => "LERC",
            Compression::Zstd => "ZSTD",
            Compression::WebP => "WebP",
        }
    }
}

/// The error of a tile whose data are broken.
pub fn corrupt(compression: Compression, why: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("a {} tile is corrupt: {why}", compression.name()))
}

fn too_short(compression: Compression, got: usize, wanted: usize) -> Error {
    corrupt(compression, format_args!("it holds {got} bytes instead of {wanted}"))
}

/// Fills `out` from the general-purpose `compression`; what a stream holds beyond `out` is ignored, as libtiff does.
///
/// # Errors
/// `Corrupt` if the stream is broken or ends before `out` is full.
pub fn decompress(compression: Compression, input: &[u8], out: &mut [u8]) -> Result<()> {
    let written = match compression {
        Compression::None => copy(input, out),
        Compression::Deflate => inflate(input, out)?,
        Compression::Zstd => zstd(input, out)?,
        Compression::Lzw => lzw(input, out)?,
        Compression::PackBits => pack_bits(input, out),
        Compression::Lzma => lzma(input, out)?,
        other => return Err(Error::Unsupported(format!("{} is not a compression of bytes", other.name()))),
    };
    if written < out.len() {
        return Err(too_short(compression, written, out.len()));
    }
    Ok(())
}

fn copy(input: &[u8], out: &mut [u8]) -> usize {
    let len = input.len().min(out.len());
    out[..len].copy_from_slice(&input[..len]);
    len
}

/// Decodes a zlib stream; returns the bytes written.
pub fn inflate(input: &[u8], out: &mut [u8]) -> Result<usize> {
    use libdeflater::{DecompressionError, Decompressor};
    thread_local! {
        static DECODER: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    }
    DECODER.with_borrow_mut(|decoder| match decoder.zlib_decompress(input, out) {
        Ok(written) => Ok(written),
        // libdeflate has filled `out` as far as it goes, but promises nothing of it: decode the whole stream elsewhere.
        Err(DecompressionError::InsufficientSpace) => {
            let mut larger = vec![0; out.len() * 2];
            decoder
                .zlib_decompress(input, &mut larger)
                .map_err(|_| corrupt(Compression::Deflate, "it decodes to far more than the tile"))?;
            Ok(copy(&larger, out))
        }
        Err(DecompressionError::BadData) => Err(corrupt(Compression::Deflate, "the stream is broken")),
    })
}

/// Decodes ZSTD frames; returns the bytes written.
pub fn zstd(input: &[u8], out: &mut [u8]) -> Result<usize> {
    use ::zstd::bulk::Decompressor;
    thread_local! {
        static DECODER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECODER.with_borrow_mut(|slot| {
        let decoder = match slot {
            Some(decoder) => decoder,
            None => slot.insert(Decompressor::new().map_err(|e| corrupt(Compression::Zstd, e))?),
        };
        decoder.decompress_to_buffer(input, out).map_err(|e| corrupt(Compression::Zstd, e))
    })
}

/// Files from before TIFF 6.0 are known as libtiff knows them: by their first code, a clear code (256) in the other bit order.
fn lzw(input: &[u8], out: &mut [u8]) -> Result<usize> {
    let written = match input {
        [0, second, ..] if second & 1 == 1 => lzw::decode::<lzw::Lsb>(input, out),
        _ => lzw::decode::<lzw::Msb>(input, out),
    };
    written.map_err(|why| corrupt(Compression::Lzw, why))
}

/// Apple's run-length scheme, TIFF 6.0 section 9: a control byte `n`, then `n + 1` literal bytes, or one byte to be
/// repeated `257 - n` times.
fn pack_bits(mut input: &[u8], out: &mut [u8]) -> usize {
    let mut written = 0;
    while let [control, rest @ ..] = input {
        let free = &mut out[written..];
        let (run, used) = match (*control, rest) {
            (0..=127, literal) => {
                let run = (usize::from(*control) + 1).min(literal.len());
                let fits = run.min(free.len());
                free[..fits].copy_from_slice(&literal[..fits]);
                (fits, run)
            }
            (128, _) => (0, 0),
            (129..=255, [value, ..]) => {
                let run = (257 - usize::from(*control)).min(free.len());
                free[..run].fill(*value);
                (run, 1)
            }
            (129..=255, []) => break,
        };
        written += run;
        input = &rest[used..];
    }
    written
}

fn lzma(input: &[u8], out: &mut [u8]) -> Result<usize> {
    let mut stream = XzStream::new_mem_limit(false, LZMA_MEMORY_KIB);
    let (mut read, mut written) = (0, 0);
    while written < out.len() {
        let step = stream
            .process(&input[read..], &mut out[written..], Action::Finish)
            .map_err(|e| corrupt(Compression::Lzma, e))?;
        read += step.bytes_consumed;
        written += step.bytes_produced;
        if step.status == Status::StreamEnd || step.bytes_consumed + step.bytes_produced == 0 {
            break;
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use weezl::BitOrder;

    use super::*;

    #[test]
    fn pack_bits_follows_the_example_of_its_inventor() {
        let packed = [0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7, 0xAA];
        let mut out = [0; 24];
        assert_eq!(pack_bits(&packed, &mut out), 24);
        assert_eq!(out[..8], [0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA]);
        assert_eq!(out[8..14], [0xAA, 0xAA, 0x80, 0x00, 0x2A, 0x22]);
        assert!(out[14..].iter().all(|b| *b == 0xAA));
        assert_eq!(pack_bits(&packed[..1], &mut out), 0, "a run without its byte");
        assert_eq!(pack_bits(&[5, 1, 2], &mut out), 2, "fewer literals than promised");
        assert_eq!(pack_bits(&packed, &mut out[..5]), 5, "more than asked for");
    }

    #[test]
    fn both_kinds_of_lzw_decode() {
        let data: Vec<u8> = (0..20_000u32).map(|i| ((i * i) >> 7) as u8).collect();
        for (order, tiff) in [(BitOrder::Msb, true), (BitOrder::Lsb, false)] {
            let mut encoder = match tiff {
                true => weezl::encode::Encoder::with_tiff_size_switch(order, 8),
                false => weezl::encode::Encoder::new(order, 8),
            };
            let packed = encoder.encode(&data).unwrap();
            let mut out = vec![0; data.len()];
            decompress(Compression::Lzw, &packed, &mut out).unwrap();
            assert_eq!(out, data);
            let cut = decompress(Compression::Lzw, &packed[..packed.len() / 2], &mut out);
            assert!(matches!(cut, Err(Error::Corrupt(_))), "{cut:?}");
        }
    }

    #[test]
    fn a_stream_longer_than_the_tile_fills_it_and_a_shorter_one_is_corrupt() {
        let data: Vec<u8> = (0..3000u32).map(|i| (i / 7) as u8).collect();
        let mut packed = vec![0; 5000];
        let len = libdeflater::Compressor::default().zlib_compress(&data, &mut packed).unwrap();
        let mut out = vec![0; 2000];
        decompress(Compression::Deflate, &packed[..len], &mut out).unwrap();
        assert_eq!(out, data[..2000]);
        let error = decompress(Compression::Deflate, &packed[..len], &mut vec![0; 4000]).unwrap_err();
        assert_eq!(error.to_string(), "a DEFLATE tile is corrupt: it holds 3000 bytes instead of 4000");
        let error = decompress(Compression::Deflate, b"<html>", &mut out).unwrap_err();
        assert_eq!(error.to_string(), "a DEFLATE tile is corrupt: the stream is broken");
    }

    #[test]
    fn unknown_compressions_are_named() {
        let message = |code| Compression::from_code(code, 0).unwrap_err().to_string();
        assert!(message(50002).contains("50002 (JPEG XL)"));
        assert!(message(3).contains("CCITT"));
        assert!(message(44510).contains("44510 (an unknown scheme)"));
        assert!(Compression::from_code(34887, 9).unwrap_err().to_string().contains("LERC inside"));
    }
}
