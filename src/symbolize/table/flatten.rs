//! From functions with ranges, one inside the other, to pieces with one innermost function each.

use super::NONE;

/// A function, or one that was inlined into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct Scope {
    /// The scope that this one was inlined into; [`NONE`] for a function.
    pub(in crate::symbolize) parent: u32,
    /// Its name's number; [`NONE`] if it has none.
    pub(in crate::symbolize) name: u32,
    /// Where the parent calls it: a file by its number in the table.
    pub(in crate::symbolize) call_file: u32,
    /// 0 if it is not known.
    pub(in crate::symbolize) call_line: u32,
}

/// Addresses that belong to a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct ScopeRange {
    pub(in crate::symbolize) start: u64,
    /// Behind the last.
    pub(in crate::symbolize) end: u64,
    /// Scopes are numbered in the order in which the compiler wrote them: callees behind their callers.
    pub(in crate::symbolize) scope: u32,
}

/// The innermost scope from each address on, [`NONE`] where there is none; sorted, neighbours differ.
///
/// Where ranges overlap, the one that begins later, or else the scope that was written later, is the inner one.
pub(super) fn flatten(mut ranges: Vec<ScopeRange>) -> Vec<(u64, u32)> {
    ranges.sort_unstable_by_key(|range| (range.start, range.scope));
    let mut pieces: Vec<(u64, u32)> = Vec::with_capacity(ranges.len() * 2);
    let mut put = |start: u64, scope: u32| match pieces.last_mut() {
        Some(last) if last.0 == start => last.1 = scope,
        Some(last) if last.1 == scope => {}
        _ => pieces.push((start, scope)),
    };
    let mut open: Vec<ScopeRange> = Vec::new();
    for range in &ranges {
        close(&mut open, range.start, &mut put);
        put(range.start, range.scope);
        open.push(*range);
    }
    close(&mut open, u64::MAX, &mut put);
    // Where a piece was overwritten by a later one, equal neighbours may be left.
    pieces.dedup_by_key(|(_, scope)| *scope);
    pieces
}

/// Takes from `open`, whose last is the innermost, what ends before `place`; what is around it goes on there.
fn close(open: &mut Vec<ScopeRange>, place: u64, put: &mut impl FnMut(u64, u32)) {
    while let Some(inner) = open.pop_if(|range| range.end <= place) {
        // An outer one that ended before is over too.
        while open.pop_if(|around| around.end <= inner.end).is_some() {}
        put(inner.end, open.last().map_or(NONE, |around| around.scope));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ranges: &[(u64, u64, u32)], expected: &[(u64, u32)]) {
        let ranges = ranges
            .iter()
            .map(|(start, end, scope)| ScopeRange {
                start: *start,
                end: *end,
                scope: *scope,
            })
            .collect();
        assert_eq!(flatten(ranges), expected);
    }

    #[test]
    fn an_inlined_function_is_inside_of_its_caller() {
        check(
            &[(0, 100, 0), (20, 40, 1), (25, 30, 2), (60, 100, 3)],
            &[
                (0, 0),
                (20, 1),
                (25, 2),
                (30, 1),
                (40, 0),
                (60, 3),
                (100, NONE),
            ],
        );
    }

    #[test]
    fn a_callee_that_covers_all_of_its_caller_hides_it() {
        check(&[(0, 10, 0), (0, 10, 1)], &[(0, 1), (10, NONE)]);
        check(&[(0, 10, 0), (0, 4, 1)], &[(0, 1), (4, 0), (10, NONE)]);
        check(&[(0, 10, 0), (4, 10, 1)], &[(0, 0), (4, 1), (10, NONE)]);
    }

    #[test]
    fn functions_side_by_side_with_and_without_a_gap() {
        check(
            &[(0, 10, 0), (10, 20, 1), (30, 40, 2)],
            &[(0, 0), (10, 1), (20, NONE), (30, 2), (40, NONE)],
        );
    }

    #[test]
    fn ranges_that_overlap_without_sense_still_have_one_scope_each() {
        check(&[(0, 50, 0), (25, 75, 1)], &[(0, 0), (25, 1), (75, NONE)]);
        check(&[(0, 50, 1), (0, 80, 0)], &[(0, 1), (50, 0), (80, NONE)]);
        check(&[], &[]);
    }

    #[test]
    fn one_scope_may_have_many_ranges() {
        check(
            &[(0, 10, 0), (50, 60, 0), (52, 54, 1)],
            &[(0, 0), (10, NONE), (50, 0), (52, 1), (54, 0), (60, NONE)],
        );
    }
}
