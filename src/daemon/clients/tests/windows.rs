//! Windows for clients that are prompt, slow, dead and gone.

use super::*;

#[test]
fn windows_and_the_end_come_in_order() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    stage.follow(&mut client, None);
    for sequence in 0..3 {
        stage.clients.window(&window(sequence, Some("warm-up"), 3));
        stage.turn();
        let Event::Window(window) = client.event() else {
            panic!("another event");
        };
        assert_eq!(
            (window.from, window.to, window.samples),
            (sequence, sequence, 1)
        );
        assert_eq!(window.phase, Some(Phase("warm-up".to_owned())));
        assert_eq!(window.body, WindowBody::Folded("comm;fff 10\n".to_owned()));
    }
    stage.clients.end(7, EndReason::Exited);
    stage.clients.window(&window(3, None, 3));
    assert_eq!(stage.clients.tails_of(7), 1);
    stage.turn();
    let Event::Window(_) = client.event() else {
        panic!("another event");
    };
    assert!(matches!(client.event(), Event::End(end) if end.reason == EndReason::Exited));
    assert_eq!(stage.clients.tails_of(7), 0);
    stage.clients.window(&window(4, None, 3));
    stage.turn();
    assert_eq!(client.line(), None);
}

#[test]
fn while_a_client_is_behind_its_windows_are_merged_by_phase_and_nothing_is_lost() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut behind = stage.client();
    let mut prompt = stage.client();
    stage.follow(&mut behind, None);
    stage.follow(&mut prompt, None);
    // The first ones fill the socket; the rest waits.
    const LARGE: usize = 1 << 20;
    const N: u64 = 30;
    for sequence in 0..N {
        let phase = if sequence < 20 { "one" } else { "two" };
        stage.clients.window(&window(sequence, Some(phase), LARGE));
        // The prompt one takes everything at once.
        let mut line = String::new();
        while !line.ends_with('\n') {
            stage.turn();
            let _ = prompt.0.read_line(&mut line);
        }
    }
    assert!(stage.clients.figures().windows_merged >= 26);
    let mut next = 0;
    let mut weight = 0;
    let mut n_merged = 0;
    while next < N {
        let mut line = String::new();
        while !line.ends_with('\n') {
            stage.turn();
            let _ = behind.0.read_line(&mut line);
        }
        let Message::Event(Event::Window(window)) = Message::parse(line.as_bytes()).unwrap() else {
            panic!("another line");
        };
        assert_eq!(window.from, next);
        next = window.to + 1;
        n_merged += window.to - window.from;
        let phase = if window.to < 20 { "one" } else { "two" };
        assert_eq!(window.phase, Some(Phase(phase.to_owned())));
        let WindowBody::Folded(text) = window.body else {
            panic!("another form");
        };
        weight += text
            .trim_end()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap();
    }
    assert_eq!(weight, N * 10);
    assert_eq!(n_merged, stage.clients.figures().windows_merged);
    assert_eq!(stage.clients.figures().windows_dropped, 0);
}

#[test]
fn who_takes_nothing_for_too_long_is_sent_away_and_who_takes_a_little_is_not() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut dead = stage.client();
    let mut slow = stage.client();
    stage.follow(&mut dead, None);
    stage.follow(&mut slow, None);
    for sequence in 0..3 {
        stage.clients.window(&window(sequence, None, 1 << 20));
    }
    stage.turn();
    assert!(stage.pass(SECOND * 9).is_empty());
    let mut some = [0; 1 << 16];
    for _ in 0..8 {
        // As much as has come: less than all.
        let _ = std::io::Read::read(slow.0.get_mut(), &mut some);
    }
    stage.turn();
    let heard = stage.pass(SECOND * 2);
    assert!(
        matches!(heard.as_slice(), [Heard::Gone(_, Leave::TookNothing)]),
        "{heard:?}"
    );
    assert_eq!(stage.clients.figures().connected, 1);
    assert_eq!(stage.clients.figures().too_slow, 1);
}

#[test]
fn what_cannot_be_kept_or_sent_is_a_gap() {
    let limits = ClientLimits {
        queue: 4 << 20,
        ..ClientLimits::default()
    };
    let mut stage = Stage::new(limits);
    let mut client = stage.client();
    stage.follow(&mut client, None);
    // Larger than a line may be.
    stage.clients.window(&window(0, None, 5 << 20));
    stage.turn();
    let Event::Gap(gap) = client.event() else {
        panic!("another event");
    };
    assert_eq!((gap.from, gap.to, gap.reason), (0, 0, GapReason::TooLarge));
    // More phases than may wait.
    stage.clients.window(&window(1, None, 3 << 20));
    stage.turn();
    for sequence in 2..42 {
        stage
            .clients
            .window(&window(sequence, Some(&format!("{sequence}")), 3));
    }
    let mut lines = String::new();
    while lines.matches('\n').count() < 18 {
        stage.turn();
        let _ = client.0.read_line(&mut lines);
    }
    let mut next = 1;
    for line in lines.lines() {
        let (from, to) = match Message::parse(line.as_bytes()).unwrap() {
            Message::Event(Event::Window(window)) => (window.from, window.to),
            Message::Event(Event::Gap(gap)) => {
                assert_eq!(gap.reason, GapReason::TooSlow);
                (gap.from, gap.to)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(from, next);
        next = to + 1;
    }
    assert_eq!(next, 42);
    let figures = stage.clients.figures();
    assert_eq!(figures.windows_dropped + figures.windows_sent, 42);
}

#[test]
fn a_sign_of_life_comes_when_nothing_else_does() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    stage.follow(&mut client, Some(SECOND * 5));
    stage.pass(SECOND * 4);
    assert_eq!(client.line(), None);
    stage.clients.window(&window(0, None, 3));
    stage.pass(SECOND);
    assert!(matches!(client.event(), Event::Window(_)));
    stage.pass(SECOND * 4);
    assert_eq!(client.line(), None);
    stage.pass(SECOND);
    let Event::Heartbeat(heartbeat) = client.event() else {
        panic!("another event");
    };
    assert_eq!((heartbeat.target, heartbeat.sequence), (7, Some(0)));
}

#[test]
fn a_thousand_clients_that_come_and_go_leave_nothing_behind() {
    let mut stage = Stage::new(ClientLimits::default());
    for _ in 0..1000 {
        let mut client = stage.connect();
        let _ = client.0.get_mut().write_all(b"{\"do\":\"list\"}\n{\"do\":");
        stage
            .clients
            .flush(&stage.poller, stage.now, &mut Vec::new());
    }
    let mut n_gone = 0;
    for _ in 0..100 {
        let heard = stage.turn();
        n_gone += heard
            .iter()
            .filter(|heard| matches!(heard, Heard::Gone(..)))
            .count();
        for heard in heard {
            if let Heard::Request { client, id, .. } = heard {
                stage.clients.answer(client, id, &());
            }
        }
    }
    let figures = stage.clients.figures();
    assert_eq!(figures.connected, 0);
    assert_eq!(figures.accepted, n_gone as u64);
}

#[test]
fn the_end_of_the_daemon_is_told_to_everybody() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    let Stage { clients, .. } = stage;
    clients.stop(&Refusal::new(RefusalClass::Stopping, "the daemon ends"));
    assert_eq!(client.farewell().class, RefusalClass::Stopping);
}

/// A window of many stacks, each with a name of its own.
fn of_many_stacks(sequence: u64, phase: &str, n_stacks: usize) -> PhasedWindow {
    let mut window = window(sequence, Some(phase), 3);
    let profile = Arc::make_mut(&mut window.profile);
    let row = profile.rows.remove(0);
    profile.rows.extend((0..n_stacks).map(|n| {
        let mut row = row.clone();
        row.frames[0].text = format!("{n:06}").into();
        row
    }));
    window
}

#[test]
fn what_waits_for_a_client_takes_no_more_memory_than_there_is_room_for() {
    const N_STACKS: usize = 2000;
    let one = crate::aggregate::profile_bytes(&of_many_stacks(0, "", N_STACKS).profile);
    let limits = ClientLimits {
        queue: usize::try_from(one * 5 / 2).unwrap(),
        ..ClientLimits::default()
    };
    let mut stage = Stage::new(limits);
    let mut client = stage.client();
    stage.follow(&mut client, None);
    // The first ones fill the socket; of the rest two have room, and what is left out is told.
    for sequence in 0..60 {
        let phase = (sequence / 2).to_string();
        stage
            .clients
            .window(&of_many_stacks(sequence, &phase, N_STACKS));
        stage.turn();
    }
    let figures = stage.clients.figures();
    assert!(figures.windows_dropped > 0, "{figures:?}");
    let (mut next, mut n_stacks, mut n_left_out) = (0, 0, 0);
    while next < 60 {
        let mut line = String::new();
        while !line.ends_with('\n') {
            stage.turn();
            let _ = client.0.read_line(&mut line);
        }
        let (from, to) = match Message::parse(line.as_bytes()).unwrap() {
            Message::Event(Event::Window(window)) => {
                let WindowBody::Folded(text) = window.body else {
                    panic!("another form");
                };
                let weights = text.lines().map(|line| line.rsplit(' ').next().unwrap());
                n_stacks += weights
                    .map(|weight| weight.parse::<u64>().unwrap())
                    .sum::<u64>();
                (window.from, window.to)
            }
            Message::Event(Event::Gap(gap)) => {
                assert_eq!(gap.reason, GapReason::TooSlow);
                n_left_out += gap.to - gap.from + 1;
                (gap.from, gap.to)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(from, next);
        next = to + 1;
    }
    assert_eq!(n_left_out, stage.clients.figures().windows_dropped);
    assert_eq!(n_stacks, (60 - n_left_out) * N_STACKS as u64 * 10);
}
