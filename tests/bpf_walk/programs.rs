//! The real programs whose samples are walked.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// A program at work.
pub struct Program {
    pub name: &'static str,
    /// What has to be installed.
    needs: &'static str,
    /// For the shell, in a folder of its own with the files of [`Program::prepare`].
    pub script: &'static str,
}

pub const PROGRAMS: [Program; 6] = [
    Program {
        name: "features",
        needs: "c++",
        script: "exec ./features",
    },
    Program {
        name: "python",
        needs: "python3",
        script: "exec python3 script.py",
    },
    Program {
        name: "compiler",
        needs: "c++",
        script: "exec c++ -O2 -g -c features.cpp -o features.o",
    },
    Program {
        name: "git",
        needs: "git",
        script: "exec git diff --no-index --minimal --stat numbers backwards >stat",
    },
    Program {
        name: "xz",
        needs: "xz",
        script: "exec xz -k -6 -f -c numbers >numbers.xz",
    },
    Program {
        name: "node",
        needs: "node",
        script: "exec node script.js",
    },
];

const PYTHON: &str = "
import json, re
def tree(depth): return [tree(depth - 1) for _ in range(3)] if depth else {'leaf': list(range(5))}
def deep(n): return sorted(range(40), key=lambda x: -x) if n == 0 else deep(n - 1)
for _ in range(8):
    text = json.dumps(tree(6))
    numbers = sorted(map(int, re.findall(r'[0-9]+', text)), key=lambda n: -n)
    assert json.loads(text)
    for _ in range(200): deep(60)
";

const NODE: &str = "
function tree(depth) { return depth ? [1, 2, 3].map(() => tree(depth - 1)) : { leaf: [1, 2, 3] }; }
function deep(n) { return n ? deep(n - 1) + 1 : [3, 1, 2].sort((a, b) => a - b)[0]; }
let sum = 0;
for (let i = 0; i < 20; i++) {
    sum += JSON.stringify(JSON.parse(JSON.stringify(tree(8)))).replace(/[0-9]/g, d => d + 1).length;
    for (let j = 0; j < 3000; j++) sum += deep(100);
}
";

impl Program {
    /// Whether it can run here.
    pub fn is_installed(&self) -> bool {
        Command::new(self.needs).arg("--version").output().is_ok()
    }

    /// Writes what its script works on.
    pub fn prepare(&self, folder: &Path) {
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).expect("the input is written");
        };
        write("script.py", PYTHON);
        write("script.js", NODE);
        write("features.cpp", include_str!("features.cpp"));
        let numbers: Vec<String> = (0..25_000u64)
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44).to_string())
            .collect();
        write("numbers", &numbers.join("\n"));
        let backwards = numbers
            .iter()
            .rev()
            .fold(String::new(), |mut text, number| {
                let _ = writeln!(text, "{number}");
                text
            });
        write("backwards", &backwards);
        if self.name == "features" {
            let compiled = Command::new("c++")
                .args(["-O2", "-g", "-fomit-frame-pointer", "-fno-builtin", "-fplt"])
                .args(["-Wl,-z,lazy", "-o", "features", "features.cpp"])
                .current_dir(folder)
                .output()
                .expect("c++ is installed");
            let said = String::from_utf8_lossy(&compiled.stderr);
            assert!(compiled.status.success(), "c++: {said}");
        }
    }
}
