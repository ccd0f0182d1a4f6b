//! Lines of prose.

use super::words::Words;

/// Length at which a line ends, in bytes.
const LINE: usize = 70;

/// Appends words until `bytes` has at least `end` bytes.
pub(super) fn write(bytes: &mut Vec<u8>, end: usize, words: &Words, random: &mut fastrand::Rng) {
    let mut line_from =
        bytes.iter().rev().take(2 * LINE).position(|byte| *byte == b'\n').unwrap_or(0);
    line_from = bytes.len() - line_from;
    while bytes.len() < end {
        let starts_sentence = matches!(bytes.last_chunk::<2>(), None | Some(b". " | b".\n"));
        let start = bytes.len();
        bytes.extend_from_slice(words.draw(random));
        if starts_sentence {
            bytes[start].make_ascii_uppercase();
        }
        match random.u8(..64) {
            0..4 => bytes.push(b'.'),
            4..9 => bytes.push(b','),
            9 => bytes.push(b';'),
            10 => bytes.extend_from_slice(b"--"),
            _ => (),
        }
        if bytes.len() - line_from > LINE {
            bytes.push(b'\n');
            line_from = bytes.len();
        } else {
            bytes.push(b' ');
        }
    }
}
