//! pprof files, packed or not.

use std::hint::black_box;
use std::sync::Arc;

use perfd::aggregate;
use perfd::model::EventIdx;
use perfd::sink::pprof::{self, Limits};
use perfd::sink::{Measure, View, encode};

const VIEW: View = View {
    event: EventIdx(0),
    measure: Measure::Weight,
};

/// What is read is in order, can be put together with itself, shown and written, and what is written can be read.
pub fn pprof(bytes: &[u8]) {
    let tight = Limits {
        bytes: 1 << 20,
        entries: 1 << 14,
        frames: 1 << 14,
        sample_types: 16,
    };
    let Ok(decoded) = pprof::decode(bytes, &tight) else {
        return;
    };
    let profile = decoded.profile;
    let n_events = profile.run.events.len();
    for row in &profile.rows {
        assert_eq!(row.weights.len(), n_events);
    }
    let key = |at: usize| {
        let row = &profile.rows[at];
        (&row.task, &row.frames, row.ended)
    };
    for at in 1..profile.rows.len() {
        assert!(key(at - 1) < key(at), "in order and distinct");
    }
    let mut text = Vec::new();
    encode::folded::encode(&profile, VIEW, &mut text).expect("memory");
    let mut again = Vec::new();
    pprof::encode(&profile, &decoded.labels, VIEW, &mut again).expect("memory");
    let again = pprof::decode(&again, &Limits::default()).expect("written just now");
    assert_eq!(again.profile.run.events, profile.run.events);
    assert_eq!(again.profile.rows.len(), profile.rows.len());
    assert_eq!(again.labels, decoded.labels);
    let profile = Arc::new(profile);
    black_box(aggregate::merge(&[profile.clone(), profile]));
}
