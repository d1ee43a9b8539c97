//! Prometheus' text format, version 0.0.4.
//!
//! ```text
//! # HELP NAME what it is
//! # TYPE NAME counter|gauge
//! NAME{label="value",…} number
//! ```

use std::fmt::{Display, Write};

/// The content type that goes with the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a figure does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, and its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Begins a metric: all of its figures follow.
    pub(super) fn metric(&mut self, name: &str, kind: Kind, help: &str) -> Metric<'_> {
        debug_assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing into a string cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Metric {
            text: &mut self.0,
            name: name.to_owned(),
        }
    }

    /// A metric of one figure without labels.
    pub(super) fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.metric(name, kind, help).figure(&[], value);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A metric.
pub(super) struct Metric<'a> {
    text: &'a mut String,
    name: String,
}

impl Metric<'_> {
    /// One figure, with its labels.
    pub(super) fn figure(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(&self.name);
        for (idx, (name, value)) in labels.iter().enumerate() {
            let before = if idx == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            char if char.is_control() => text.push('\u{fffd}'),
            char => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_line_whatever_its_labels_are() {
        let mut text = Text::default();
        text.one("perfd_a", Kind::Gauge, "What \\ it\nis.", 1.5);
        let mut metric = text.metric("perfd_b_total", Kind::Counter, "B.");
        metric.figure(&[("target", "a\"b\\c\nd\x1b"), ("event", "cycles")], 7);
        let expected = "# HELP perfd_a What \\\\ it\\nis.\n# TYPE perfd_a gauge\nperfd_a 1.5\n\
            # HELP perfd_b_total B.\n# TYPE perfd_b_total counter\nperfd_b_total{target=\"a\\\"b\\\\c\\nd\u{fffd}\",event=\"cycles\"} 7\n";
        assert_eq!(text.finish(), expected);
    }
}
