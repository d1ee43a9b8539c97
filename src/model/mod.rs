//! The nouns: what perfd talks about, one page each.
//!
//! No I/O, no threads, no `unsafe`: values that every other floor may name.

mod address;
mod address_space;
mod asked_event;
mod at_most;
mod call_graph;
mod cgroup;
mod civil;
mod cost;
mod event;
mod event_names;
mod event_text;
mod fault;
mod frame;
mod id;
mod jit;
mod ledger;
mod module;
mod named_sample;
mod profile;
mod python;
pub mod quantity;
mod ratio;
mod rule;
mod sample;
mod time;

pub use address::{Avma, FileOffset};
pub use address_space::{AddressSpace, Mapping};
pub use asked_event::AskedEvent;
pub use at_most::at_most;
pub use call_graph::{CallGraph, ParseCallGraphError};
pub use cgroup::{Cgroup, CgroupId, DomainId};
pub use civil::Civil;
pub use cost::{BpfCost, BpfTime, Cost, TableCost};
pub use event::{
    Access, CacheEvent, CacheOp, CacheResult, EventIdx, EventSource, EventSpec, HardwareEvent,
    Modes, ResolvedEvent, SoftwareEvent, Unit,
};
pub use event_names::{NAMES, NamedEvent, nearest_name};
pub use event_text::{ParseEventError, parse_events};
pub use fault::{Fault, FaultClass};
pub use frame::{AddressKind, Ended, Frame, FrameName, NameKind, Unnamed};
pub use id::{Cpu, Pid, TargetId, Tid};
pub use jit::{
    CompilerShare, JitFigures, JitFileNote, JitLedger, JitProcess, JitRates, JitReport, JitSource,
    JitTally,
};
pub use ledger::{EventLedger, KernelWalkLedger, Ledger, LossReason, RateChange, StackLedger};
pub use module::{BuildId, FileVersion, Module, ModuleId, ModuleKind, Modules, SeenIn};
pub use named_sample::{NamedFrame, NamedSample};
pub use profile::{
    Count, ProcessCounts, Profile, Row, RunInfo, SampledEvent, TaskLabel, Weight, WindowSpan,
};
pub use python::{PythonLedger, PythonRead};
pub use ratio::{Ratio, RatioKind, Refusal, SampledRatio, total};
pub use rule::{CfaKind, FpKind, RaKind, Rule};
pub use sample::{RawSample, Registers, StackCopy};
pub use time::{Hz, MonoNs, Rate, Span};
