//! What the service's tests profile: a program of another user's that perfd has to look for in several places.

use super::machine::Machine;
use super::support::{Program, compile_c};

/// Runs code that it has made, and asks the kernel for much: by turns.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((noinline)) static void compiled(void) {
    for (volatile int n = 0; n < 10000000; n++) {}
}

int main(void) {
    /* mov eax, 10000000; again: dec eax; jnz again; ret */
    static const unsigned char loop[] = {0xb8, 0x80, 0x96, 0x98, 0x00, 0xff, 0xc8, 0x75, 0xfc, 0xc3};
    void *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) return 1;
    memcpy(code, loop, sizeof loop);
    char path[64];
    static char bytes[1 << 20];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "w");
    if (!map) return 1;
    fprintf(map, "%lx %zx made_at_run_time\n", (unsigned long)code, sizeof loop);
    fclose(map);
    int zeros = open("/dev/zero", O_RDONLY);
    for (;;) {
        compiled();
        ((void (*)(void))code)();
        for (int n = 0; n < 100; n++) if (read(zeros, bytes, sizeof bytes) <= 0) return 1;
    }
}
"#;

/// What is in its stacks: of its file, of its perf map, of the kernel.
pub const NAMES: [&str; 3] = [";main;compiled", "made_at_run_time", "read_zero"];

/// The program.
pub fn compiled() -> Program {
    compile_c(PROGRAM, &["-O1"])
}

/// Starts it for alice as a service of that name, out of a folder that nobody else may enter, with a /tmp of its own. The file is deleted meanwhile, so
/// that there is no way to it but by what the process has mapped.
pub fn start(machine: &Machine, unit: &str, comm: &str) {
    machine.share(compiled().path(), comm);
    let (hidden, path) = ("/home/alice/hidden", format!("/home/alice/hidden/{comm}"));
    let alices = ["-o", "alice", "-m", "700"];
    machine.ok(&[&["install", "-d"], &alices[..], &[hidden]].concat());
    let shared = format!("/shared/{comm}");
    machine.ok(&[&["install"], &alices[..], &[&shared, &path]].concat());
    // Of a busy host it gets its part: it is what the tests wait for.
    let text =
        format!("[Service]\nType=exec\nUser=alice\nPrivateTmp=yes\nNice=-20\nExecStart={path}\n");
    machine.unit(unit, &text);
    machine.ok(&["systemctl", "start", unit]);
    machine.ok(&["rm", &path]);
}

/// The number of the process that a unit is.
pub fn pid(machine: &Machine, unit: &str) -> u32 {
    machine.property(unit, "MainPID").parse().expect("a pid")
}
