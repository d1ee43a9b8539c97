//! Epochs, and who waits for what.

use super::*;
use crate::model::{AddressKind, FileOffset};
use crate::session::era::Era;
use crate::session::groups::GroupId;
use crate::target::Comms;

struct Scene {
    held: Held,
    modules: Modules,
    anonymous: ModuleId,
    asks: crossbeam_channel::Receiver<Ask>,
    answers: crossbeam_channel::Sender<Replaced>,
}

const PID: Pid = Pid(7);

impl Scene {
    fn new() -> Scene {
        let (reader, asks, answers) = JitReader::of_test();
        let mut modules = Modules::new();
        let anonymous = modules.intern(Module {
            kind: ModuleKind::Anonymous { pid: PID, epoch: 0 },
            path: "[anon]".into(),
            seen_in: None,
        });
        Scene {
            held: Held::new(reader),
            modules,
            anonymous,
            asks,
            answers,
        }
    }

    /// A sample at `time` is held; the number of its epoch when it is counted behind this answer.
    fn epoch_of(&mut self, time: u64, replaced: &[u64]) -> u32 {
        self.keep(time);
        self.held.ask(MonoNs(time), true);
        assert!(self.asks.try_iter().any(|ask| matches!(ask, Ask::Read(_))));
        let replaced = replaced.iter().map(|at| (PID, MonoNs(*at))).collect();
        self.answers.send(replaced).expect("it is waited for");
        let replaced = self.held.answer(Duration::ZERO).expect("it is there");
        self.held.tell_apart(&replaced, &mut self.modules);
        let mut epochs = Vec::new();
        let modules = &self.modules;
        self.held.take_asked(|walk, frames, held| {
            let mut frames = frames.to_vec();
            held.place(&mut frames, walk.span);
            match modules.get(frames[0].module).kind {
                ModuleKind::Anonymous { epoch, .. } => epochs.push(epoch),
                ref other => panic!("{other:?}"),
            }
        });
        assert_eq!(epochs.len(), 1);
        epochs[0]
    }

    fn keep(&mut self, time: u64) {
        let frame = Frame {
            module: self.anonymous,
            kind: AddressKind::Interrupted,
            offset: FileOffset(0x1000),
        };
        let walk = walk(time);
        assert!(self.held.keep(&walk, &[frame], &self.modules));
    }
}

fn walk(time: u64) -> Walk {
    Walk {
        task: TaskKey {
            comm: Whose {
                comm: Comms::default().intern(b"x"),
                group: GroupId::NONE,
                in_kernel_mode: false,
                era: Era::default(),
            },
            pid: None,
            tid: None,
        },
        pid: PID,
        tid: Tid(7),
        event: EventIdx(0),
        ended: Ended::Root,
        module: None,
        weight: Weight::of(1),
        taken: None,
        span: Span {
            first: MonoNs(time),
            last: MonoNs(time + 5),
        },
    }
}

#[test]
fn samples_around_a_replacement_are_kept_apart_from_those_before_and_those_behind() {
    let mut scene = Scene::new();
    assert_eq!(scene.epoch_of(10, &[]), 0);
    assert_eq!(scene.epoch_of(20, &[]), 0);
    assert_eq!(scene.epoch_of(30, &[34]), 1, "around it");
    assert_eq!(
        scene.epoch_of(33, &[]),
        2,
        "some may be from before it was over"
    );
    assert_eq!(scene.epoch_of(40, &[]), 3);
    assert_eq!(scene.epoch_of(50, &[]), 3);
    let spans = scene.held.take_spans();
    assert_eq!(spans.len(), 4);
    let first = spans.iter().find(|(module, _)| *module == scene.anonymous);
    let expected = Span {
        first: MonoNs(10),
        last: MonoNs(25),
    };
    assert_eq!(first.map(|(_, span)| *span), Some(expected));
    assert!(scene.held.take_spans().is_empty());
}

#[test]
fn samples_without_such_code_do_not_wait() {
    let mut scene = Scene::new();
    let frame = Frame {
        module: Modules::KERNEL,
        kind: AddressKind::Interrupted,
        offset: FileOffset(1),
    };
    assert!(!scene.held.keep(&walk(1), &[frame], &scene.modules));
    assert!(scene.held.is_empty());
    assert_eq!(scene.held.first_time(), None);
    scene.keep(9);
    assert_eq!(scene.held.first_time(), Some(MonoNs(9)));
}

#[test]
fn nobody_is_asked_again_before_an_answer_or_too_often() {
    let mut scene = Scene::new();
    let n_questions = |scene: &Scene| {
        let asks = scene.asks.try_iter();
        asks.filter(|ask| matches!(ask, Ask::Read(_))).count()
    };
    let later = MonoNs(0).plus(ASK_EVERY);
    scene.keep(1);
    scene.held.ask(later, false);
    assert_eq!(n_questions(&scene), 1);
    scene.keep(2);
    scene.held.ask(later, true);
    assert_eq!(n_questions(&scene), 0, "the first is not answered");
    scene.answers.send(Vec::new()).expect("it is waited for");
    assert!(scene.held.answer(Duration::ZERO).is_some());
    scene.held.take_asked(|_, _, _| ());
    scene.held.ask(later, false);
    assert_eq!(n_questions(&scene), 0, "it is too soon");
    scene.held.ask(later.plus(ASK_EVERY), false);
    assert_eq!(n_questions(&scene), 1);
}

#[test]
fn more_than_there_is_room_for_is_counted_at_once() {
    let mut scene = Scene::new();
    let frame = Frame {
        module: scene.anonymous,
        kind: AddressKind::Return,
        offset: FileOffset(1),
    };
    let stack = vec![frame; MOST_FRAMES / 2];
    let mut keep = || scene.held.keep(&walk(1), &stack, &scene.modules);
    assert_eq!([keep(), keep(), keep()], [true, true, false]);
    let mut n_left = 0;
    scene.held.take_all(|_, frames, _| n_left += frames.len());
    assert_eq!(n_left, MOST_FRAMES);
    assert!(scene.held.is_empty());
}

#[test]
fn a_dump_is_known_by_its_name() {
    let module = |path: &str| Module {
        kind: ModuleKind::File { dev: 1, inode: 1 },
        path: path.into(),
        seen_in: None,
    };
    for path in ["/tmp/jit-42.dump", "jit-1.dump (deleted)"] {
        assert!(is_dump(&module(path)), "{path}");
    }
    for path in [
        "/tmp/jit-.dump",
        "/jit-4x.dump",
        "/jit-42.dump/x",
        "/ajit-42.dump",
    ] {
        assert!(!is_dump(&module(path)), "{path}");
    }
}
