//! Zstandard frames (RFC 8878). Ours state their content size, Kafka's do not; both readers take
//! both, and several frames behind one another.

use std::{fmt, io::Cursor};

use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective, compress_bound, get_error_name,
    get_frame_content_size,
};

use super::{Input, Output, Refusal};

/// A reused compression context.
#[derive(Default)]
pub(super) struct Compressor {
    /// The context and the level that it is set to.
    context: Option<(CCtx<'static>, i32)>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// Adds `raw` to `out` as one frame.
    pub(super) fn compress(
        &mut self,
        level: i32,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        // Taken out, so that a context is not used again after an error.
        let mut context = match self.context.take() {
            Some((context, set)) if set == level => context,
            other => {
                let mut context = other.map_or_else(CCtx::create, |(context, _)| context);
                context.set_parameter(CParameter::CompressionLevel(level)).map_err(message)?;
                context
            }
        };
        out.reserve(compress_bound(raw.len()));
        let mut behind = Cursor::new(&mut *out);
        behind.set_position(behind.get_ref().len() as u64);
        context.compress2(&mut behind, raw).map_err(message)?;
        self.context = Some((context, level));
        Ok(())
    }
}

fn message(code: usize) -> String {
    get_error_name(code).to_owned()
}

/// A larger decompression context is let go after use. Kafka's default level asks for 2 MiB.
const MAX_KEPT_CONTEXT: usize = 16 << 20;

/// A reused decompression context.
#[derive(Default)]
pub(super) struct Decompressor {
    pub(super) context: Option<DCtx<'static>>,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl Decompressor {
    /// Adds what all frames of `input` hold to `out`.
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Output) -> Result<(), Refusal> {
        let result = self.decompress_frames(input, out);
        // A frame's header may ask for a window of up to 128 MiB, which the context keeps.
        self.context.take_if(|context| context.sizeof() > MAX_KEPT_CONTEXT);
        result
    }

    fn decompress_frames(&mut self, input: &[u8], out: &mut Output) -> Result<(), Refusal> {
        let context = self.context.get_or_insert_with(DCtx::create);
        let mut rest = Input::new(input);
        // What an earlier, broken batch has left half read is forgotten.
        let code = context.reset(ResetDirective::SessionOnly);
        code.map_err(|code| rest.malformed(get_error_name(code), "a context reset", -1))?;
        let mut is_frame_start = true;
        loop {
            let room = match declared_size(rest.rest()) {
                // With room for the whole frame zstd decompresses straight into it.
                Some(size) if is_frame_start => out.exact_room(size)?,
                _ => out.room(rest.rest().len().saturating_mul(4)),
            };
            let mut source = InBuffer::around(rest.rest());
            let mut target = OutBuffer::around(room);
            let hint = context
                .decompress_stream(&mut target, &mut source)
                .map_err(|code| rest.malformed(get_error_name(code), "a valid frame", -1))?;
            let (read, written) = (source.pos(), target.pos());
            rest.take(read, "zstd frame")?;
            out.advance(written)?;
            is_frame_start = hint == 0;
            if is_frame_start && rest.rest().is_empty() {
                return Ok(());
            }
            if read == 0 && written == 0 {
                return Err(rest.malformed("zstd frame", "more bytes", hint as i64));
            }
        }
    }
}

/// Content size in the header of the frame in front, where it says one that memory could hold.
fn declared_size(frame: &[u8]) -> Option<usize> {
    usize::try_from(get_frame_content_size(frame).ok()??).ok()
}
