//! Numbers with a unit behind them, as all quantities on the command line are written.

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// No number where one was expected.
    #[error("`{text}` is not a number with a unit, such as {example}")]
    Number {
        /// What was given.
        text: String,
        /// What it could have been.
        example: &'static str,
    },
    /// Outside of what makes sense.
    #[error("`{text}`: {range}")]
    Range {
        /// What was given.
        text: String,
        /// What it may be.
        range: &'static str,
    },
    /// A unit that is not known here.
    #[error("`{text}`: the unit must be {expected}")]
    Unit {
        /// What was given.
        text: String,
        /// The units that are known.
        expected: &'static str,
    },
    /// Not a whole number of the smallest unit.
    #[error("`{text}` is not a whole number of the smallest unit")]
    Fraction {
        /// What was given.
        text: String,
    },
    /// Larger than what can be counted.
    #[error("`{text}` is too large")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

/// Digits in front, unit behind: `16KiB` → (`16`, `KiB`).
pub fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end =
        text.find(|c: char| !c.is_ascii_digit() && c != '_' && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// `digits` (with `_` between them and a decimal point, as you like) times `factor`, exactly.
pub fn scaled(text: &str, digits: &str, factor: u64) -> Result<u64, NumberError> {
    let malformed =
        || NumberError::Number { text: text.into(), example: "1_000, 1.5M, 16KiB, 5ms" };
    let too_large = || NumberError::TooLarge { text: text.into() };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let legal = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
            && !part.starts_with('_')
            && !part.ends_with('_')
    };
    if whole.is_empty() || !legal(whole) || !legal(fraction) || digits.ends_with('.') {
        return Err(malformed());
    }
    let mut value: u128 = whole.replace('_', "").parse().map_err(|_| too_large())?;
    let mut divisor: u128 = 1;
    for digit in fraction.bytes().filter(u8::is_ascii_digit) {
        value = value.checked_mul(10).ok_or_else(too_large)? + u128::from(digit - b'0');
        divisor = divisor.checked_mul(10).ok_or_else(too_large)?;
    }
    let product = value.checked_mul(u128::from(factor)).ok_or_else(too_large)?;
    if !product.is_multiple_of(divisor) {
        return Err(NumberError::Fraction { text: text.into() });
    }
    u64::try_from(product / divisor).map_err(|_| too_large())
}
