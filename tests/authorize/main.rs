//! Who may profile whom: every peer, every kind of process, every kind of evidence; and numbers of processes that are used again.
//!
//! Descriptors are opened by processes of the users in question and passed over a socket, as clients do it. Needs root.

#[path = "../support/mod.rs"]
mod support;
mod targets;

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use perfd::daemon::authorize::{Evidence, Rules};
use perfd::model::{FaultClass, Pid};
use perfd::session::engine::Authority;
use perfd::sys::unix_socket::{LineStream, Peer, Received};
use targets::{GROUP, KINDS, Kind, OTHER, Running, Stage, USER};

/// The administrators' group of these tests.
const ADMINS: u32 = 61_000;

/// Who asks.
struct Asker {
    name: &'static str,
    uid: u32,
    groups: &'static [u32],
}

const ASKERS: [Asker; 4] = [
    Asker {
        name: "root",
        uid: 0,
        groups: &[],
    },
    Asker {
        name: "administrator",
        uid: OTHER,
        groups: &[ADMINS],
    },
    Asker {
        name: "owner",
        uid: USER,
        groups: &[],
    },
    Asker {
        name: "other user",
        uid: OTHER,
        groups: &[],
    },
];

impl Asker {
    fn peer(&self) -> Peer {
        let gid = if self.uid == 0 { 0 } else { GROUP };
        Peer {
            uid: self.uid,
            gid,
            groups: self.groups.to_vec(),
        }
    }

    fn is_admin(&self) -> bool {
        matches!(self.name, "root" | "administrator")
    }
}

fn rules() -> Rules {
    Rules {
        admin_gid: Some(ADMINS),
        ..Rules::default()
    }
}

/// One kind of evidence as an asker could bring it together.
struct Brought {
    kind: String,
    evidence: Evidence,
    has_maps: bool,
}

/// Lets a process of the asker open everything.
fn brought(asker: &Asker, pid: u32, other: &Running, stage: &Stage) -> Vec<Brought> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let peer = asker.peer();
    let groups: Vec<String> = peer.groups.iter().map(u32::to_string).collect();
    let ran = Command::new("python3")
        .arg("tests/authorize/opener.py")
        .args([peer.uid, peer.gid].map(|id| id.to_string()))
        .arg(groups.join(","))
        .args([pid, other.pid()].map(|pid| pid.to_string()))
        .arg(stage.other_proc())
        .arg(stage.plain_file())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .output()
        .expect("python3 starts");
    assert!(ran.status.success(), "{ran:?}");
    let ours = LineStream::from(ours);
    let mut buffer = [0; 256];
    let mut all = Vec::new();
    loop {
        match ours.receive(&mut buffer).expect("readable") {
            Received::Bytes(n, descriptors) => {
                let line = String::from_utf8_lossy(&buffer[..n]);
                let (kind, has) = line.trim_end().split_once(':').expect("as sent");
                let mut descriptors = descriptors.into_iter();
                let mut next = |letter| {
                    has.contains(letter)
                        .then(|| descriptors.next().expect("as sent"))
                };
                all.push(Brought {
                    kind: kind.to_owned(),
                    evidence: Evidence {
                        pidfd: next('P'),
                        maps: next('M'),
                    },
                    has_maps: has.contains('M'),
                });
            }
            Received::End => return all,
            // Another test's child has a copy of the other end, until its exec.
            Received::Nothing => wait_for_more(&ours),
            other => panic!("{other:?}"),
        }
    }
}

fn wait_for_more(ours: &LineStream) {
    let mut waits = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
    poll(&mut waits, PollTimeout::NONE).expect("a socket can be waited for");
}

/// What the answer has to be, written down apart from how it is found.
fn is_right(asker: &Asker, kind: Kind, brought: &Brought) -> bool {
    let lives = !matches!(kind, Kind::Zombie | Kind::Gone);
    let evidence = brought.kind.as_str();
    if asker.is_admin() {
        // Anything that lives, unless what is passed contradicts the request. A pidfd that could not be had is none.
        let contradicts = [
            "pidfd of another process",
            "a file as pidfd",
            "pidfd without rights",
        ];
        return lives && (!contradicts.contains(&evidence) || brought.evidence.pidfd.is_none());
    }
    let is_own = asker.name == "owner";
    match kind {
        // Where the right maps cannot be opened, "right" is a pidfd alone, and that does for a plain process only. Those of another procfs are as
        // none: in a service that systemd gives a procfs of its own, all are.
        Kind::Plain => is_own && ["right", "no maps", "maps of another procfs"].contains(&evidence),
        Kind::OtherNamespace => is_own && evidence == "right" && brought.has_maps,
        _ => false,
    }
}

#[test]
fn the_table_of_users_processes_and_evidence_has_no_wrong_grant() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let (mut n_cells, mut n_granted, mut faults) = (0, 0, String::new());
    for kind in KINDS {
        let target = stage.start(kind);
        for asker in &ASKERS {
            let neighbour = stage.start_as(asker.uid);
            let pid = target.pid();
            for brought in brought(asker, pid, &neighbour, &stage) {
                let expected = is_right(asker, kind, &brought);
                let outcome = rules().process(&asker.peer(), Pid(pid), brought.evidence);
                n_cells += 1;
                n_granted += usize::from(outcome.is_ok());
                let said = match &outcome {
                    Ok(granted) => {
                        assert_eq!(granted.pid, Pid(pid));
                        let is_everything = granted.authority == Authority::Everything;
                        assert_eq!(is_everything, asker.is_admin());
                        "granted".to_owned()
                    }
                    Err(fault) => format!("{fault}"),
                };
                if outcome.is_ok() != expected {
                    let _ = writeln!(
                        faults,
                        "{} / {kind:?} / {}: expected {expected}: {said}",
                        asker.name, brought.kind
                    );
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
    assert!(
        n_cells >= 60 && n_granted > 0,
        "{n_cells} cells, {n_granted} granted"
    );
}

#[test]
fn maps_that_were_opened_before_an_exec_with_other_rights_prove_nothing() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let owner = &ASKERS[2];
    for kind in [
        Kind::SetUid,
        Kind::FileCapabilities,
        Kind::OpenWithCapabilities,
        Kind::Unreadable,
    ] {
        let neighbour = stage.start_as(USER);
        let mut target = stage.start_before_exec(kind);
        let before = brought(owner, target.pid(), &neighbour, &stage);
        let right = before.into_iter().find(|brought| brought.kind == "right");
        let right = right.expect("opened");
        assert!(right.has_maps, "{kind:?}: its own process, before the exec");
        let pid = Pid(target.pid());
        target.go_on();
        let outcome = rules().process(&owner.peer(), pid, right.evidence);
        assert!(outcome.is_err(), "{kind:?}: {outcome:?}");
    }
}

#[test]
fn a_number_that_is_used_again_is_nobody_elses() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let owner = &ASKERS[2];
    let neighbour = stage.start_as(USER);
    let mut n_reused = 0;
    for _ in 0..20 {
        let own = stage.start(Kind::Plain);
        let pid = own.pid();
        let evidence = brought(owner, pid, &neighbour, &stage);
        drop(own);
        // Another process of the same user, which the owner might profile, and one of somebody else.
        let Some(impostor) = stage.start_with_number(pid, [USER, OTHER][n_reused % 2]) else {
            continue;
        };
        n_reused += 1;
        for old in evidence {
            let kind = old.kind.clone();
            let outcome = rules().process(&owner.peer(), Pid(pid), old.evidence);
            assert!(outcome.is_err(), "{kind}: {outcome:?}");
        }
        // A new pidfd, of the impostor, with the maps of before.
        if impostor.uid() == USER {
            let fresh = brought(owner, pid, &neighbour, &stage);
            let right = fresh.into_iter().find(|brought| brought.kind == "right");
            let right = right.expect("opened").evidence;
            let granted = rules().process(&owner.peer(), Pid(pid), right);
            assert!(granted.is_ok(), "{granted:?}");
        }
        if n_reused == 4 {
            return;
        }
    }
    panic!("numbers were used again {n_reused} times only");
}

#[test]
fn old_maps_with_a_hold_on_the_new_process_prove_nothing() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let owner = &ASKERS[2];
    let neighbour = stage.start_as(USER);
    for _ in 0..20 {
        let own = stage.start(Kind::Plain);
        let pid = own.pid();
        let old = brought(owner, pid, &neighbour, &stage);
        drop(own);
        let Some(_impostor) = stage.start_with_number(pid, USER) else {
            continue;
        };
        let new = brought(owner, pid, &neighbour, &stage);
        let right = |all: Vec<Brought>| {
            let right = all.into_iter().find(|brought| brought.kind == "right");
            right.expect("opened").evidence
        };
        let evidence = Evidence {
            pidfd: right(new).pidfd,
            maps: right(old).maps,
        };
        let outcome = rules().process(&owner.peer(), Pid(pid), evidence);
        assert!(outcome.is_err(), "{outcome:?}");
        return;
    }
    panic!("no number was used again");
}

#[test]
fn refusals_of_a_user_do_not_tell_processes_apart() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let other = &ASKERS[3];
    let neighbour = stage.start_as(OTHER);
    let mut said = Vec::new();
    for kind in KINDS {
        let target = stage.start(kind);
        let pid = target.pid();
        for brought in brought(other, pid, &neighbour, &stage) {
            let fault = rules()
                .process(&other.peer(), Pid(pid), brought.evidence)
                .expect_err("another user's");
            // About what the client itself passed.
            if fault.class != FaultClass::Usage {
                said.push(format!("{fault} {:?}", fault.hints).replace(&pid.to_string(), "PID"));
            }
        }
    }
    said.sort();
    said.dedup();
    assert_eq!(said.len(), 1, "{said:#?}");
}

#[test]
fn only_administrators_ask_for_more_than_a_process() {
    let admin_only = |asker: &Asker| {
        rules()
            .admin_only(&asker.peer(), "profile the host")
            .is_ok()
    };
    assert_eq!(
        ASKERS.each_ref().map(admin_only),
        [true, true, false, false]
    );
    let may_touch = |asker: &Asker| rules().may_touch(&asker.peer(), Some(USER));
    assert_eq!(ASKERS.each_ref().map(may_touch), [true, true, true, false]);
    let may_touch = |asker: &Asker| rules().may_touch(&asker.peer(), None);
    assert_eq!(ASKERS.each_ref().map(may_touch), [true, true, false, false]);
    let nobody = Rules {
        admin_gid: None,
        ..Rules::default()
    };
    assert!(!nobody.is_admin(&ASKERS[1].peer()));
}
