//! What the fuzz targets share: bytes in a frame whose checksum is right, so that what lies behind the
//! checksum is reached.

use std::cell::RefCell;

use trunkline::{
    io::Loss,
    limits::{BATCH_HEADER, LOG_OVERHEAD},
    record::{Attributes, Batch, BatchHeader, Decoder, NO_PRODUCER},
    types::Offset,
};

#[cfg(feature = "quick")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decompressed bytes that one input may give.
pub const MAX_OUTPUT: usize = 16 << 20;

/// The records section `payload` of `count` records (at least 1) in a batch whose header and checksum
/// are right; `codec` is Kafka's number.
pub fn framed(codec: u8, count: u16, payload: &[u8]) -> Vec<u8> {
    let count = i32::from(count.max(1));
    let mut bytes = vec![0; BATCH_HEADER];
    bytes.extend_from_slice(payload);
    let mut header = BatchHeader {
        base_offset: 0,
        batch_length: (bytes.len() - LOG_OVERHEAD) as i32,
        leader_epoch: 0,
        crc: 0,
        attributes: Attributes::default().with_codec(codec),
        last_offset_delta: count - 1,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_000,
        producer_id: NO_PRODUCER,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
    };
    header.write(&mut bytes);
    header.crc = crc32c::crc32c(&bytes[21..]);
    header.write(&mut bytes);
    bytes
}

/// Puts the checksum of each batch right, as far as lengths lead from one to the next.
pub fn right_the_batches(mut log: &mut [u8]) {
    while log.len() >= BATCH_HEADER {
        let length = i32::from_be_bytes([log[8], log[9], log[10], log[11]]);
        let total = (LOG_OVERHEAD as i64).saturating_add(length.into());
        if total < BATCH_HEADER as i64 || total > log.len() as i64 {
            return;
        }
        let (batch, behind) = log.split_at_mut(total as usize);
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        log = behind;
    }
}

/// The files of the target `recover_folder`, in the log dir `/data` with the partition `t-0`.
pub const FOLDER_FILES: [&str; 21] = [
    "t-0/00000000000000000000.log",
    "t-0/00000000000000000000.index",
    "t-0/00000000000000000000.timeindex",
    "t-0/00000000000000000000.txnindex",
    "t-0/00000000000000000002.log",
    "t-0/00000000000000000002.index",
    "t-0/00000000000000000002.timeindex",
    "t-0/00000000000000000002.snapshot",
    "t-0/00000000000000000004.snapshot",
    "t-0/leader-epoch-checkpoint",
    "t-0/trunkline-seals",
    "trunkline-state",
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    ".kafka_cleanshutdown",
    "t-0/00000000000000000000.log.swap",
    "t-0/00000000000000000003.log",
    "t-0/00000000000000000003.index",
    "t-0/00000000000000000003.timeindex",
    "t-0/00000000000000000002.txnindex",
    "replication-offset-checkpoint",
];

/// How the target `recover_folder` opens a log dir, and what it does with it: a byte of settings, one for
/// what is done and how it ends, one for where.
pub struct FolderSettings([u8; 3]);

impl FolderSettings {
    /// Takes them off the front.
    pub fn split_from(input: &[u8]) -> Option<(Self, &[u8])> {
        let (settings, rest) = input.split_first_chunk()?;
        Some((Self(*settings), rest))
    }

    /// For a seed: checksums put right, dense indexes, a power cut at the end.
    pub fn seed(is_written: bool, change: u8) -> [u8; 3] {
        [0b11 | u8::from(is_written) << 3, change, 2]
    }

    /// Checksums are put right.
    pub fn rights(&self) -> bool {
        self.is_set(0)
    }

    /// Also in files that only the engine writes.
    pub fn rights_ours(&self) -> bool {
        self.is_set(6)
    }

    /// Each batch has its index entry.
    pub fn is_dense(&self) -> bool {
        self.is_set(1)
    }

    /// Offsets may be missing.
    pub fn is_compacted(&self) -> bool {
        self.is_set(2)
    }

    /// Appends are not durable by themselves.
    pub fn is_written(&self) -> bool {
        self.is_set(3)
    }

    /// Damage is cut off at once.
    pub fn cuts_damage(&self) -> bool {
        self.is_set(4)
    }

    /// The log is closed before all ends.
    pub fn closes(&self) -> bool {
        self.is_set(5)
    }

    /// Which change is made.
    pub fn change(&self) -> u8 {
        self.0[1] % 8
    }

    /// What the power cut takes at the end; `None`: the process is killed.
    pub fn loss(&self) -> Option<Loss> {
        let seed = u64::from(self.0[1] >> 3);
        match seed % 4 {
            0 => Some(Loss::Everything),
            1 => None,
            2 => Some(Loss::Random(seed)),
            _ => Some(Loss::Sectors(seed)),
        }
    }

    /// How far from the log start a change is made.
    pub fn distance(&self) -> Offset {
        i64::from(self.0[2].cast_signed())
    }

    fn is_set(&self, bit: u8) -> bool {
        self.0[0] >> bit & 1 == 1
    }
}

/// Names a file of [`FOLDER_FILES`] (its number, then the length of its bytes in two), and the bytes.
pub fn push_file(input: &mut Vec<u8>, file: usize, bytes: &[u8]) {
    input.push(file as u8);
    input.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    input.extend_from_slice(bytes);
}

/// The files that `input` names, as [`push_file`] put them there; the last one may be cut short.
pub fn files(mut input: &[u8]) -> impl Iterator<Item = (&'static str, &[u8])> {
    std::iter::from_fn(move || {
        let ([file, low, high], behind) = input.split_first_chunk()?;
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (bytes, rest) = behind.split_at(len);
        input = rest;
        Some((FOLDER_FILES[usize::from(*file) % FOLDER_FILES.len()], bytes))
    })
}

/// Puts the checksum of one of [`FOLDER_FILES`] right, if it has one.
pub fn right_the_file(name: &str, bytes: &mut Vec<u8>) {
    if name.contains(".log") {
        right_the_batches(bytes);
    } else if name.ends_with(".snapshot") && bytes.len() >= 6 {
        let crc = crc32c::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    } else if name.contains("trunkline-") {
        let lines = bytes.iter().rposition(|byte| *byte == b'c').unwrap_or(bytes.len());
        let covered = bytes[..lines].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(covered);
        let crc = crc32c::crc32c(bytes);
        bytes.extend_from_slice(format!("crc32c {crc:08x}\n").as_bytes());
    }
}

/// Two bytes of record count, then what stands behind a batch's header.
pub fn count_and_payload(input: &[u8]) -> Option<(u16, &[u8])> {
    let (count, payload) = input.split_first_chunk()?;
    Some((u16::from_le_bytes(*count), payload))
}

/// Decodes `input` as the records of a batch with this codec: an error or records, and never more
/// memory than was allowed.
pub fn decompress(codec: u8, input: &[u8]) {
    let Some((count, payload)) = count_and_payload(input) else { return };
    let bytes = framed(codec, count, payload);
    let batch = Batch::check(&bytes).expect("the header and its checksum are right");
    // One decoder for all inputs, as a consumer has it: what one leaves behind must not harm the next.
    thread_local! {
        static DECODER: RefCell<Decoder> = RefCell::new(Decoder::with_limit(MAX_OUTPUT));
    }
    DECODER.with_borrow_mut(|decoder| {
        if let Ok(mut records) = batch.records(decoder) {
            while let Some(Ok(_)) = records.next() {}
        }
        assert!(decoder.buffer_bytes() <= 2 * MAX_OUTPUT);
    });
}
