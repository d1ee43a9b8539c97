//! An event with the rate that stands in its text: `cycles/period=100000/u`.
//!
//! A rate of its own lets one run sample cycles at a large period beside every single page fault. An event without one is
//! sampled as the run says (`-F`, `-c`). The grammar is in `event_text.rs`.

use std::fmt;

use super::{EventSource, EventSpec, Modes, Rate};

/// An event to sample, as asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedEvent {
    /// What is sampled.
    pub spec: EventSpec,
    /// How often; `None` leaves it to the run.
    pub rate: Option<Rate>,
}

impl From<EventSpec> for AskedEvent {
    fn from(spec: EventSpec) -> AskedEvent {
        AskedEvent { spec, rate: None }
    }
}

/// The inverse of parsing.
impl fmt::Display for AskedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AskedEvent { spec, rate } = self;
        let Some(rate) = rate else {
            return spec.fmt(f);
        };
        let source = spec.source.to_string();
        match &spec.source {
            EventSource::Pmu { terms, .. } => {
                let comma = if terms.is_empty() { "" } else { "," };
                write!(f, "{}{comma}", source.trim_end_matches('/'))?;
                if terms.is_empty() {
                    f.write_str("/")?;
                }
            }
            _ => write!(f, "{source}/")?,
        }
        match rate {
            Rate::Period(period) => write!(f, "period={period}/")?,
            Rate::Frequency(hz) => write!(f, "freq={}/", hz.0)?,
        }
        f.write_str(match spec.modes {
            Modes::USER => "u",
            Modes::KERNEL => "k",
            _ => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Hz, ParseEventError, parse_events};

    fn asked(text: &str) -> Result<AskedEvent, ParseEventError> {
        text.parse()
    }

    #[test]
    fn every_kind_of_event_may_have_a_rate_of_its_own() {
        let period = |period| Some(Rate::Period(period));
        for (text, event, rate) in [
            ("cycles/period=100000/", "cycles", period(100_000)),
            ("page-faults/period=1/u", "page-faults:u", period(1)),
            (
                "cycles/freq=997/:k",
                "cycles:k",
                Some(Rate::Frequency(Hz(997))),
            ),
            (
                "L1-dcache-loads/period=0x10/",
                "L1-dcache-loads",
                period(16),
            ),
            ("r01c2/period=7/", "r1c2", period(7)),
            (
                "cpu/event=0xc2,period=1000/u",
                "cpu/event=0xc2/u",
                period(1000),
            ),
            (
                "cpu/period=1000,event=0xc2/",
                "cpu/event=0xc2/",
                period(1000),
            ),
            ("msr/period=5/", "msr//", period(5)),
            (
                "sched:sched_switch/period=1/",
                "sched:sched_switch",
                period(1),
            ),
            ("mem:0x1000/8:w/period=2/", "mem:0x1000/8:w", period(2)),
            ("mem:0x1000:x/period=2/u", "mem:0x1000:x:u", period(2)),
            ("cycles//", "cycles", None),
            ("cycles", "cycles", None),
        ] {
            let parsed = asked(text).expect(text);
            assert_eq!(
                (parsed.spec.to_string().as_str(), parsed.rate),
                (event, rate),
                "{text}"
            );
            assert_eq!(asked(&parsed.to_string()), Ok(parsed), "{text}");
        }
    }

    #[test]
    fn a_list_may_mix_rates() {
        let list: Vec<AskedEvent> =
            parse_events("cycles/period=100000/,cpu/event=1,period=5/,page-faults/period=1/,r1")
                .expect("four");
        let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "cycles/period=100000/",
                "cpu/event=0x1,period=5/",
                "page-faults/period=1/",
                "r1"
            ]
        );
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_reason() {
        let said = |text: &str| asked(text).expect_err(text).to_string();
        for text in [
            "cycles/period=0/",
            "cycles/period/",
            "cycles/period=9223372036854775808/",
            "cycles/freq=1000001/",
        ] {
            assert!(said(text).contains("from 1 to "), "{text}");
        }
        assert!(said("cycles/period=1,freq=2/").contains("more than one"));
        assert!(said("cycles/name=x/").contains("unknown term \"name=x\""));
        assert!(said("cpu/event=x/").contains("is not a number of 64 bits"));
        assert!(said("cycles/edge/").contains("unknown term \"edge\""));
        assert!(said("cycles:u/period=1/k").contains("unknown modifier"));
        assert!(said("cycles/period=1").contains("no closing slash"));
    }

    #[test]
    fn what_only_counts_has_no_rate() {
        let error = "cycles/period=1/".parse::<EventSpec>().expect_err("a rate");
        assert!(matches!(error, ParseEventError::Rate { .. }));
    }
}
