//! Ratios of samples, as for one function of a run, with their error.
//!
//! A sample of period w stands for w occurrences, of which it shows one. Take each occurrence to be sampled
//! with the chance 1∕w, independently of the others (Poisson sampling). Then Ŵ = Σ w estimates how many there were
//! (Horvitz and Thompson 1952), and an unbiased estimate of its variance is Σ w(w − 1):
//!
//! ```text
//! relative variance   v = (Σ w² − Σ w) ∕ (Σ w)²          1∕n for n samples of one large period; 0 for a period of 1
//! relative error      e = √( v_a + v_b + (s_a − s_b)² )  of the ratio Ŵ_a ∕ Ŵ_b, to first order (delta method)
//! effective number    n = (Σ w)² ∕ Σ w²                  the samples of one period that would tell as much (Kish 1965)
//! ```
//!
//! The kernel in truth takes every w-th occurrence, which is systematic sampling. Where the samples fall in code that
//! does not repeat in step with the period, it is no worse than Poisson sampling (Cochran, *Sampling Techniques*, 8.5: the variances
//! are equal where the order is random, and smaller where neighbours are alike). A loop in step with the period breaks the
//! assumption, as it does for every count that samples give.
//!
//! s is the share of an event's count that its samples explain. Lost samples may all have been those of one function;
//! where both events have lost the same share, the ratio stands, and where not, the difference is taken as an error.

use super::{Ratio, RatioKind};
use crate::model::{EventIdx, EventLedger, SampledEvent, Weight};

/// Fewer effective samples are too few for the delta method: 1∕√30 is an error of 18 %.
const MIN_EFFECTIVE: f64 = 30.0;

/// A ratio of two events of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledRatio {
    /// Which one.
    pub kind: RatioKind,
    /// The event that is divided.
    pub of: EventIdx,
    /// The event by which it is divided.
    pub by: EventIdx,
    /// How unevenly the two events' samples were lost, s_a − s_b; or why the two have no ratio in this run.
    pub uneven_loss: Result<f64, Refusal>,
}

/// Why two events have no ratio in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// One was sampled in user mode only or in kernel mode only, and the other was not.
    Modes,
    /// An event shared the PMU in turns and ran for only this share of the time.
    Turns(EventIdx, f64),
    /// An event never counted.
    NeverRan(EventIdx),
}

impl SampledRatio {
    /// The ratios for which a run has both events, in the order of the events that are divided.
    pub fn of_run(events: &[SampledEvent], accounts: &[EventLedger]) -> Vec<SampledRatio> {
        let pairs = (0..events.len().min(accounts.len())).flat_map(|of| {
            RatioKind::ALL.into_iter().filter_map(move |kind| {
                let by = divisor(kind, of, events)?;
                Some(SampledRatio {
                    kind,
                    of: EventIdx(of),
                    by: EventIdx(by),
                    uneven_loss: uneven_loss(of, by, events, accounts),
                })
            })
        });
        pairs.collect()
    }

    /// The ratio of one function, or of all of them; `weights` are by event. `None` where one event has too few samples.
    pub fn between(&self, weights: &[Weight]) -> Option<Ratio> {
        let uneven_loss = self.uneven_loss.ok()?;
        let (of, by) = (weights.get(self.of.0)?, weights.get(self.by.0)?);
        if effective(of) < MIN_EFFECTIVE || effective(by) < MIN_EFFECTIVE {
            return None;
        }
        let value = float(of.total.into()) / float(by.total.into()) * self.kind.factor();
        let variance = relative_variance(of) + relative_variance(by) + uneven_loss.powi(2);
        Some(Ratio {
            kind: self.kind,
            value,
            error: Some(value * variance.sqrt()),
        })
    }
}

/// The position of the event that divides `events[of]`: the first in the same modes, else the first in any.
fn divisor(kind: RatioKind, of: usize, events: &[SampledEvent]) -> Option<usize> {
    let by = kind.divisor(&events[of].spec.source)?;
    let find = |matches: &dyn Fn(&SampledEvent) -> bool| {
        events
            .iter()
            .position(|event| event.spec.source == by && matches(event))
    };
    find(&|event| event.modes == events[of].modes).or_else(|| find(&|_| true))
}

fn uneven_loss(
    of: usize,
    by: usize,
    events: &[SampledEvent],
    accounts: &[EventLedger],
) -> Result<f64, Refusal> {
    if events[of].modes != events[by].modes {
        return Err(Refusal::Modes);
    }
    let explained = |idx: usize| {
        let account = &accounts[idx];
        if !account.ran_all_the_time() {
            return Err(Refusal::Turns(EventIdx(idx), account.running_share()));
        }
        // `None`: it counted nothing. Then there is no sample either, and no ratio for another reason.
        Ok(account.coverage().unwrap_or(1.0))
    };
    for idx in [of, by] {
        if accounts[idx].running_ns == 0 {
            return Err(Refusal::NeverRan(EventIdx(idx)));
        }
    }
    Ok(explained(of)? - explained(by)?)
}

/// (Σ w)² ∕ Σ w²; 0 without samples.
fn effective(weight: &Weight) -> f64 {
    match weight.squares {
        0 => 0.0,
        squares => float(weight.total.into()).powi(2) / float(squares),
    }
}

/// (Σ w² − Σ w) ∕ (Σ w)²; `weight` is not empty.
fn relative_variance(weight: &Weight) -> f64 {
    let total = u128::from(weight.total);
    float(weight.squares.saturating_sub(total)) / float(total).powi(2)
}

#[expect(clippy::cast_precision_loss, reason = "statistics are of real numbers")]
fn float(number: u128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Modes, Rate};

    fn event(text: &str) -> SampledEvent {
        let spec: crate::model::EventSpec = text.parse().expect(text);
        SampledEvent {
            modes: spec.modes,
            spec,
            rate: Rate::Period(1),
        }
    }

    /// So many samples per thousand that ran for this share of 1000 ns.
    fn account(explained: u64, running: u64) -> EventLedger {
        EventLedger {
            sampled_weight: explained,
            counted_weight: Some(1000),
            enabled_ns: 1000,
            running_ns: running,
            ..EventLedger::default()
        }
    }

    fn weight(n_samples: u64, period: u64) -> Weight {
        let mut weight = Weight::default();
        (0..n_samples).for_each(|_| weight.add(period));
        weight
    }

    fn ipc(accounts: [EventLedger; 2]) -> SampledRatio {
        let ratios = SampledRatio::of_run(&[event("cycles"), event("instructions")], &accounts);
        assert_eq!(ratios.len(), 1);
        ratios.into_iter().next().expect("one")
    }

    #[test]
    fn a_fixed_period_has_the_error_of_its_number_of_samples() {
        let ratio = ipc([account(1000, 1000), account(1000, 1000)]);
        let ratio = ratio
            .between(&[weight(100, 1_000_000), weight(400, 500_000)])
            .expect("enough");
        assert_eq!(ratio.value, 2.0);
        // √(1∕100 + 1∕400) of 2.0, but for what a period of 10⁶ is short of a very large one.
        let error = ratio.error.expect("sampled");
        assert!((error - 2.0 * 0.0125_f64.sqrt()).abs() < 1e-6, "{error}");
    }

    #[test]
    fn a_period_of_one_has_no_error_of_its_own() {
        let events = [event("instructions"), event("page-faults")];
        let ratios = SampledRatio::of_run(&events, &[account(1000, 1000), account(1000, 1000)]);
        assert_eq!(
            (ratios.len(), ratios[0].of, ratios[0].by),
            (1, EventIdx(1), EventIdx(0))
        );
        let ratio = ratios[0]
            .between(&[weight(100, 1_000_000), weight(50, 1)])
            .expect("enough");
        assert_eq!(ratio.value, 0.0005);
        let relative = ratio.error.expect("sampled") / ratio.value;
        assert!((relative - 0.1).abs() < 1e-6, "{relative}");
    }

    #[test]
    fn uneven_periods_tell_less_than_their_number() {
        let mut uneven = weight(100, 1);
        uneven.add(1_000_000);
        let ratio = ipc([account(1000, 1000), account(1000, 1000)]);
        assert!(effective(&uneven) < 1.1);
        assert_eq!(ratio.between(&[uneven, weight(100, 10)]), None);
    }

    #[test]
    fn thirty_samples_are_enough_and_twenty_nine_are_not() {
        let ratio = ipc([account(1000, 1000), account(1000, 1000)]);
        let has = |cycles, instructions| {
            ratio
                .between(&[weight(cycles, 7), weight(instructions, 7)])
                .is_some()
        };
        assert!(has(30, 30));
        assert!(!has(29, 30) && !has(30, 29) && !has(0, 0) && !has(1000, 0));
        assert_eq!(ratio.between(&[]), None);
    }

    #[test]
    fn samples_lost_in_one_event_widen_the_bar_and_evenly_lost_ones_do_not() {
        let error = |cycles, instructions| {
            let ratio = ipc([account(cycles, 1000), account(instructions, 1000)]);
            ratio
                .between(&[weight(10_000, 100), weight(10_000, 100)])
                .expect("enough")
                .error
                .expect("sampled")
        };
        assert_eq!(error(500, 500), error(1000, 1000));
        assert!(error(1000, 1000) < 0.015);
        assert!((0.3..0.301).contains(&error(700, 1000)));
        assert_eq!(error(700, 1000), error(1000, 700));
    }

    #[test]
    fn events_that_did_not_run_together_say_why_they_have_no_ratio() {
        let half = ipc([account(1000, 500), account(1000, 1000)]);
        assert_eq!(half.uneven_loss, Err(Refusal::Turns(EventIdx(0), 0.5)));
        assert_eq!(half.between(&[weight(100, 9), weight(100, 9)]), None);
        // Even with the same turns: the samples of one event are not known to be of the moments of the other's.
        let both = ipc([account(1000, 500), account(1000, 500)]);
        assert!(both.uneven_loss.is_err());
        let never = ipc([account(1000, 1000), account(0, 0)]);
        assert_eq!(never.uneven_loss, Err(Refusal::NeverRan(EventIdx(1))));
        let accounts = [account(1000, 1000), account(1000, 1000)];
        let ratios = SampledRatio::of_run(&[event("cycles:u"), event("instructions")], &accounts);
        assert_eq!(ratios[0].uneven_loss, Err(Refusal::Modes));
        // Narrowed by the kernel, it is in the same modes after all.
        let narrowed = SampledEvent {
            modes: Modes::USER,
            ..event("instructions")
        };
        let ratios = SampledRatio::of_run(&[event("cycles:u"), narrowed], &accounts);
        assert_eq!(ratios[0].uneven_loss, Ok(0.0));
    }

    #[test]
    fn a_run_without_the_other_event_has_no_ratio() {
        let ratios = SampledRatio::of_run(&[event("instructions")], &[account(1000, 1000)]);
        assert!(ratios.is_empty());
        let events = [
            event("cycles:k"),
            event("cycles:u"),
            event("instructions:u"),
        ];
        let accounts = [(); 3].map(|()| account(1000, 1000));
        let ratios = SampledRatio::of_run(&events, &accounts);
        assert_eq!((ratios.len(), ratios[0].by), (1, EventIdx(1)));
    }
}
