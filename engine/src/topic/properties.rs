//! The text form of settings: `name=value` lines as in Java's `.properties` files.

/// A line that is no property.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found:?}")]
pub struct PropertyError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What it should be.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

/// One `name=value` line for each property. Whatever has a meaning of its own is escaped, so that
/// [`read`] gives the same again.
pub(super) fn write<'a>(properties: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = String::new();
    for (name, value) in properties {
        escape(name, true, &mut text);
        text.push('=');
        escape(&value, false, &mut text);
        text.push('\n');
    }
    text
}

/// The properties of `text`, each name and value unescaped. Lines that are empty or begin with `#` or
/// `!` say nothing; `=`, `:` or blanks part name from value. A line cannot be continued on the next.
pub(super) fn read(
    text: &str,
) -> impl Iterator<Item = Result<(String, String), PropertyError>> + '_ {
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            return None;
        }
        let refuse = |expected| PropertyError { line: index + 1, expected, found: line.into() };
        Some(parse(line).map_err(refuse))
    })
}

fn parse(line: &str) -> Result<(String, String), &'static str> {
    let end = end_of_name(line);
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    if name.is_empty() {
        return Err("a name before the value");
    }
    Ok((unescape(name)?, unescape(value)?))
}

/// Position of the first `=`, `:` or blank that no backslash stands before.
fn end_of_name(line: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in line.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' | ' ' | '\t' => return at,
            _ => {}
        }
    }
    line.len()
}

fn escape(text: &str, is_name: bool, into: &mut String) {
    for (index, letter) in text.chars().enumerate() {
        match letter {
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '\\' => into.push_str("\\\\"),
            ' ' | '#' | '!' if index == 0 => into.extend(['\\', letter]),
            '=' | ':' | ' ' if is_name => into.extend(['\\', letter]),
            letter => into.push(letter),
        }
    }
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                plain.push(code.and_then(char::from_u32).ok_or("four hex digits after \\u")?);
            }
            Some(other) => plain.push(other),
            None => return Err("a letter after the last backslash"),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn lines_are_read_as_java_reads_them() {
        let text = "# note\n! note\n\n  a=1\nb : 2 3 \nc d\ne\nf\\=g=\\u0068\\ti\n";
        let expected = [("a", "1"), ("b", "2 3 "), ("c", "d"), ("e", ""), ("f=g", "h\ti")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (name, value) in [
            ("a", "b"),
            ("a b", " c "),
            ("x=y:z", "1=2"),
            ("#n", "#v"),
            ("l", "1\n2\r\\\t"),
            ("é", "ü"),
        ] {
            let text = write([(name, value.to_owned())]);
            assert_eq!(pairs(&text), [(name.to_owned(), value.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        for (text, line) in [("a=1\n=2", 2), ("a=\\u12", 1), ("a=b\\", 1)] {
            let error = read(text).find_map(Result::err).unwrap();
            assert_eq!(error.line, line, "{text:?}");
        }
    }
}
