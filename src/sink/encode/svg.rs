//! Flame graph: one SVG file with its own script for zoom and search, drawn by inferno.
//!
//! The names in it come through [`super::escape`] and then through inferno's XML escaping as text, never as markup
//! or script. Colours are the same in every run, because they follow from the name: kernel frames are
//! orange, inlined ones aqua, JIT ones green, those of Python yellow, the rest as inferno guesses their language, and what stands in the place
//! of missing frames is grey.

use std::io::{self, Write};
use std::time::Duration;

use inferno::flamegraph::color::{MultiPalette, PaletteMap, parse_hex_color};
use inferno::flamegraph::{Options, Palette, from_lines};

use super::{Measure, Stacks, View, escape};
use crate::model::{Ended, EventLedger, LossReason, Profile, RunInfo, Unit};

/// Characters of a title: a command line can be very long.
const MAX_TITLE: usize = 160;

/// A flame graph in the making: windows go in, a picture comes out.
#[derive(Debug)]
pub struct Chart {
    view: View,
    stacks: Stacks,
    account: EventLedger,
    elapsed: Duration,
}

/// Draws one profile.
pub fn encode(profile: &Profile, view: View, out: &mut impl Write) -> io::Result<()> {
    let mut chart = Chart::new(view);
    chart.add(profile);
    chart.draw(&profile.run, out)
}

impl Chart {
    /// Without stacks.
    pub fn new(view: View) -> Chart {
        Chart {
            view,
            stacks: Stacks::new(view),
            account: EventLedger::default(),
            elapsed: Duration::ZERO,
        }
    }

    /// Adds a window.
    pub fn add(&mut self, profile: &Profile) {
        self.stacks.add(profile);
        self.elapsed += profile.span.end.since(profile.span.start);
        if let Some(window) = profile.ledger.events.get(self.view.event.0) {
            self.account.merge(window);
        }
    }

    /// Draws what was added.
    pub fn draw(&self, run: &RunInfo, out: &mut impl Write) -> io::Result<()> {
        let title = one_line(&run.target);
        let subtitle = self.subtitle(run);
        if self.stacks.total() == 0 {
            return draw_nothing(&title, &subtitle, out);
        }
        if u64::try_from(self.stacks.total()).is_err() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the weights add up to more than 2⁶⁴",
            ));
        }
        let mut folded = Vec::new();
        self.stacks.write(&mut folded)?;
        let folded = String::from_utf8(folded)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let (count_name, factor) = self.count(run);
        let mut marks = marks_of_truncation();
        mark_python(&folded, &mut marks);
        let mut options = Options::default();
        options.title = title;
        options.subtitle = Some(subtitle);
        options.count_name = count_name;
        options.factor = factor;
        options.name_type = String::from("function:");
        options.colors = Palette::Multi(MultiPalette::Java);
        options.palette_map = Some(&mut marks);
        options.deterministic = true;
        options.no_sort = true;
        from_lines(&mut options, folded.lines(), out)
    }

    fn subtitle(&self, run: &RunInfo) -> String {
        let mut parts = Vec::new();
        if let Some(event) = run.events.get(self.view.event.0) {
            parts.push(one_line(&format!("{} {}", event.spec, event.rate)));
        }
        parts.push(format!("{} samples", self.account.delivered));
        let lost: i64 = self
            .account
            .lost
            .iter()
            .filter(|(reason, _)| **reason != LossReason::NotRaised)
            .map(|(_, n)| *n)
            .sum();
        if lost > 0 {
            parts.push(format!("{lost} lost"));
        }
        if let Some(coverage) = self.account.coverage() {
            parts.push(format!("{:.1} % of the count explained", coverage * 100.0));
        }
        parts.push(format!("{:.1} s", self.elapsed.as_secs_f64()));
        parts.join(" · ")
    }

    /// What one count is called, and what weights are multiplied with to be shown in it.
    fn count(&self, run: &RunInfo) -> (String, f64) {
        let event = run.events.get(self.view.event.0);
        match (self.view.measure, event) {
            (Measure::Samples, _) | (_, None) => (String::from("samples"), 1.0),
            (Measure::Weight, Some(event)) => match event.spec.unit() {
                Unit::Nanoseconds => (String::from("µs"), 0.001),
                Unit::Occurrences => (one_line(&event.spec.to_string()), 1.0),
            },
        }
    }
}

fn marks_of_truncation() -> PaletteMap {
    let mut map = PaletteMap::default();
    let grey = parse_hex_color("#a9a9a9");
    for ended in Ended::ALL {
        if let Some(grey) = grey.filter(|_| ended.is_truncated()) {
            map.insert(format!("{}{ended}]", escape::TRUNCATED), grey);
        }
    }
    map
}

/// Yellow of some shades, which inferno has for no language.
fn mark_python(folded: &str, map: &mut PaletteMap) {
    const SHADES: [&str; 4] = ["#e6d23c", "#ecd94e", "#dfc832", "#f1e060"];
    let stacks = folded.lines().filter_map(|line| line.rsplit_once(' '));
    let frames = stacks.flat_map(|(stack, _)| stack.split(';'));
    for frame in frames.filter(|frame| frame.ends_with("_[p]")) {
        let sum: usize = frame.bytes().map(usize::from).sum();
        if let Some(shade) = parse_hex_color(SHADES[sum % SHADES.len()]) {
            map.insert(frame.to_owned(), shade);
        }
    }
}

fn one_line(text: &str) -> String {
    escape::line(text, MAX_TITLE)
}

/// inferno draws an error where there are no stacks, but a run without samples is none.
fn draw_nothing(title: &str, subtitle: &str, out: &mut impl Write) -> io::Result<()> {
    let xml = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    writeln!(
        out,
        "<?xml version=\"1.0\" standalone=\"no\"?>\n\
         <svg version=\"1.1\" width=\"1200\" height=\"96\" xmlns=\"http://www.w3.org/2000/svg\" \
         font-family=\"monospace\" font-size=\"12\" text-anchor=\"middle\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#f8f8f8\"/>\n\
         <text x=\"50%\" y=\"24\" font-size=\"17\">{}</text>\n\
         <text x=\"50%\" y=\"48\">{}</text>\n\
         <text x=\"50%\" y=\"76\">no samples</text>\n</svg>",
        xml(title),
        xml(subtitle)
    )
}
