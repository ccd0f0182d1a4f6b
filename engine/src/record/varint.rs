//! Kafka's zigzag varints (`org.apache.kafka.common.utils.ByteUtils`): at most 5 bytes for an `i32`,
//! 10 for an `i64`. The encoding of an `i32` is that of the same number as `i64`, so one writer
//! serves both.

/// Longest varint, in bytes.
pub(super) const MAX_VARINT: usize = 5;
/// Longest varlong, in bytes.
pub(super) const MAX_VARLONG: usize = 10;

/// Bytes that `value` takes.
#[inline(always)]
pub(super) const fn varint_bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    // ceil(bits / 7) for 1 to 64 bits, without a division.
    (bits * 9 + 64) / 64
}

/// A few varints in a row, gathered in registers so that they reach the batch in one store: bytes that are
/// stored one by one and copied as one are waited for.
pub(super) struct Varints {
    /// The first one lowest.
    word: u64,
    len: usize,
}

impl Varints {
    /// Bytes that one store takes.
    pub(super) const CAPACITY: usize = size_of::<u64>();

    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { word: 0, len: 0 }
    }

    /// Adds `value`; what has no room with it goes to `out` first.
    #[inline(always)]
    pub(super) fn put(&mut self, value: i64, out: &mut Vec<u8>) {
        // Nearly every field of a record takes one byte or two.
        let raw = zigzag(value);
        if raw < 1 << 7 {
            self.bytes(raw, 1, out);
        } else if raw < 1 << 14 {
            self.bytes(raw & 0x7F | 0x80 | raw >> 7 << 8, 2, out);
        } else {
            self.put_long(raw, out);
        }
    }

    #[inline(never)]
    fn put_long(&mut self, raw: u64, out: &mut Vec<u8>) {
        let mut rest = raw;
        while rest >= 0x80 {
            self.bytes(rest & 0x7F | 0x80, 1, out);
            rest >>= 7;
        }
        self.bytes(rest, 1, out);
    }

    /// Adds `count` bytes, the lowest first.
    #[inline(always)]
    fn bytes(&mut self, bytes: u64, count: usize, out: &mut Vec<u8>) {
        if self.len + count > Self::CAPACITY {
            self.append_to(out);
        }
        self.word |= bytes << (8 * self.len);
        self.len += count;
    }

    /// Moves the bytes to the end of `out`: a copy of fixed size, which is then cut to length.
    #[inline(always)]
    pub(super) fn append_to(&mut self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.word.to_le_bytes());
        out.truncate(end);
        *self = Self::new();
    }
}

/// Reads from the front of a slice; what it has read is cut off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet read.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte; `None` at the end.
    #[inline(always)]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next `count` bytes; `None` where fewer are left.
    #[inline(always)]
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// A varint; `None` where the bytes end before it, or it exceeds 5 bytes or 32 bits.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Option<i32> {
        let raw = match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                *first as u32
            }
            _ => u32::try_from(self.long(MAX_VARINT)?).ok()?,
        };
        Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A varlong; `None` where the bytes end before it, or it exceeds 10 bytes or 64 bits.
    #[inline(always)]
    pub(super) fn varlong(&mut self) -> Option<i64> {
        let raw = match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                *first as u64
            }
            _ => self.long(MAX_VARLONG)?,
        };
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    #[inline]
    fn long(&mut self, max_bytes: usize) -> Option<u64> {
        let mut raw = 0_u64;
        for (index, &byte) in self.rest.iter().take(max_bytes).enumerate() {
            let bits = (byte & 0x7F) as u64;
            if index + 1 == MAX_VARLONG && bits > 1 {
                return None;
            }
            raw |= bits << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Some(raw);
            }
        }
        None
    }
}

#[inline(always)]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: i64) -> Vec<u8> {
        let (mut varints, mut out) = (Varints::new(), Vec::new());
        varints.put(value, &mut out);
        varints.append_to(&mut out);
        out
    }

    #[test]
    fn golden_bytes_of_the_protobuf_zigzag_form() {
        let cases: [(i64, &[u8]); 10] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7E]),
            (-64, &[0x7F]),
            (64, &[0x80, 0x01]),
            (i32::MAX as i64, &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]),
            (i32::MIN as i64, &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
            (i64::MAX, &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
            (i64::MIN, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ];
        for (value, bytes) in cases {
            assert_eq!(written(value), bytes, "{value}");
        }
    }

    #[test]
    fn any_number_of_varints_stand_in_a_row() {
        let (mut varints, mut out) = (Varints::new(), Vec::new());
        let values = [0, i64::MAX, 1, 300, i64::MIN, i64::MIN, -1, i32::MAX as i64, 7, 7, 7, 7];
        for value in values {
            varints.put(value, &mut out);
        }
        varints.append_to(&mut out);
        varints.append_to(&mut out);
        assert_eq!(out, values.map(written).concat());
    }

    #[test]
    fn sizes_are_exact_around_each_power_of_two() {
        for bit in 0..63 {
            for value in [(1_i64 << bit) - 1, 1 << bit, (1 << bit) + 1] {
                for value in [value, -value, value.wrapping_neg().wrapping_sub(1)] {
                    assert_eq!(varint_bytes(value), written(value).len(), "{value}");
                }
            }
        }
        assert_eq!(varint_bytes(i64::MIN), 10);
    }

    #[test]
    fn overlong_and_cut_varints_are_refused() {
        assert_eq!(Reader::new(&[]).varint(), None);
        assert_eq!(Reader::new(&[0x80]).varint(), None);
        assert_eq!(Reader::new(&[0x80; 20]).varint(), None);
        assert_eq!(Reader::new(&[0x80; 20]).varlong(), None);
        assert_eq!(Reader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0x1F]).varint(), None, "33 bits");
        assert_eq!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).varint(), None, "6 bytes");
        let mut bytes = [0x80; 10];
        bytes[9] = 2;
        assert_eq!(Reader::new(&bytes).varlong(), None, "65 bits");
    }

    proptest! {
        #[test]
        fn varlongs_go_both_ways(value: i64, tail: Vec<u8>) {
            let mut bytes = written(value);
            bytes.extend(&tail);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varlong(), Some(value));
            prop_assert_eq!(reader.rest(), &tail[..]);
        }

        #[test]
        fn varints_go_both_ways(value: i32) {
            let bytes = written(value as i64);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Some(value));
            prop_assert!(reader.rest().is_empty());
            prop_assert_eq!(Reader::new(&bytes).varlong(), Some(value as i64));
        }
    }
}
