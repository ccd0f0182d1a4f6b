//! The stream of snappy-java (`org.xerial.snappy.SnappyOutputStream`): a header, then raw snappy
//! blocks, each behind its length. A reader also takes one raw block without any header, and a
//! header wherever a length may stand, which is how concatenated streams look.

use super::{Input, Output, Refusal};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Version and lowest compatible version, both as big-endian `i32`.
const VERSION: i32 = 1;
/// Input of one block, in bytes.
const BLOCK_BYTES: usize = 32 << 10;
/// A 3-byte copy gives 64 bytes: no block expands further, whatever length it declares.
const MAX_EXPANSION: usize = 22;

/// A reused snappy context and the block that it compresses to.
#[derive(Debug)]
pub(super) struct Compressor {
    encoder: snap::raw::Encoder,
    block: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        let block = vec![0; snap::raw::max_compress_len(BLOCK_BYTES)];
        Self { encoder: snap::raw::Encoder::new(), block }
    }
}

impl Compressor {
    /// Adds `raw` to `out` as one stream.
    pub(super) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&VERSION.to_be_bytes());
        for chunk in raw.chunks(BLOCK_BYTES) {
            let length =
                self.encoder.compress(chunk, &mut self.block).map_err(|error| error.to_string())?;
            out.extend_from_slice(&(length as i32).to_be_bytes());
            out.extend_from_slice(&self.block[..length]);
        }
        Ok(())
    }
}

/// Adds what `input` holds to `out`.
pub(super) fn decompress(input: &[u8], out: &mut Output) -> Result<(), Refusal> {
    let mut input = Input::new(input);
    if !input.rest().starts_with(&MAGIC) {
        return decompress_block(&mut input, usize::MAX, out);
    }
    while !input.rest().is_empty() {
        if input.rest().starts_with(&MAGIC) {
            skip_header(&mut input)?;
            continue;
        }
        let length = i32::from_be_bytes(input.array("snappy block length")?);
        let Ok(length @ 1..) = usize::try_from(length) else {
            return Err(input.malformed("snappy block length", "at least 1", length as i64));
        };
        decompress_block(&mut input, length, out)?;
    }
    Ok(())
}

fn skip_header(input: &mut Input<'_>) -> Result<(), Refusal> {
    input.take(MAGIC.len(), "snappy header")?;
    let version = i32::from_be_bytes(input.array("snappy version")?);
    if version < VERSION {
        return Err(input.malformed("snappy version", "at least 1", version as i64));
    }
    // The lowest version that a reader must know, which Java's reader does not look at.
    input.take(4, "snappy compatible version")?;
    Ok(())
}

/// Decompresses the block of `length` bytes in front, `usize::MAX` for all that is there.
fn decompress_block(input: &mut Input<'_>, length: usize, out: &mut Output) -> Result<(), Refusal> {
    let length = if length == usize::MAX { input.rest().len() } else { length };
    let block_at = *input;
    let block = input.take(length, "snappy block")?;
    let declared = snap::raw::decompress_len(block)
        .map_err(|_| block_at.malformed("snappy block", "a length in front", -1))?;
    if declared > block.len().saturating_mul(MAX_EXPANSION) {
        let expected = "at most 22 times its size";
        return Err(block_at.malformed("length in a snappy block", expected, declared as i64));
    }
    let room = out.exact_room(declared)?;
    let written = snap::raw::Decoder::new()
        .decompress(block, room)
        .map_err(|_| block_at.malformed("snappy block", "valid snappy data", length as i64))?;
    out.advance(written)
}
