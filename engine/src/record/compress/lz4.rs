//! LZ4 frames as Kafka writes them (`org.apache.kafka.common.compress.Lz4BlockOutputStream`):
//! independent blocks of 64 KiB, no checksums, blocks that do not shrink stored as they are.
//! The reader takes what Kafka's takes: any block size, checksums and a content size, but no linked
//! blocks, and one frame only. Unlike Kafka's it also verifies the content checksum and refuses
//! bytes behind the frame.

use std::{fmt, io::Write};

use lz4_flex::{
    block::decompress_into,
    frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo},
};
use twox_hash::XxHash32;

use super::{Input, Output, Refusal};

const MAGIC: u32 = 0x184D_2204;
/// Bit of a block's length that says it is stored uncompressed.
const STORED: u32 = 1 << 31;
/// A byte of a match length gives 255 bytes: no block expands further.
const MAX_EXPANSION: usize = 255;

const VERSION_MASK: u8 = 0xC0;
const VERSION: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const RESERVED: u8 = 0x03;

/// A reused frame encoder; it keeps its hash table and its block buffers.
pub(super) struct Compressor {
    frame: FrameEncoder<Vec<u8>>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Default for Compressor {
    fn default() -> Self {
        let info =
            FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
        Self { frame: FrameEncoder::with_frame_info(info, Vec::new()) }
    }
}

impl Compressor {
    /// Adds `raw`, which is not empty, to `out` as one frame.
    pub(super) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        std::mem::swap(self.frame.get_mut(), out);
        let written = self.frame.write_all(raw).map_err(|error| error.to_string());
        let ended =
            written.and_then(|()| self.frame.try_finish().map_err(|error| error.to_string()));
        std::mem::swap(self.frame.get_mut(), out);
        ended
    }
}

/// What a frame's descriptor says.
struct Descriptor {
    flags: u8,
    max_block: usize,
}

/// Adds what the frame in `input` holds to `out`.
pub(super) fn decompress(input: &[u8], out: &mut Output) -> Result<(), Refusal> {
    let mut input = Input::new(input);
    let descriptor = read_descriptor(&mut input)?;
    let from = out.len();
    while decompress_block(&mut input, &descriptor, out)? {}
    if descriptor.flags & CONTENT_CHECKSUM != 0 {
        check_hash(&mut input, "lz4 content checksum", out.filled_from(from))?;
    }
    match input.rest().len() {
        0 => Ok(()),
        left => Err(input.malformed("end of the lz4 frame", "no more bytes", left as i64)),
    }
}

fn read_descriptor(input: &mut Input<'_>) -> Result<Descriptor, Refusal> {
    let magic = u32::from_le_bytes(input.array("lz4 magic")?);
    if magic != MAGIC {
        return Err(input.malformed("lz4 magic", "0x184d2204", magic as i64));
    }
    let hashed = input.rest();
    let [flags, sizes] = input.array("lz4 descriptor")?;
    if flags & VERSION_MASK != VERSION || flags & RESERVED != 0 {
        return Err(input.malformed("lz4 flags", "version 1, no reserved bit", flags as i64));
    }
    if flags & INDEPENDENT == 0 {
        return Err(input.malformed("lz4 flags", "independent blocks", flags as i64));
    }
    let size_code = sizes >> 4;
    if sizes & 0x0F != 0 || !(4..=7).contains(&size_code) {
        return Err(input.malformed("lz4 block size", "0x40, 0x50, 0x60 or 0x70", sizes as i64));
    }
    if flags & CONTENT_SIZE != 0 {
        // Not believed: what the blocks hold counts, as in Kafka's reader.
        input.take(8, "lz4 content size")?;
    }
    let hash = XxHash32::oneshot(0, &hashed[..hashed.len() - input.rest().len()]);
    let [found] = input.array("lz4 descriptor checksum")?;
    if found != (hash >> 8) as u8 {
        let expected = "that of the descriptor";
        return Err(input.malformed("lz4 descriptor checksum", expected, found as i64));
    }
    Ok(Descriptor { flags, max_block: 1 << (2 * size_code + 8) })
}

/// Reads one block; `false` at the end mark.
fn decompress_block(
    input: &mut Input<'_>,
    descriptor: &Descriptor,
    out: &mut Output,
) -> Result<bool, Refusal> {
    let word = u32::from_le_bytes(input.array("lz4 block length")?);
    let length = (word & !STORED) as usize;
    if length == 0 {
        return Ok(false);
    }
    if length > descriptor.max_block {
        let expected = "at most the frame's block size";
        return Err(input.malformed("lz4 block length", expected, length as i64));
    }
    let block_at = *input;
    let block = input.take(length, "lz4 block")?;
    if descriptor.flags & BLOCK_CHECKSUM != 0 {
        check_hash(input, "lz4 block checksum", block)?;
    }
    if word & STORED != 0 {
        out.exact_room(length)?.copy_from_slice(block);
        out.advance(length)?;
        return Ok(true);
    }
    let largest = descriptor.max_block.min(length.saturating_mul(MAX_EXPANSION));
    let room = out.room(largest);
    // At the limit of the output there may be less room than the block may take.
    let (end, is_clipped) = (room.len().min(largest), room.len() < largest);
    match decompress_into(block, &mut room[..end]) {
        Ok(written) => out.advance(written).map(|()| true),
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if is_clipped => {
            Err(Refusal::TooLarge)
        }
        Err(_) => Err(block_at.malformed("lz4 block", "valid lz4 data", length as i64)),
    }
}

fn check_hash(input: &mut Input<'_>, what: &'static str, data: &[u8]) -> Result<(), Refusal> {
    let found = u32::from_le_bytes(input.array(what)?);
    if found != XxHash32::oneshot(0, data) {
        return Err(input.malformed(what, "that of the data", found as i64));
    }
    Ok(())
}
