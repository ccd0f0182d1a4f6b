//! gzip members (RFC 1952) around raw deflate, as Java's `GZIPOutputStream` writes them. The frame
//! is our own, so that one deflate context serves all batches.

use flate2::{Compress, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Input, Output, Refusal};

/// Magic, method deflate, no flags, no time, no extra flags, system unknown.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
const MAX_LEVEL: usize = 9;

const HEADER_CRC: u8 = 0x02;
const EXTRA: u8 = 0x04;
const NAME: u8 = 0x08;
const COMMENT: u8 = 0x10;
const RESERVED: u8 = 0xE0;

/// Deflate contexts, one a level.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    levels: [Option<Compress>; MAX_LEVEL + 1],
}

impl Compressor {
    /// Adds `raw` to `out` as one member.
    pub(super) fn compress(
        &mut self,
        level: i32,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let deflate = self.levels[level as usize].get_or_insert_with(|| {
            let level = flate2::Compression::new(level as u32);
            Compress::new(level, false)
        });
        deflate.reset();
        out.extend_from_slice(&HEADER);
        loop {
            let read = deflate.total_in() as usize;
            out.reserve((raw.len() - read) / 2 + 1024);
            let status = deflate
                .compress_vec(&raw[read..], out, FlushCompress::Finish)
                .map_err(|error| error.to_string())?;
            if status == Status::StreamEnd {
                break;
            }
        }
        let mut crc = Crc::new();
        crc.update(raw);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        Ok(())
    }
}

/// A reused inflate context.
#[derive(Debug)]
pub(super) struct Decompressor {
    inflate: Decompress,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self { inflate: Decompress::new(false) }
    }
}

impl Decompressor {
    /// Adds what all members of `input` hold to `out`.
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Output) -> Result<(), Refusal> {
        let mut input = Input::new(input);
        loop {
            skip_header(&mut input)?;
            let from = out.len();
            self.inflate_member(&mut input, out)?;
            check_trailer(&mut input, out.filled_from(from))?;
            if input.rest().is_empty() {
                return Ok(());
            }
        }
    }

    fn inflate_member(&mut self, input: &mut Input<'_>, out: &mut Output) -> Result<(), Refusal> {
        self.inflate.reset(false);
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let room = out.room(input.rest().len().saturating_mul(4));
            let status = self
                .inflate
                .decompress(input.rest(), room, FlushDecompress::None)
                .map_err(|_| input.malformed("deflate data", "a valid stream", -1))?;
            let read = (self.inflate.total_in() - before_in) as usize;
            let written = (self.inflate.total_out() - before_out) as usize;
            input.take(read, "deflate data")?;
            out.advance(written)?;
            if status == Status::StreamEnd {
                return Ok(());
            }
            if read == 0 && written == 0 {
                return Err(input.malformed("deflate data", "the end of the stream", 0));
            }
        }
    }
}

fn skip_header(input: &mut Input<'_>) -> Result<(), Refusal> {
    let start = input.rest();
    let fixed = input.array::<10>("gzip header")?;
    if fixed[..3] != HEADER[..3] {
        let magic = u32::from_be_bytes([0, fixed[0], fixed[1], fixed[2]]);
        return Err(input.malformed("gzip header", "0x1f8b08", magic as i64));
    }
    let flags = fixed[3];
    if flags & RESERVED != 0 {
        return Err(input.malformed("gzip flags", "no reserved bit", flags as i64));
    }
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes(input.array("gzip extra field")?);
        input.take(length as usize, "gzip extra field")?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let end = input.rest().iter().position(|byte| *byte == 0);
            let end = end.ok_or_else(|| input.malformed("gzip name", "a final zero", -1))?;
            input.take(end + 1, "gzip name")?;
        }
    }
    if flags & HEADER_CRC != 0 {
        let mut crc = Crc::new();
        crc.update(&start[..start.len() - input.rest().len()]);
        let found = u16::from_le_bytes(input.array("gzip header crc")?);
        if found != crc.sum() as u16 {
            return Err(input.malformed("gzip header crc", "that of the header", found as i64));
        }
    }
    Ok(())
}

fn check_trailer(input: &mut Input<'_>, raw: &[u8]) -> Result<(), Refusal> {
    let mut crc = Crc::new();
    crc.update(raw);
    let found = u32::from_le_bytes(input.array("gzip crc")?);
    if found != crc.sum() {
        return Err(input.malformed("gzip crc", "that of the data", found as i64));
    }
    let found = u32::from_le_bytes(input.array("gzip length")?);
    if found != raw.len() as u32 {
        return Err(input.malformed("gzip length", "that of the data", found as i64));
    }
    Ok(())
}
