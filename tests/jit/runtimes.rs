//! Real runtimes, and processes in namespaces of their own.

use std::path::Path;
use std::process::Command;

use crate::program::{Run, Spinning, backends, compile, may_sample, run};
use crate::support::skip;

/// Optimized by V8 within some ms.
const SCRIPT: &str = "
function hotFunction(n) { let s = 0; for (let i = 0; i < n; i++) s = (s * 31 + i) | 0; return s; }
let sum = 0;
for (let i = 0; i < 3000; i++) sum += hotFunction(100000);
require('fs').writeFileSync('pid', String(process.pid));
";

fn is_installed(program: &str, argument: &str) -> bool {
    let is_there = Command::new(program).arg(argument).output().is_ok();
    if !is_there {
        skip(&format!("{program} is not installed"));
    }
    is_there
}

fn node(folder: &Path, backend: &str, flags: &[&str]) -> Run {
    std::fs::write(folder.join("script.js"), SCRIPT).expect("written");
    let before = ["record", "--jit", "--backend", backend];
    let then = [&["--", "node"], flags, &["script.js"]].concat();
    let run = run(folder, &before, &then);
    let pid = std::fs::read_to_string(folder.join("pid")).expect("it has ended well");
    let _ = std::fs::remove_file(format!("/tmp/perf-{pid}.map"));
    run
}

fn is_hot(frame: &str) -> bool {
    // `*`: V8's optimized code, `^` and `~` what it had before.
    frame.starts_with("JS:") && frame.contains("hotFunction") && frame.ends_with("_[j]")
}

fn check_named(run: &Run) {
    let (hot, all) = (run.weight(is_hot), run.weight(|_| true));
    assert!(hot * 2 > all, "{hot} of {all}: {}", run.said);
    // Where code stood in another's place while it was sampled, it has none; that is rare.
    let unnamed = run.weight(|frame| frame == "[anon]");
    assert!(unnamed * 20 < all, "{unnamed} of {all}: {}", run.said);
    let process = &run.document["jit"]["processes"][0];
    assert!(
        process["compiled"]["functions"].as_u64() > Some(0),
        "{process}"
    );
    assert!(
        process["compiled"]["code_bytes"].as_u64() > Some(0),
        "{process}"
    );
    assert_eq!(process["guards"], serde_json::Value::Null);
    assert!(
        run.said.contains("not reported by the runtime"),
        "{}",
        run.said
    );
}

#[test]
fn functions_of_node_have_their_names_with_a_perf_map_and_none_without() {
    if !may_sample() || !is_installed("node", "--version") {
        return;
    }
    for backend in backends() {
        let folder = tempfile::tempdir().expect("a folder");
        let with = node(folder.path(), backend, &["--perf-basic-prof"]);
        check_named(&with);
        assert_eq!(
            with.document["jit"]["processes"][0]["compiled"]["source"],
            "perf_map"
        );
        let without = node(folder.path(), backend, &[]);
        assert_eq!(without.weight(|frame| frame.ends_with("_[j]")), 0);
        assert!(
            without.weight(|frame| frame == "[anon]") > 0,
            "{:?}",
            without.stacks
        );
        let process = &without.document["jit"]["processes"][0];
        assert_eq!(process["compiled"], serde_json::Value::Null);
    }
}

#[test]
fn functions_of_node_have_their_names_with_a_jitdump_that_is_written_at_the_end() {
    if !may_sample() || !is_installed("node", "--version") {
        return;
    }
    for backend in backends() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = node(folder.path(), backend, &["--perf-prof"]);
        check_named(&run);
        assert_eq!(
            run.document["jit"]["processes"][0]["compiled"]["source"],
            "jitdump"
        );
    }
}

const JAVA: &str = "
public class Hot {
    static int hotMethod(int n) { int s = 0; for (int i = 0; i < n; i++) s = s * 31 + i; return s; }
    public static void main(String[] args) {
        int sum = 0;
        for (int i = 0; i < 20000; i++) sum += hotMethod(100000);
        System.out.println(ProcessHandle.current().pid());
    }
}
";

#[test]
fn methods_of_java_have_the_names_that_it_writes_when_it_ends() {
    if !may_sample() || !is_installed("javac", "-version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("Hot.java"), JAVA).expect("written");
    let compiled = Command::new("javac")
        .arg("Hot.java")
        .current_dir(folder.path())
        .status();
    assert!(compiled.expect("it starts").success());
    let flags = [
        "--",
        "java",
        "-XX:+UnlockDiagnosticVMOptions",
        "-XX:+DumpPerfMapAtExit",
        // Inlined, the loop would be its caller's; whether it is depends on what was compiled first.
        "-XX:CompileCommand=quiet",
        "-XX:CompileCommand=dontinline,Hot.hotMethod",
        "-cp",
        ".",
        "Hot",
    ];
    let run = run(folder.path(), &["record", "--jit"], &flags);
    let hot = run.weight(|frame| frame.contains("hotMethod") && frame.ends_with("_[j]"));
    let all = run.weight(|_| true);
    assert!(hot * 4 > all, "{hot} of {all}: {}", run.said);
    let pid = run.document["processes"][0]["pid"].to_string();
    let _ = std::fs::remove_file(format!("/tmp/perf-{pid}.map"));
}

#[test]
fn a_process_in_namespaces_of_its_own_is_found_by_its_number_and_files_there() {
    if !may_sample() {
        return;
    }
    let program = compile();
    let inside = "exec 3< \"$0\" && mount -t tmpfs none /tmp && exec /proc/self/fd/3 map spin-for";
    let shell = [
        "sh",
        "-c",
        inside,
        program.path().to_str().expect("a plain path"),
    ];
    let isolated = ["unshare", "-pfm", "--mount-proc"];
    let may = Command::new(isolated[0])
        .args(&isolated[1..])
        .arg("true")
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        return skip("no namespaces may be made");
    }
    for backend in backends() {
        let then = [&["--"], &isolated[..], &shell[..]].concat();
        let run = run(program.folder(), &["record", "--backend", backend], &then);
        let named = run.weight(|frame| frame == "spinning_[j]");
        assert!(named > 0, "{:?} {}", run.stacks, run.said);
        assert_eq!(run.weight(|frame| frame == "[anon]"), 0, "{:?}", run.stacks);
    }
}

#[test]
fn samples_that_are_written_one_by_one_have_the_names() {
    if !may_sample() {
        return;
    }
    let program = compile();
    let target = Spinning::start(Command::new(program.path()).args(["map", "spin"]));
    let pid = target.pid.to_string();
    for backend in backends() {
        let before = [
            "attach",
            "-q",
            "--backend",
            backend,
            "-d",
            "0.5",
            "-o",
            "x.samples",
        ];
        run(program.folder(), &before, &[&pid]);
        let samples = std::fs::read_to_string(program.folder().join("x.samples")).expect("written");
        let named = samples.matches(" spinning (//anon)").count();
        assert!(
            named > 0 && !samples.contains("[unknown] (//anon)"),
            "{backend}: {samples}"
        );
    }
}
