//! The codecs' reused contexts.

use super::{BatchError, Codec, Compression, RecordError};

/// Reusable codec contexts and the next compressed batch's buffer.
#[derive(Debug, Default)]
pub struct Encoder {
    output: Vec<u8>,
}

impl Encoder {
    /// Without contexts: each is made when its codec is first used.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn compress(
        &mut self,
        compression: Compression,
        batch: Vec<u8>,
    ) -> Result<Vec<u8>, RecordError> {
        compression.check()?;
        self.output = batch;
        Err(RecordError::Codec { codec: compression.codec, reason: "is not built in".to_owned() })
    }
}

/// Reusable codec contexts and the buffer that records are decompressed into.
#[derive(Debug, Default)]
pub struct Decoder {
    output: Vec<u8>,
}

impl Decoder {
    /// Without contexts: each is made when its codec is first met.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn decompress(&mut self, codec: Codec, body: &[u8]) -> Result<&[u8], BatchError> {
        self.output.clear();
        Err(BatchError::TooLarge { codec, compressed: body.len(), limit: self.output.len() })
    }
}
