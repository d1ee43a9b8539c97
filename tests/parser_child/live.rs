//! Runs whose files are read in a child: the same output, byte for byte, where the target does the same.

use std::fs;

use crate::support::calls::CALLS;
use crate::support::{BACKENDS, backend_forbidden, compile_c, perfd, skip};

/// The folded stacks at every call of `probed`, which are the same in each run.
fn record(backend: &str, flags: &[&str]) -> String {
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let event = format!("mem:{:#x}:x", program.address_of("probed"));
    let folded = program.folder().join("x.folded");
    let output = perfd()
        .args(["record", "--backend", backend, "--srcline", "-c", "1"])
        .args(["-e", &event, "-o"])
        .arg(&folded)
        .args(flags)
        .arg("--")
        .arg(program.path())
        .arg("15")
        .output()
        .expect("perfd runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("parser"), "{said}");
    fs::read_to_string(folded).expect("written")
}

#[test]
fn the_output_is_the_same_byte_for_byte() {
    for backend in BACKENDS {
        if let Some(why) = backend_forbidden(backend) {
            skip(&why);
            continue;
        }
        let here = record(backend, &[]);
        assert!(here.contains("probed") && here.contains("main"), "{here}");
        assert_eq!(record(backend, &["--parse-in-child"]), here, "{backend}");
    }
}
