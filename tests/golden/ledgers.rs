//! Ledgers made by hand.

use std::time::Duration;

use perfd::model::*;

/// All is well.
pub fn good_ledger() -> Ledger {
    Ledger {
        events: vec![EventLedger {
            expected: Some(4985),
            emitted: Some(4981),
            delivered: 4979,
            lost: [(LossReason::NotRaised, 2)].into(),
            throttled: 0,
            sampled_weight: 4_993_981_945,
            counted_weight: Some(4_995_987_963),
            enabled_ns: 4_995_987_963,
            running_ns: 4_995_987_963,
            reopened_gap_ns: 0,
            kernel_walk: Some(KernelWalkLedger {
                walked: 4968,
                left_to_ring: 11,
                foreign: 22_721,
                ..KernelWalkLedger::default()
            }),
        }],
        stacks: StackLedger {
            ended: [(Ended::Root, 4967), (Ended::NoUserStack, 12)].into(),
            frames: 1204,
            ..StackLedger::default()
        },
        cost: Some(Cost {
            elapsed_ns: 5_000_000_000,
            cpu_ns: 40_000_000,
            sampling_cpu_ns: 9_000_000,
            peak_memory_bytes: Some(25_000_000),
            tables: TableCost {
                built: 24,
                shared: 3,
                bytes: 6_700_000,
                ..TableCost::default()
            },
            bpf: Some(BpfCost {
                time: Some(BpfTime {
                    sample_ns: 58_000_000,
                    samples: 27_700,
                    mapping_ns: 2_000_000,
                    mappings: 310,
                }),
                map_bytes: Some(24_000_000),
                table_bytes: 3_400_000,
            }),
        }),
        ..Ledger::default()
    }
}

/// Everything that can be wrong.
pub fn bad_ledger() -> Ledger {
    let in_modules = |rows: &[(Ended, &str, u64)]| {
        let rows = rows.iter();
        rows.map(|(ended, module, n)| ((*ended, String::from(*module)), *n))
            .collect()
    };
    Ledger {
        events: vec![
            EventLedger {
                expected: Some(4985),
                emitted: Some(4981),
                delivered: 4000,
                lost: [
                    (LossReason::RingFull, 970),
                    (LossReason::NotRaised, -3),
                    (LossReason::Foreign, 4),
                    (LossReason::Malformed, 1),
                ]
                .into(),
                throttled: 3,
                sampled_weight: 4_000_000_000,
                counted_weight: Some(4_995_987_963),
                enabled_ns: 4_995_987_963,
                running_ns: 4_995_987_963,
                reopened_gap_ns: 12_340_000,
                kernel_walk: Some(KernelWalkLedger {
                    walked: 3990,
                    left_to_ring: 3,
                    no_room_for_count: 5,
                    no_room_for_stack: 2,
                    foreign: 90,
                }),
            },
            EventLedger::default(),
        ],
        stacks: StackLedger {
            ended: [
                (Ended::Root, 3900),
                (Ended::CopyTooShort, 91),
                (Ended::NoRow, 8),
                (Ended::BadFrame, 1),
            ]
            .into(),
            truncated_in: in_modules(&[
                (Ended::CopyTooShort, "clang-14", 50),
                (Ended::CopyTooShort, "libLLVM.so", 30),
                (Ended::CopyTooShort, "libc.so.6", 9),
                (Ended::CopyTooShort, "x", 1),
                (Ended::CopyTooShort, "y", 1),
                (Ended::NoRow, "[anon]", 8),
                (Ended::BadFrame, "evil\u{1b}[2J", 1),
            ]),
            frames: 1204,
            unnamed: [
                ((Unnamed::NoSymbols, String::from("libfoo.so")), 12),
                ((Unnamed::FileChanged, String::from("app")), 5),
                ((Unnamed::KernelHidden, String::from("[kernel]")), 40),
            ]
            .into(),
            stack_table_full: 2,
        },
        side_band_lost: 7,
        out_of_order: 1,
        records_left_out: 9,
        jit: JitLedger {
            refused: vec![(
                Pid(42),
                JitFileNote {
                    file: "perf map",
                    reason: "it is a symbolic link".to_owned(),
                },
            )],
            report: None,
        },
        rate_changes: vec![RateChange {
            at: MonoNs(4_020_000_000),
            after: Duration::from_millis(3020),
            used: 0.0312,
            rates: vec![Rate::Frequency(Hz(498)), Rate::Period(20_014)],
        }],
        python: Some(PythonLedger {
            samples: [
                (PythonRead::Whole, 900),
                (PythonRead::Cut, 20),
                (PythonRead::NotMatching, 3),
                (PythonRead::LeftToRing, 77),
            ]
            .into(),
            unreadable: ["python 3.10 of pid 42: its frames cannot be read".to_owned()].into(),
        }),
        cost: None,
    }
}
