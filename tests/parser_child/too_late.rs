//! perfd is to end while a child is at work: it gives up in time, and what has no name says why.

use std::sync::mpsc::channel;
use std::thread;

use perfd::model::Unnamed;
use perfd::parser::{Facts, Names, Source};
use perfd::symbolize::Config;
use perfd::symbolize::jit::JitNames;
use perfd::sys;
use perfd::sys::parcel::{Bounds, MAX_FILES, Parcels};

use crate::bench::{begin, name_all, names};

/// postcard's encoding of `Said::Answer(Answer::Begun)`.
const BEGUN: [u8; 2] = [0, 0];

/// A child that never answers what it is asked; `true` comes when it has been.
fn silent(asked: std::sync::mpsc::Sender<bool>) -> Source {
    Source::Double(Box::new(move || {
        let (own, other) = Parcels::pair().expect("a pair");
        let asked = asked.clone();
        thread::spawn(move || {
            let other = Parcels::of(other);
            let bounds = Bounds {
                bytes: 1 << 20,
                files: MAX_FILES,
            };
            other.receive(bounds, None).expect("the beginning");
            other.send(&BEGUN, &[], None).expect("there is room");
            other.receive(bounds, None).expect("a question");
            asked.send(true).expect("the test waits");
            // Until perfd has given up.
            let _ = other.receive(bounds, None);
        });
        own
    }))
}

#[test]
fn the_last_moment_ends_a_request_that_is_under_way() {
    let path = std::env::current_exe().expect("ourselves");
    let begin = begin(Config::default());
    let (sender, asked) = channel();
    let mut names = Names::new(begin.clone(), silent(sender), JitNames::default());
    let named = thread::spawn(move || name_all(&mut names, 1, &path, &[0x1000, 0x2000]));
    assert_eq!(asked.recv(), Ok(true));
    begin.limits.last_moment.set(sys::now());
    let named = named.join().expect("it does not panic");
    for names in &named {
        assert_eq!(names[0].unnamed, Some(Unnamed::TooLate), "{names:?}");
        assert!(names[0].text.contains("+0x"), "{names:?}");
    }
    // The child is not to blame for it, nor the file, and no other child was started.
    let started = Facts {
        started: 1,
        ..Facts::default()
    };
    assert_eq!(begin.tally.facts(), started);
}

#[test]
fn behind_the_last_moment_nothing_is_asked() {
    let path = std::env::current_exe().expect("ourselves");
    let begin = begin(Config::default());
    begin.limits.last_moment.set(sys::now());
    let mut names = names(&begin);
    let named = name_all(&mut names, 1, &path, &[0x1000]);
    assert_eq!(named[0][0].unnamed, Some(Unnamed::TooLate), "{named:?}");
    assert_eq!(begin.tally.facts(), Facts::default());
}
