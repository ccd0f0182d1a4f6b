//! Making written bytes durable, and waiting for it.
//!
//! [`Watermark`] is the one waiting primitive: a number that rises, and those who wait for it.
//! [`CommitFile`] is one file's written and durable end; [`GroupCommit`] lets one sync serve all who
//! wait on a file, without a thread of its own: the first waiter leads. [`Watermarks`] holds the
//! offsets of one partition, with one checked transition an event.
//!
//! Offsets and bytes only: what stands in a file is not this room's business.

mod file;
mod group;
mod parking;
mod watermark;
mod watermarks;

pub use file::{CommitError, CommitFile};
pub use group::{CommitMetrics, GroupCommit, Strategy};
pub use parking::{park_until, thread_waker, wait_for};
pub(crate) use watermark::wake_all;
pub use watermark::{Reached, WaitError, Watermark};
pub use watermarks::{Generation, Watermarks, WatermarksSnapshot};
