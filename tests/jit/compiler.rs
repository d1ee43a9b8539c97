//! `--jit`: what was made, and what the runtime says of itself.

use std::fs;
use std::process::Command;

use crate::program::{Spinning, compile, may_sample, run};

#[test]
fn what_was_compiled_and_what_the_runtime_reports_is_told() {
    if !may_sample() {
        return;
    }
    let program = compile();
    let target = Spinning::start(Command::new(program.path()).args(["map", "spin"]));
    let report = format!("/tmp/perfd-jit-{}.txt", target.pid);
    let text = "perfd-jit-v1\nguard ok=10 fail=0\nguard ok=3999 fail=1\n";
    fs::write(&report, text).expect("written");
    let more = "10000100 20 again\n10000200 20 again\n9000000 20 elsewhere\n";
    let map = fs::read_to_string(target.map()).expect("it wrote one");
    fs::write(target.map(), map + more).expect("written");
    let pid = target.pid.to_string();
    let run = run(program.folder(), &["attach", "--jit", "-d", "0.3"], &[&pid]);
    let _ = fs::remove_file(&report);
    let line = format!(
        "pid {pid}: 3 functions compiled, 1 of them again; 78 bytes of code, 78 live (perf map)"
    );
    assert!(run.said.contains(&line), "{}", run.said);
    let line = "guards: 3,999 held, 1 failed (> 99.9 % held); caches: not reported by the runtime";
    assert!(run.said.contains(line), "{}", run.said);
    let process = &run.document["jit"]["processes"][0];
    assert_eq!(
        process["guards"],
        serde_json::json!({"ok": 3999, "fail": 1})
    );
    assert_eq!(process["cache"], serde_json::Value::Null);
    assert_eq!(process["compiled"]["compiled_again"], 1);
}

#[test]
fn without_the_flag_nothing_is_told() {
    if !may_sample() {
        return;
    }
    let program = compile();
    let target = Spinning::start(Command::new(program.path()).args(["map", "spin"]));
    let pid = target.pid.to_string();
    let run = run(program.folder(), &["attach", "-d", "0.3"], &[&pid]);
    assert!(!run.said.contains("compiled"), "{}", run.said);
    assert_eq!(run.document.get("jit"), None);
}
