//! Kinds of frames as mappings: what a location's mapping is called says what its code is.
//!
//! A name in brackets is one that pprof looks for no file of, and `-focus '\[kernel\]'` finds the locations of one.

use crate::model::NameKind;

/// The mapping of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Outermost function of the location is of this kind; the others are inlined into it.
    Code(NameKind),
    /// What stands in the place of the frames that a cut stack lacks.
    Truncated,
}

impl Part {
    /// Every one; a mapping's id is its position and one.
    pub(super) const ALL: [Part; 6] = [
        Part::Code(NameKind::User),
        Part::Code(NameKind::Kernel),
        Part::Code(NameKind::Jit),
        Part::Code(NameKind::Python),
        // Without the function that they are inlined into.
        Part::Code(NameKind::Inlined),
        Part::Truncated,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Code(NameKind::User) => "[user]",
            Part::Code(NameKind::Kernel) => "[kernel]",
            Part::Code(NameKind::Jit) => "[jit]",
            Part::Code(NameKind::Python) => "[python]",
            Part::Code(NameKind::Inlined) => "[inlined]",
            Part::Truncated => "[truncated]",
        }
    }

    pub(super) fn id(self) -> u64 {
        let at = Part::ALL.iter().position(|part| *part == self);
        at.map_or(0, |at| at as u64 + 1)
    }

    pub(super) fn named(name: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.name() == name)
    }

    /// What a mapping of somebody else's is: names of the kernel's are alike everywhere.
    pub(super) fn guessed(name: &str) -> Part {
        let is_kernel = name.starts_with("[kernel")
            || name.ends_with(".ko")
            || name == "[guest.kernel.kallsyms]";
        Part::Code(match is_kernel {
            true => NameKind::Kernel,
            false => NameKind::User,
        })
    }
}
