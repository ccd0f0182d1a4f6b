//! Strict reading of small text files: lines with their numbers and byte positions, fields parted
//! by one space, numbers in one spelling only. What is strict here finds a flipped bit early.

use std::path::Path;

use crate::error::Corruption;

/// Reads lines one by one. Each must end with a newline: a file cut short never passes for whole.
pub(super) struct Lines<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    position: usize,
    number: u32,
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes, position: 0, number: 0 }
    }

    /// The next line; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Line<'a>>, Corruption> {
        let rest = &self.bytes[self.position..];
        if rest.is_empty() {
            return Ok(None);
        }
        let position = self.position as u64;
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            let end = self.bytes.len() as u64;
            return Err(Corruption::new(self.path, end, "line end", "a newline", "end of file"));
        };
        let text = &rest[..length];
        let plain = |byte: &u8| matches!(byte, b' '..=b'~');
        let text = match text.iter().position(|byte| !plain(byte)) {
            // All plain ASCII, which is UTF-8.
            None => str::from_utf8(text).unwrap_or_default(),
            Some(at) => {
                let found = format!("0x{:02x}", text[at]);
                let position = position + at as u64;
                return Err(Corruption::new(self.path, position, "text", "plain ASCII", found));
            }
        };
        self.position += length + 1;
        self.number += 1;
        Ok(Some(Line { path: self.path, text, position, number: self.number }))
    }

    /// The next line, which must be there.
    pub(super) fn expect(&mut self, what: &'static str) -> Result<Line<'a>, Corruption> {
        let end = self.bytes.len() as u64;
        self.next()?
            .ok_or_else(|| Corruption::new(self.path, end, what, "one more line", "end of file"))
    }
}

/// A line without its newline.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    path: &'a Path,
    pub(super) text: &'a str,
    /// Byte position in the file.
    pub(super) position: u64,
    /// From 1.
    pub(super) number: u32,
}

impl<'a> Line<'a> {
    /// The line's fields, exactly `N` of them, parted by single spaces.
    pub(super) fn fields<const N: usize>(
        &self,
        what: &'static str,
    ) -> Result<[Field<'a>; N], Corruption> {
        let mut fields = [Field { path: self.path, text: "", position: self.position }; N];
        let mut position = self.position;
        let mut count = 0;
        for text in self.text.split(' ') {
            if let Some(field) = fields.get_mut(count) {
                *field = Field { path: self.path, text, position };
            }
            position += text.len() as u64 + 1;
            count += 1;
        }
        if count != N {
            return Err(self.refuse(what, format_args!("{N} fields")));
        }
        Ok(fields)
    }

    /// The whole line as one field.
    pub(super) fn field(&self) -> Field<'a> {
        Field { path: self.path, text: self.text, position: self.position }
    }

    /// An error over the whole line.
    pub(super) fn refuse(
        &self,
        what: &'static str,
        expected: impl std::fmt::Display,
    ) -> Corruption {
        self.field().refuse(what, expected)
    }
}

/// A part of a line.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    path: &'a Path,
    pub(super) text: &'a str,
    position: u64,
}

impl Field<'_> {
    /// A number from 0 to `max`: digits only, without leading zeros.
    pub(super) fn number(&self, what: &'static str, max: i64) -> Result<i64, Corruption> {
        let digits = self.text.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = self.text == "0" || !self.text.starts_with('0');
        let value = self.text.parse::<i64>().ok().filter(|value| *value <= max);
        match value {
            Some(value) if digits && canonical => Ok(value),
            _ => Err(self.refuse(what, format_args!("a number from 0 to {max}"))),
        }
    }

    /// Eight lower-case hex digits.
    pub(super) fn hex(&self, what: &'static str) -> Result<u32, Corruption> {
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let spelled = self.text.len() == 8 && self.text.bytes().all(lower);
        match u32::from_str_radix(self.text, 16) {
            Ok(value) if spelled => Ok(value),
            _ => Err(self.refuse(what, "8 lower-case hex digits")),
        }
    }

    /// An error over this field.
    pub(super) fn refuse(
        &self,
        what: &'static str,
        expected: impl std::fmt::Display,
    ) -> Corruption {
        // A line can be as long as the file; a message should not.
        let mut found: String = self.text.chars().take(100).collect();
        found.insert(0, '`');
        found.push('`');
        Corruption::new(self.path, self.position, what, expected, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_know_their_position_and_numbers_one_spelling() {
        let mut lines = Lines::new(Path::new("f"), b"0\nab 17 x\n");
        assert_eq!(lines.next().unwrap().unwrap().text, "0");
        let line = lines.next().unwrap().unwrap();
        assert_eq!((line.number, line.position), (2, 2));
        let [a, b, c] = line.fields("entry").unwrap();
        assert_eq!((a.text, b.number("offset", 17).unwrap(), c.text), ("ab", 17, "x"));
        assert_eq!(b.number("offset", 16).unwrap_err().position, 5);
        assert!(lines.next().unwrap().is_none());
        for bad in ["", "00", "+1", "-1", "1 ", "9223372036854775808", "1_0"] {
            let bytes = format!("{bad}\n");
            let line = Lines::new(Path::new("f"), bytes.as_bytes()).next().unwrap().unwrap();
            assert!(line.field().number("offset", i64::MAX).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_line_without_its_newline_and_bytes_that_are_no_text_are_refused() {
        let error = Lines::new(Path::new("f"), b"12").next().err().unwrap();
        assert_eq!((error.what, error.position), ("line end", 2));
        let error = Lines::new(Path::new("f"), b"1\x002\n").next().err().unwrap();
        assert_eq!((error.what, error.position), ("text", 1));
    }
}
