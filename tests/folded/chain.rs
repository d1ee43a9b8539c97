//! A stack as a test expects it, root first: `name`, `name*60` (60 times), `name*1-60`, `.` (one frame that is none of the
//! program's own), `..` (any number of them, none included).

use std::collections::BTreeSet;

/// A parsed chain.
pub struct Chain(Vec<Part>);

#[derive(Clone)]
enum Part {
    /// So many frames of this name.
    Own {
        name: String,
        least: usize,
        most: usize,
    },
    /// So many frames that are none of the program's own.
    Foreign { least: usize, most: usize },
}

impl Chain {
    /// Reads a chain; panics where it is not one, since chains are written in tests.
    pub fn parse(text: &str) -> Chain {
        Chain(text.split(' ').map(Part::parse).collect())
    }

    /// The program's own functions in it.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|part| match part {
            Part::Own { name, .. } => Some(name.clone()),
            Part::Foreign { .. } => None,
        })
    }

    /// Whether these bare frames, root first, are the chain, if `own` are the program's functions.
    pub fn matches(&self, frames: &[String], own: &BTreeSet<String>) -> bool {
        matches(&self.0, frames, own)
    }
}

impl Part {
    fn parse(text: &str) -> Part {
        match text {
            "." => Part::Foreign { least: 1, most: 1 },
            ".." => Part::Foreign {
                least: 0,
                most: usize::MAX,
            },
            _ => {
                let (name, times) = text.split_once('*').unwrap_or((text, "1"));
                let (least, most) = times.split_once('-').unwrap_or((times, times));
                let number = |text: &str| text.parse().expect("a number of frames");
                Part::Own {
                    name: name.to_owned(),
                    least: number(least),
                    most: number(most),
                }
            }
        }
    }

    fn bounds(&self) -> (usize, usize) {
        match self {
            Part::Own { least, most, .. } | Part::Foreign { least, most } => (*least, *most),
        }
    }

    fn fits(&self, frame: &String, own: &BTreeSet<String>) -> bool {
        match self {
            Part::Own { name, .. } => name == frame,
            Part::Foreign { .. } => !own.contains(frame),
        }
    }
}

fn matches(parts: &[Part], frames: &[String], own: &BTreeSet<String>) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return frames.is_empty();
    };
    let (least, most) = part.bounds();
    let n_fit = frames
        .iter()
        .take_while(|frame| part.fits(frame, own))
        .count()
        .min(most);
    (least..=n_fit)
        .rev()
        .any(|n| matches(rest, &frames[n..], own))
}
