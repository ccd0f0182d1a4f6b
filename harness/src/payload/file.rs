//! A pool from a file of the user's.

use std::{fs::File, io::Read, path::Path};

use super::PayloadError;

/// The first `expected` bytes of the file.
pub(super) fn read(path: &Path, expected: usize) -> Result<Vec<u8>, PayloadError> {
    let failed = |source| PayloadError::Read { path: path.into(), source };
    let mut bytes = Vec::with_capacity(expected);
    File::open(path)
        .and_then(|file| file.take(expected as u64).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() < expected {
        return Err(PayloadError::TooSmall { path: path.into(), expected, found: bytes.len() });
    }
    Ok(bytes)
}

/// Whether the file has `expected` bytes. Of what is no plain file, such as a device, nobody knows.
pub(super) fn check(path: &Path, expected: usize) -> Result<(), PayloadError> {
    let failed = |source| PayloadError::Read { path: path.into(), source };
    let metadata = File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
    let found = metadata.len() as usize;
    if metadata.is_file() && found < expected {
        return Err(PayloadError::TooSmall { path: path.into(), expected, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::*;

    #[test]
    fn a_file_is_cut_into_records_and_a_small_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("payload");
        let bytes: Vec<u8> = (0..POOL_BYTES as u32 / 4).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &bytes).unwrap();
        let kind = PayloadKind::File(path.clone());
        let fill = || Pool::fill(&kind, ByteSize(1_024), 0, &mut |_| ());
        assert_eq!(fill().unwrap().record(3), &bytes[3_072..4_096]);

        let check = || Pool::check(&kind, ByteSize(1_024));
        assert!(check().is_ok());
        std::fs::write(&path, &bytes[1..]).unwrap();
        assert!(matches!(check(), Err(PayloadError::TooSmall { .. })));
        let error = fill().unwrap_err().to_string();
        assert!(error.contains("33554431 bytes") && error.contains("33554432"), "{error}");

        std::fs::remove_file(&path).unwrap();
        assert!(matches!(fill(), Err(PayloadError::Read { .. })));
        assert!(matches!(check(), Err(PayloadError::Read { .. })));
    }
}
