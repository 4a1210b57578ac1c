//! Walks through a LERC blob before the decoder does. Esri's decoder (4.0) trusts two numbers of a block that it should
//! not: with less values than the block has pixels it reads beyond its buffer, and so it does with an index beyond a block's
//! table. The checksum of a blob is no protection, since whoever forges the blob can compute it.
//!
//! The structure is that of Lerc2 version 4, the only one that TIFF has ("2.4"); that decoder is its specification.

/// What the decoder is asked for: pixels, values of each, and how often that.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub width: usize,
    pub height: usize,
    pub depth: usize,
    pub bands: u32,
}

/// Whether every block of a blob of that shape holds what the decoder will take from it.
pub fn are_whole(blob: &[u8], shape: Shape) -> bool {
    let mut reader = Reader(blob);
    let mut mask = None;
    (1..=shape.bands).try_for_each(|band| walk_band(&mut reader, &mut mask, shape, band == shape.bands)).is_some()
}

/// The bytes that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn int(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn size(&mut self) -> Option<usize> {
        self.int().and_then(|value| usize::try_from(value).ok())
    }

    fn double(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// `count` numbers of `bits` bits, packed.
    fn packed(&mut self, count: usize, bits: usize) -> Option<&'a [u8]> {
        self.take((count * bits).div_ceil(8)).filter(|_| count > 0 && bits > 0)
    }
}

struct Header {
    rows: usize,
    cols: usize,
    depth: usize,
    valid: usize,
    /// Side of a block.
    block: usize,
    /// 0 to 7: int8, uint8, int16, uint16, int32, uint32, float32, float64.
    data_type: usize,
    max_error: f64,
    is_constant: bool,
}

const TYPE_SIZES: [usize; 8] = [1, 1, 2, 2, 4, 4, 4, 8];
const UINT8: usize = 1;
const FLOAT32: usize = 6;
const LARGEST_BLOCK: usize = 32;

impl Header {
    fn read(reader: &mut Reader, shape: Shape) -> Option<Header> {
        let (key, version, _checksum) = (reader.take(6)?, reader.int()?, reader.int()?);
        let [rows, cols, depth, valid, block] = std::array::from_fn(|_| reader.size());
        let (_blob_size, data_type) = (reader.size()?, reader.size()?);
        let (max_error, low, high) = (reader.double()?, reader.double()?, reader.double()?);
        let is_constant = low == high;
        let (rows, cols, depth, valid, block) = (rows?, cols?, depth?, valid?, block?);
        let header = Header { rows, cols, depth, valid, block, data_type, max_error, is_constant };
        let as_told = (rows, cols, depth) == (shape.height, shape.width, shape.depth);
        let sound = key == b"Lerc2 " && version == 4 && as_told && data_type < TYPE_SIZES.len();
        (sound && (1..=LARGEST_BLOCK).contains(&block)).then_some(header)
    }

    fn pixels(&self) -> usize {
        self.rows * self.cols
    }

    fn size(&self) -> usize {
        TYPE_SIZES[self.data_type]
    }

    /// Size of a number whose type is reduced by `code`.
    fn reduced_size(&self, code: u8) -> Option<usize> {
        let code = usize::from(code);
        let reduced = match self.data_type {
            2 | 4 => self.data_type.checked_sub(code),
            3 | 5 => self.data_type.checked_sub(2 * code),
            6 => Some([6, 2, 1, 1][code.min(3)]),
            7 if code > 0 => Some(8 - 2 * code),
            same => Some(same),
        };
        TYPE_SIZES.get(reduced?).copied()
    }
}

/// Which pixels are valid, one bit each, from the highest; a band without a mask of its own has that of the band before.
struct Mask(Vec<u8>);

impl Mask {
    fn read(reader: &mut Reader, header: &Header, before: Option<Mask>) -> Option<Mask> {
        let (len, pixels) = (reader.int()?, header.pixels());
        let bytes = pixels.div_ceil(8);
        match (header.valid, usize::try_from(len).unwrap_or(0)) {
            (0, 0) if len == 0 => Some(Mask(vec![0; bytes])),
            (valid, 0) if len == 0 && valid == pixels => Some(Mask(vec![0xff; bytes])),
            (valid, _) if valid == 0 || valid >= pixels => None,
            (_, 0) => before,
            (_, len) => Self::unpack(reader.take(len)?, bytes),
        }
    }

    /// Runs: a count and so many bytes, or a negative count and the byte to repeat; -32768 ends them.
    fn unpack(packed: &[u8], len: usize) -> Option<Mask> {
        let (mut reader, mut mask) = (Reader(packed), Vec::new());
        loop {
            match i16::from_le_bytes(reader.array()?) {
                i16::MIN => return (mask.len() == len).then_some(Mask(mask)),
                count if count > 0 => mask.extend_from_slice(reader.take(count as usize)?),
                count => mask.resize(mask.len() + usize::from(count.unsigned_abs()), reader.byte()?),
            }
            if mask.len() > len {
                return None;
            }
        }
    }

    fn count(&self, pixels: std::ops::Range<usize>) -> usize {
        pixels.filter(|k| self.0.get(k / 8).is_some_and(|byte| byte & 0x80 >> (k % 8) != 0)).count()
    }
}

fn walk_band(reader: &mut Reader, mask: &mut Option<Mask>, shape: Shape, is_last: bool) -> Option<()> {
    let header = Header::read(reader, shape)?;
    let before = mask.take();
    let valid = &*mask.insert(Mask::read(reader, &header, before)?);
    if header.valid == 0 || header.is_constant {
        return Some(());
    }
    let (low, high) = (reader.take(header.depth * header.size())?, reader.take(header.depth * header.size())?);
    // The decoder compares them as numbers, which for NaN is not the same.
    if has_nan(low, &header) || has_nan(high, &header) {
        return None;
    }
    if low == high {
        return Some(());
    }
    if reader.byte()? != 0 {
        return reader.take(valid.count(0..header.pixels()) * header.depth * header.size()).map(drop);
    }
    // Huffman coding, whose decoder takes care of itself; where it ends, only it knows.
    if header.data_type <= UINT8 && header.max_error == 0.5 && reader.byte()? != 0 {
        return is_last.then_some(());
    }
    walk_blocks(reader, &header, valid)
}

fn has_nan(numbers: &[u8], header: &Header) -> bool {
    let is_nan = |number: &[u8]| match *number {
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).is_nan(),
        _ => number.try_into().is_ok_and(|bytes| f64::from_le_bytes(bytes).is_nan()),
    };
    header.data_type >= FLOAT32 && numbers.chunks_exact(header.size()).any(is_nan)
}

fn walk_blocks(reader: &mut Reader, header: &Header, mask: &Mask) -> Option<()> {
    let (rows, cols, side) = (header.rows, header.cols, header.block);
    for top in (0..rows).step_by(side) {
        for left in (0..cols).step_by(side) {
            let (height, width) = (side.min(rows - top), side.min(cols - left));
            let valid = match header.valid == header.pixels() {
                true => height * width,
                false => (top..top + height).map(|row| mask.count(row * cols + left..row * cols + left + width)).sum(),
            };
            for _ in 0..header.depth {
                walk_block(reader, header, left, height * width, valid)?;
            }
        }
    }
    Some(())
}

/// One block: raw values, or none at all, or a constant, or an offset and packed integers.
fn walk_block(reader: &mut Reader, header: &Header, left: usize, pixels: usize, valid: usize) -> Option<()> {
    let flags = reader.byte()?;
    if usize::from(flags >> 2 & 15) != left >> 3 & 15 {
        return None;
    }
    match flags & 3 {
        0 => reader.take(valid * header.size()).map(drop),
        2 => Some(()),
        kind => {
            reader.take(header.reduced_size(flags >> 6)?)?;
            if kind == 3 { Some(()) } else { walk_integers(reader, pixels, valid) }
        }
    }
}

/// Packed integers, or indices of a packed table whose first entry, 0, is not stored.
fn walk_integers(reader: &mut Reader, pixels: usize, valid: usize) -> Option<()> {
    let head = reader.byte()?;
    let (bits, has_table) = (usize::from(head & 31), head & 32 != 0);
    let count = match head >> 6 {
        0 => reader.size()?,
        1 => usize::from(u16::from_le_bytes(reader.array()?)),
        2 => usize::from(reader.byte()?),
        _ => return None,
    };
    if count > pixels || count < valid {
        return None;
    }
    if !has_table {
        return reader.packed(count, bits).map(drop);
    }
    let last = usize::from(reader.byte()?.checked_sub(1)?);
    reader.packed(last, bits)?;
    let bits = usize::BITS as usize - last.leading_zeros() as usize;
    let indices = reader.packed(count, bits)?;
    let index = |i: usize| {
        let (at, shift) = (i * bits / 8, i * bits % 8);
        let pair = [indices.get(at), indices.get(at + 1)].map(|byte| byte.copied().unwrap_or(0));
        usize::from(u16::from_le_bytes(pair)) >> shift & ((1 << bits) - 1)
    };
    ((last + 1).is_power_of_two() || (0..count).all(|i| index(i) <= last)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob of one band of 8 x 8 uint16 pixels in one block: `mask` bytes, then `data` of the block.
    fn blob(valid: i32, mask: &[u8], data: &[u8]) -> Vec<u8> {
        let mut blob = b"Lerc2 ".to_vec();
        let ints = [4, 0, 8, 8, 1, valid, 8, 0, 3];
        ints.iter().for_each(|int: &i32| blob.extend(int.to_le_bytes()));
        [0.5f64, 0.0, 9.0].iter().for_each(|double| blob.extend(double.to_le_bytes()));
        blob.extend((mask.len() as i32).to_le_bytes());
        blob.extend(mask);
        // Ranges, and that the pixels are in blocks.
        blob.extend([0, 0, 9, 0, 0]);
        blob.extend(data);
        blob
    }

    fn is_whole(valid: i32, mask: &[u8], data: &[u8]) -> bool {
        let shape = Shape { width: 8, height: 8, depth: 1, bands: 1 };
        are_whole(&blob(valid, mask, data), shape)
    }

    /// A block whose offset is a byte, then `head`, then so many bytes of packed numbers.
    fn packed(head: &[u8], len: usize) -> Vec<u8> {
        [&[0x41, 0], head, &vec![0xff; len]].concat()
    }

    #[test]
    fn blocks_hold_a_value_for_each_pixel() {
        // Three bits each; the count of numbers is one byte.
        assert!(is_whole(64, &[], &packed(&[0x83, 64], 24)));
        assert!(!is_whole(64, &[], &packed(&[0x83, 63], 24)), "less values than pixels");
        assert!(!is_whole(64, &[], &packed(&[0x83, 65], 25)), "more values than pixels");
        assert!(!is_whole(64, &[], &packed(&[0x83, 64], 23)), "less bytes than values");
        assert!(!is_whole(64, &[], &packed(&[0x80, 64], 0)), "values of no bits");
        assert!(
            is_whole(64, &[], &[2])
                && is_whole(64, &[], &[0x43, 5])
                && is_whole(64, &[], &[&[0], &[7; 128][..]].concat())
        );
        assert!(!is_whole(64, &[], &[6]), "the check of the position fails");
        assert!(!is_whole(64, &[], &[0xc1, 0, 0x83, 64]), "a type below the smallest");
    }

    #[test]
    fn tables_have_what_is_looked_up() {
        // Tables of seven and of six entries (0 comes by itself), and indices that are all 7.
        let table = |entries: u8, len: usize| packed(&[0xa3, 64, entries], len);
        assert!(is_whole(64, &[], &table(8, 3 + 24)));
        assert!(!is_whole(64, &[], &table(7, 3 + 24)));
        assert!(!is_whole(64, &[], &table(1, 24)) && !is_whole(64, &[], &table(0, 24)));
    }

    #[test]
    fn masks_say_how_many_values_there_are() {
        // Eight bytes of mask: one literal, seven repeated.
        let mask = [1, 0, 0xf0, 0xf9, 0xff, 0, 0, 0x80];
        assert!(is_whole(4, &mask, &packed(&[0x83, 4], 2)));
        assert!(!is_whole(4, &mask, &packed(&[0x83, 3], 2)));
        assert!(!is_whole(4, &mask[..6], &packed(&[0x83, 4], 2)), "a mask without an end");
        assert!(!is_whole(4, &[1, 0, 0xf0, 0, 0x80], &packed(&[0x83, 4], 2)), "a mask of one byte");
        assert!(!is_whole(4, &[], &packed(&[0x83, 4], 2)), "the mask of no band before");
    }
}
