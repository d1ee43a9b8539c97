//! Python frames in the place of the native ones that run them.
//!
//! The interpreter's list of frames is cut into segments, one for each call of its evaluation function that is on the stack. The innermost
//! segment belongs to the innermost native frame of that function, and so on: there must be as many of the ones as of the others. At the
//! moment at which the function is entered or left, its native frame is there and its segment not yet, or not any more; that frame then
//! stays as it is.

use std::ops::Range;

/// The number of a Python frame's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PythonFrame(pub(super) u64);

/// The Python frames of a sample, leaf first, by the call of the evaluation function that they belong to.
#[derive(Debug, Default)]
pub(super) struct Segments {
    frames: Vec<PythonFrame>,
    ends: Vec<usize>,
    /// Whether the last segment goes on.
    is_open: bool,
}

impl Segments {
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.ends.clear();
        self.is_open = false;
    }

    /// Adds a frame, or none where a call has none; `is_last`: it is the outermost of its call.
    pub(super) fn push(&mut self, frame: Option<PythonFrame>, is_last: bool) {
        self.frames.extend(frame);
        self.is_open = !is_last;
        if is_last {
            self.ends.push(self.frames.len());
        }
    }

    /// Gives all frames, leaf first: native ones, and Python ones instead of those that are of the evaluation function. `is_complete`: both
    /// lists reach the root, so that their lengths can be compared.
    ///
    /// `false` if they do not fit; what was given until then is of no use.
    pub(super) fn splice<N: Copy>(
        &self,
        native: &[N],
        is_eval: impl Fn(&N) -> bool,
        is_complete: bool,
        mut give: impl FnMut(Result<N, PythonFrame>),
    ) -> bool {
        let n_eval = native.iter().filter(|frame| is_eval(frame)).count();
        let n_segments = self.ends.len() + usize::from(self.is_open);
        let n_without = match (is_complete, n_eval.checked_sub(n_segments)) {
            (true, Some(n @ (0 | 1))) => n,
            (true, _) => return false,
            (false, _) => 0,
        };
        let mut segments = (0..n_segments).map(|at| self.segment(at));
        let mut n_seen = 0;
        for frame in native {
            if !is_eval(frame) {
                give(Ok(*frame));
                continue;
            }
            n_seen += 1;
            let segment = match n_seen > n_without {
                true => segments.next().unwrap_or(0..0),
                false => 0..0,
            };
            if segment.is_empty() {
                give(Ok(*frame));
            }
            self.frames[segment]
                .iter()
                .for_each(|frame| give(Err(*frame)));
        }
        true
    }

    fn segment(&self, at: usize) -> Range<usize> {
        let end = |at: usize| self.ends.get(at).copied().unwrap_or(self.frames.len());
        let start = match at {
            0 => 0,
            _ => end(at - 1),
        };
        start..end(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python frames are digits, `|` ends a segment; native frames are letters, `E` the evaluation function.
    fn check(python: &str, native: &str, is_complete: bool, expected: Option<&str>) {
        let mut segments = Segments::default();
        let mut rest = python.chars().peekable();
        while let Some(next) = rest.next() {
            let frame = next.to_digit(10).map(|digit| PythonFrame(digit.into()));
            let is_last = frame.is_none() || rest.next_if_eq(&'|').is_some();
            segments.push(frame, is_last);
        }
        let native: Vec<char> = native.chars().collect();
        let mut spliced = String::new();
        let fits = segments.splice(
            &native,
            |frame| *frame == 'E',
            is_complete,
            |frame| match frame {
                Ok(native) => spliced.push(native),
                Err(PythonFrame(number)) => spliced.push_str(&number.to_string()),
            },
        );
        assert_eq!(fits.then_some(spliced.as_str()), expected);
    }

    #[test]
    fn each_evaluation_is_replaced_by_the_frames_that_run_in_it() {
        check("12|3|", "EaEb", true, Some("12a3b"));
        check("12|3|", "xEaEb", true, Some("x12a3b"));
        check("12|3", "xEaEb", true, Some("x12a3b"));
    }

    #[test]
    fn an_evaluation_that_begins_or_ends_stays_as_it_is() {
        check("3|", "EaEb", true, Some("Ea3b"));
        check("|3|", "EaEb", true, Some("Ea3b"));
        check("", "Eb", true, Some("Eb"));
    }

    #[test]
    fn lists_that_do_not_fit_are_not_put_together() {
        check("1|2|3|", "EaEb", true, None);
        check("1|", "EaEbEc", true, None);
        check("1|", "ab", true, None);
    }

    #[test]
    fn of_stacks_that_are_cut_the_leaves_are_put_together() {
        check("1|2|3|", "EaEb", false, Some("1a2b"));
        check("1|2", "EaEbEc", false, Some("1a2bEc"));
    }
}
