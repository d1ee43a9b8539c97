//! The daemon's control socket: what anybody may send, and what a client hears.

use std::hint::black_box;

use perfd::control::codec::Lines;
use perfd::control::{Asked, MAX_REQUEST, Message};

/// Lines in chunks of a size that the first byte says, as requests; and the same lines as those of a daemon.
pub fn control(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else {
        return;
    };
    let mut lines = Lines::default();
    let mut n_lines = 0;
    for (number, chunk) in bytes.chunks(usize::from(*size) + 1).enumerate() {
        // Every third chunk brings descriptors.
        let descriptors = if number % 3 == 2 {
            vec![(); 2]
        } else {
            Vec::new()
        };
        lines.take_in(chunk, descriptors, |line| {
            n_lines += 1;
            let Ok(line) = line else {
                return;
            };
            assert!(line.bytes.len() < MAX_REQUEST && !line.bytes.contains(&b'\n'));
            if let Ok(asked) = Asked::parse(&line.bytes) {
                // What was understood is understood again.
                assert_eq!(Asked::parse(&asked.line()), Ok(asked));
            }
            let _ = black_box(Message::parse(&line.bytes));
        });
    }
    assert_eq!(n_lines, bytes.iter().filter(|byte| **byte == b'\n').count());
}
