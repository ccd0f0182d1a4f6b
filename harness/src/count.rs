//! Counts as people write them: `1_000_000`, `2M`, `500k`.

use std::{fmt, str::FromStr};

use crate::number::{self, NumberError};

/// A number of things. `k`, `M` and `G` are 1000s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u64);

impl FromStr for Count {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let (digits, unit) = number::split(text);
        let factor = match unit {
            "" => 1,
            "k" | "K" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            _ => {
                return Err(NumberError::Unit {
                    text: text.into(),
                    expected: "k (1,000), M (1,000,000) or G (1,000,000,000)",
                });
            }
        };
        number::scaled(text, digits, factor).map(Self)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
        let unit =
            units.iter().find(|(factor, _)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match unit {
            Some((factor, name)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 batch`, `1,234 batches`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_shown() {
        for (text, n) in [("7", 7), ("1_000_000", 1_000_000), ("2M", 2_000_000), ("1.5k", 1_500)] {
            assert_eq!(text.parse(), Ok(Count(n)), "{text}");
            assert_eq!(Count(n).to_string().parse(), Ok(Count(n)));
        }
        for text in ["", "k", "1.5", "2m", "-3", "1MiB"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
        assert_eq!(Count(2_000_000).to_string(), "2M");
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), text);
        }
    }
}
