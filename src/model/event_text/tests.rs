//! Every form of an event's text, and what is none.

use super::*;
use crate::model::{CacheEvent, CacheOp, CacheResult, HardwareEvent, NAMES, SoftwareEvent};

fn source(text: &str) -> EventSource {
    text.parse::<EventSpec>().expect(text).source
}

#[test]
fn every_form_of_perf_is_understood() {
    assert_eq!(
        source("cpu-cycles"),
        EventSource::Hardware(HardwareEvent::Cycles)
    );
    assert_eq!(
        source("cs"),
        EventSource::Software(SoftwareEvent::ContextSwitches)
    );
    assert_eq!(
        source("llc-load-misses"),
        EventSource::Cache(CacheEvent::LastLevel, CacheOp::Load, CacheResult::Miss)
    );
    assert_eq!(source("r01c2"), EventSource::Raw(0x1c2));
    assert_eq!(
        source("cpu/event=0xc2,umask=1,edge/"),
        EventSource::Pmu {
            pmu: "cpu".to_owned(),
            terms: vec![
                ("event".to_owned(), Some(0xc2)),
                ("umask".to_owned(), Some(1)),
                ("edge".to_owned(), None)
            ],
        }
    );
    assert_eq!(
        source("mem:0x401000"),
        EventSource::Breakpoint {
            address: 0x40_1000,
            access: Access::ReadWrite,
            length: 4
        }
    );
    assert_eq!(
        source("mem:0x401000:x"),
        EventSource::Breakpoint {
            address: 0x40_1000,
            access: Access::Execute,
            length: 8
        }
    );
}

#[test]
fn modes_stand_behind_a_colon_or_behind_the_closing_slash() {
    for (text, modes) in [
        ("cycles", Modes::ALL),
        ("cycles:u", Modes::USER),
        ("cycles:k", Modes::KERNEL),
        ("cycles:uk", Modes::ALL),
        ("cpu/event=1/u", Modes::USER),
        ("cpu/event=1/:k", Modes::KERNEL),
        ("sched:sched_switch:k", Modes::KERNEL),
        ("mem:0x1000:u", Modes::USER),
        ("mem:0x1000/2:w:k", Modes::KERNEL),
        ("r1:u", Modes::USER),
    ] {
        assert_eq!(
            text.parse::<EventSpec>().expect(text).modes,
            modes,
            "{text}"
        );
    }
}

#[test]
fn a_list_is_cut_at_commas_outside_slashes() {
    let specs: Vec<EventSpec> = parse_events(
        "cycles,cpu/event=0xc2,umask=1/u,mem:0x401000/8:x:u,sched:sched_switch,L1-dcache-loads",
    )
    .expect("a list of five");
    let texts: Vec<_> = specs.iter().map(EventSpec::to_string).collect();
    assert_eq!(
        texts,
        [
            "cycles",
            "cpu/event=0xc2,umask=0x1/u",
            "mem:0x401000:x:u",
            "sched:sched_switch",
            "L1-dcache-loads"
        ]
    );
}

#[test]
fn what_is_printed_parses_to_the_same_event() {
    let named = NAMES.iter().map(|event| event.name.to_owned());
    let others = [
        "r0",
        "rffffffffffffffff",
        "msr/tsc/",
        "cpu//",
        "cpu/a,b=0x7,config1=0x10/k",
        "sched:sched_switch",
        "mem:0x7fffffffffff/1:w",
        "mem:0x10/4:rw:u",
        "mem:0x10/2:r",
    ]
    .map(str::to_owned);
    for text in named.chain(others) {
        for text in [text.clone(), format!("{text}:u")] {
            let Ok(spec) = text.parse::<EventSpec>() else {
                assert!(text.ends_with(":u:u") || text.ends_with("/k:u"), "{text}");
                continue;
            };
            assert_eq!(spec.to_string().parse(), Ok(spec), "{text}");
        }
    }
}

#[test]
fn what_is_no_event_is_refused_with_the_reason() {
    let error = |text: &str| parse_events::<EventSpec>(text).expect_err(text);
    assert_eq!(
        error("cylces"),
        ParseEventError::Unknown {
            name: "cylces".to_owned(),
            nearest: Some("cycles")
        }
    );
    assert_eq!(
        error("cylces:u"),
        ParseEventError::Unknown {
            name: "cylces".to_owned(),
            nearest: Some("cycles")
        }
    );
    for text in ["", "cycles,", "a b", "sched:*", "../x/y/", "r"] {
        assert!(
            matches!(error(text), ParseEventError::Unknown { .. }),
            "{text}"
        );
    }
    for text in ["{cycles}", "{cycles,instructions}:S"] {
        assert!(
            matches!(error(text), ParseEventError::Group { .. }),
            "{text}"
        );
    }
    for text in ["cycles:pp", "cycles:", "mem:0x1:q", "mem:0x1:q:u", "a:b:z"] {
        assert!(
            matches!(error(text), ParseEventError::Modifier { .. }),
            "{text}"
        );
    }
    for text in [
        "mem:zz",
        "mem:0x",
        "mem:",
        "mem:0x1/3",
        "mem:+1",
        "cpu/event=/",
        "cpu/event=x/",
        "r11112222333344445",
    ] {
        assert!(
            matches!(error(text), ParseEventError::Number { .. }),
            "{text}"
        );
    }
    assert!(matches!(
        error("cpu/event=1"),
        ParseEventError::Unclosed { .. }
    ));
}
