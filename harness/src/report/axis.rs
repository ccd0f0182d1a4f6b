//! A logarithmic axis.

/// From a range of values to a range of pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogAxis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl LogAxis {
    /// An axis over `values` with a little room at both ends, drawn from pixel `from` to `to`.
    /// Without a positive value it spans 1 to 10.
    pub(super) fn over(values: &(impl Iterator<Item = f64> + Clone), from: f64, to: f64) -> Self {
        let positive = || values.clone().filter(|value| *value > 0.0);
        let (least, most) = (positive().fold(f64::MAX, f64::min), positive().fold(0.0, f64::max));
        let (least, most) = if most > 0.0 { (least / 1.3, most * 1.3) } else { (1.0, 10.0) };
        Self { least, most, from, to }
    }

    /// Where a value stands, in pixels.
    pub(super) fn at(self, value: f64) -> f64 {
        let part = (value.max(self.least) / self.least).ln() / (self.most / self.least).ln();
        self.from + part * (self.to - self.from)
    }

    /// Round values to mark: 1, 2, 5 of each decade, or only 1 where these would be many.
    pub(super) fn ticks(self) -> Vec<f64> {
        let decades = self.least.log10().floor() as i32..=self.most.log10().ceil() as i32;
        let marks = |steps: &[f64]| {
            let all = decades.clone().flat_map(|decade| {
                steps.iter().map(move |step| step * 10_f64.powi(decade)).collect::<Vec<_>>()
            });
            all.filter(|tick| (self.least..=self.most).contains(tick)).collect::<Vec<_>>()
        };
        let fine = marks(&[1.0, 2.0, 5.0]);
        if fine.len() <= 8 { fine } else { marks(&[1.0]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_evenly_spaced() {
        let axis = LogAxis::over(&[1.3, 1_000.0 / 1.3].into_iter(), 0.0, 300.0);
        for (value, pixel) in [(1.0, 0.0), (10.0, 100.0), (100.0, 200.0), (1_000.0, 300.0)] {
            assert!((axis.at(value) - pixel).abs() < 1e-6, "{value}");
        }
        assert_eq!(axis.ticks().len(), 4);
        let narrow = LogAxis::over(&[30.0, 100.0].into_iter(), 0.0, 1.0);
        assert_eq!(narrow.ticks(), [50.0, 100.0]);
        assert_eq!(LogAxis::over(&[0.0].into_iter(), 0.0, 1.0).ticks(), [1.0, 2.0, 5.0, 10.0]);
    }
}
