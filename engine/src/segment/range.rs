//! A range of whole batches in a segment's file, to be sent without being read.

use std::{os::fd::BorrowedFd, path::Path, sync::Arc};

use super::{Headers, Segment, SegmentError, SegmentView, published::View};
use crate::{error::Corruption, types::Offset};

/// Where whole batches stand in a segment's file.
#[derive(Debug, Clone)]
pub struct SegmentRange {
    segment: Arc<Segment>,
    view: View,
    position: u64,
    len: u64,
}

impl SegmentRange {
    /// The bytes of `segment` from `position` up to `end`, found under the view that `found` is.
    pub(super) fn new(segment: &Arc<Segment>, view: View, position: u64, end: u64) -> Self {
        Self { segment: segment.clone(), view, position, len: end.saturating_sub(position) }
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        self.segment.path()
    }

    /// Byte position in the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sends bytes from byte `at` of the range on (0: its first), as many as `socket` takes now, and gives
    /// their number; 0 at the end. Where the system can, they go from the file to the socket without a copy
    /// (sendfile). A socket that does not block and takes none is an error of kind `WouldBlock`.
    ///
    /// [`SegmentError::Truncated`] where a truncation has come in between: the bytes sent by this call, and those
    /// that still wait in the socket (without a copy they are the file's own), may be others than were found.
    /// [`SegmentError::Corrupt`] where the file ends before the range does.
    pub fn send(&self, at: u64, socket: BorrowedFd<'_>) -> Result<usize, SegmentError> {
        let left = self.len.saturating_sub(at);
        if left == 0 {
            return Ok(0);
        }
        self.segment.confirm(Ok(()), &self.view)?;
        let sent = self.segment.file()?.send(self.position + at, left as usize, socket);
        let sent = sent.map_err(SegmentError::from).and_then(|sent| match sent {
            0 => {
                let end = self.position + self.len;
                let (path, at) = (self.path(), self.position + at);
                let expected = format!("at least {end} bytes");
                Err(Corruption::new(path, at, "length of the file", expected, at).into())
            }
            sent => Ok(sent),
        });
        self.segment.confirm(sent, &self.view)
    }
}

impl SegmentView<'_> {
    /// The last place where a batch ends, not behind byte `limit`, and the offset behind it; `None` where the
    /// batch that begins at `from` reaches further. The headers near `limit` are asked: those between are
    /// not looked at.
    pub fn last_end(&self, from: u64, limit: u64) -> Result<Option<(u64, Offset)>, SegmentError> {
        let (segment, view) = (self.segment(), self.published_view());
        let found = segment.last_end_in(&view, from, limit);
        segment.confirm(found, &view)
    }
}

impl Segment {
    fn last_end_in(
        &self,
        view: &View,
        from: u64,
        limit: u64,
    ) -> Result<Option<(u64, Offset)>, SegmentError> {
        match last_end_of(self.headers_below(view, from, limit)?, limit) {
            // Nearer to `limit` the log is damaged: what stands before is sound all the same.
            Err(SegmentError::Corrupt(_)) => last_end_of(Headers::new(self, *view, from), limit),
            other => other,
        }
    }

    /// A walk from a batch on that ends at or before `limit`, and begins at `from` or behind.
    fn headers_below(
        &self,
        view: &View,
        from: u64,
        limit: u64,
    ) -> Result<Headers<'_>, SegmentError> {
        let tables = self.tables(view)?;
        for entry in tables.entries_below(view, limit).take(2) {
            if entry.position <= from {
                break;
            }
            let mut headers = Headers::new(self, *view, entry.position);
            match headers.next() {
                Some(Ok((position, header)))
                    if header.last_offset() == entry.last_offset
                        && position + header.total_bytes() as u64 <= limit =>
                {
                    return Ok(headers.back_to(entry.position));
                }
                // The batch reaches beyond, or the log contradicts.
                Some(Ok(_) | Err(SegmentError::Corrupt(_))) | None => {}
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(Headers::new(self, *view, from))
    }
}

/// Where the last batch of a walk ends that ends at or before `limit`, and the offset behind it. Damage behind the
/// first batch ends the walk, as a fetch ends there.
fn last_end_of(headers: Headers<'_>, limit: u64) -> Result<Option<(u64, Offset)>, SegmentError> {
    let mut last = None;
    for item in headers {
        match item {
            Ok((position, header)) => {
                let end = position + header.total_bytes() as u64;
                if end > limit {
                    break;
                }
                last = Some((end, header.next_offset()));
            }
            Err(SegmentError::Corrupt(_)) if last.is_some() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(last)
}
