//! A window as one line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::bare::bare;
use super::super::bounded::Bounded;
use crate::control::{Event, Phase, TailFormat, Window, WindowBody};
use crate::model::Profile;
use crate::sink::View;
use crate::sink::encode::{folded, json};
use crate::sink::pprof::{self, Labels};

/// What stands around a window's profile.
pub(super) struct Around<'a> {
    pub target: u32,
    pub from: u64,
    pub to: u64,
    pub phase: Option<&'a Phase>,
}

/// The line; `None` if it is longer than `most` bytes. Writing stops there, so that no more memory is taken.
pub(super) fn line(
    around: &Around<'_>,
    profile: &Profile,
    format: TailFormat,
    view: View,
    most: usize,
) -> Option<Vec<u8>> {
    // A writer that only refuses beyond a size, and encoders that only fail with their writer.
    let mut out = Bounded::new(most);
    let body = match format {
        TailFormat::Folded => {
            folded::encode(&bare(profile), view, &mut out).ok()?;
            WindowBody::Folded(String::from_utf8(out.bytes).ok()?)
        }
        TailFormat::Json => {
            json::encode_window(profile, &mut out).ok()?;
            WindowBody::Json(serde_json::from_slice(&out.bytes).ok()?)
        }
        TailFormat::Pprof => {
            let labels = Labels {
                phase: around.phase.map(|phase| phase.0.clone()),
                ..Labels::default()
            };
            pprof::encode(profile, &labels, view, &mut out).ok()?;
            WindowBody::Pprof(STANDARD.encode(&out.bytes))
        }
    };
    let events = &profile.ledger.events;
    let window = Window {
        target: around.target,
        from: around.from,
        to: around.to,
        phase: around.phase.cloned(),
        start_unix_ns: profile.span.start_unix_ns,
        duration_ns: profile.span.end.0.saturating_sub(profile.span.start.0),
        samples: events
            .iter()
            .fold(0, |sum, event| sum.saturating_add(event.delivered)),
        body,
    };
    let line = Event::Window(Box::new(window)).line();
    (line.len() <= most).then_some(line)
}
