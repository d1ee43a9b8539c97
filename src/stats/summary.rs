//! Middle and spread of a sample.
//!
//! ```text
//! mean            x̄ = Σ xᵢ ∕ n
//! median          the middle value in order; the mean of the two middle ones if n is even
//! stddev          s = √( Σ (xᵢ − x̄)² ∕ (n − 1) )          of the sample: Bessel's correction, n − 1
//! relative spread s ∕ |x̄|                                  the coefficient of variation
//! standard error  s ∕ √n ∕ |x̄|                             the spread of the mean itself
//! ```
//!
//! `perf stat -r` prints "+- x %", which is the standard error of the mean; perfd prints the spread of single runs, since that
//! is what the next run will show, and it does not shrink just because more runs were made. The median stands beside the
//! mean because one disturbed run moves the mean and not the median: where the two differ, a run was disturbed.
//!
//! Sums are made in two passes over values around their mean, so that counts of 10¹² with a spread of 1 keep their digits
//! (the textbook Σx² − n·x̄² loses them all).

/// Middle and spread of one or more values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Middle value.
    pub median: f64,
    /// Standard deviation of the sample; `None` for a single value, of which nothing is known.
    pub stddev: Option<f64>,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Summary {
    /// Of finite values; `None` if there are none, or one is not finite.
    pub fn of(values: &[f64]) -> Option<Summary> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let n = sorted.len();
        // Around the smallest value, for the digits.
        let mean = min + sorted.iter().map(|value| value - min).sum::<f64>() / count(n);
        let stddev = (n > 1).then(|| {
            let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / count(n - 1)).sqrt()
        });
        Some(Summary {
            n,
            mean,
            median: median(&sorted),
            stddev,
            min,
            max,
        })
    }

    /// s ∕ |x̄|; `None` for a single value or a mean of 0.
    pub fn relative_spread(&self) -> Option<f64> {
        let stddev = self.stddev?;
        (self.mean != 0.0).then(|| stddev / self.mean.abs())
    }

    /// s ∕ √n; `None` for a single value.
    pub fn error_of_mean(&self) -> Option<f64> {
        self.stddev.map(|stddev| stddev / count(self.n).sqrt())
    }

    /// s ∕ √n ∕ |x̄|: what `perf stat -r` prints behind `+-`.
    pub fn relative_error_of_mean(&self) -> Option<f64> {
        self.relative_spread()
            .map(|spread| spread / count(self.n).sqrt())
    }
}

/// `sorted` is not empty.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        let (below, above) = (sorted[middle - 1], sorted[middle]);
        below + (above - below) / 2.0
    }
}

/// A number of values as a divisor; exact far beyond any number of runs.
fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], mean: f64, median: f64, stddev: Option<f64>) {
        let summary = Summary::of(values).unwrap();
        assert_eq!(summary.n, values.len());
        assert!((summary.mean - mean).abs() < 1e-9, "{summary:?}");
        assert!((summary.median - median).abs() < 1e-9, "{summary:?}");
        match (summary.stddev, stddev) {
            (Some(is), Some(expected)) => assert!((is - expected).abs() < 1e-9, "{summary:?}"),
            (is, expected) => assert_eq!(is, expected),
        }
    }

    #[test]
    fn mean_median_and_stddev_are_the_textbook_ones() {
        check(
            &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0],
            5.0,
            4.5,
            Some((32.0_f64 / 7.0).sqrt()),
        );
        check(&[3.0, 1.0, 2.0], 2.0, 2.0, Some(1.0));
        check(&[1.0, 2.0], 1.5, 1.5, Some(0.5_f64.sqrt()));
        check(&[5.0, 5.0, 5.0], 5.0, 5.0, Some(0.0));
    }

    #[test]
    fn a_single_value_has_no_spread() {
        check(&[7.0], 7.0, 7.0, None);
        assert_eq!(Summary::of(&[7.0]).unwrap().relative_spread(), None);
    }

    #[test]
    fn no_values_and_values_that_are_no_numbers_have_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
        assert_eq!(Summary::of(&[f64::INFINITY]), None);
    }

    #[test]
    fn a_small_spread_of_huge_counts_keeps_its_digits() {
        check(
            &[1e15, 1e15 + 2.0, 1e15 + 4.0],
            1e15 + 2.0,
            1e15 + 2.0,
            Some(2.0),
        );
    }

    #[test]
    fn one_disturbed_run_moves_the_mean_and_not_the_median() {
        let summary = Summary::of(&[10.0, 10.0, 10.0, 10.0, 100.0]).unwrap();
        assert_eq!(summary.median, 10.0);
        assert!((summary.mean - 28.0).abs() < 1e-9);
    }

    #[test]
    fn relative_spread_is_of_the_mean_and_a_mean_of_zero_has_none() {
        let summary = Summary::of(&[9.0, 10.0, 11.0]).unwrap();
        assert!((summary.relative_spread().unwrap() - 0.1).abs() < 1e-12);
        let error = summary.relative_error_of_mean().unwrap();
        assert!((error - 0.1 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Summary::of(&[0.0, 0.0]).unwrap().relative_spread(), None);
    }
}
