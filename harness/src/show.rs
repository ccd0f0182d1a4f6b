//! Figures as people read them.

/// Microseconds with three digits and the unit that fits; `n/a` where the value is not earned.
pub fn micros(us: Option<f64>) -> String {
    let Some(us) = us else { return "n/a".into() };
    let (value, unit) = match us {
        us if us < 999.5 => (us, "µs"),
        us if us < 999_500.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A count or rate with three digits: `523 k`, `1.20 M`.
pub fn rate(value: f64) -> String {
    let (value, unit) = match value {
        value if value < 999.5 => (value, ""),
        value if value < 999_500.0 => (value / 1e3, " k"),
        value if value < 999.5e6 => (value / 1e6, " M"),
        value => (value / 1e9, " G"),
    };
    format!("{}{unit}", three_digits(value))
}

/// Three digits, no exponent: `0.123`, `1.23`, `12.3`, `123`, `1234`.
pub fn three_digits(value: f64) -> String {
    let places = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        0.0 => 0,
        _ => 3,
    };
    format!("{value:.places$}")
}

/// A value that may be missing, with three digits.
pub fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".into(), three_digits)
}

/// A part of one as percent.
pub fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(micros(None), "n/a");
        let shown = [0.4, 12.34, 999.4, 999.6, 1_234.5, 2_500_000.0].map(|us| micros(Some(us)));
        assert_eq!(shown, ["0.400 µs", "12.3 µs", "999 µs", "1.00 ms", "1.23 ms", "2.50 s"]);
        let shown = [0.0, 999.0, 1_000.0, 523_456.0, 1_200_000.0, 2e9].map(rate);
        assert_eq!(shown, ["0", "999", "1.00 k", "523 k", "1.20 M", "2.00 G"]);
        assert_eq!(percent(0.984), "98 %");
        assert_eq!(three_digits(99.96), "100");
    }
}
