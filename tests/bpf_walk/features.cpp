// Goes where a walk is hard: functions that realign their stack, signal frames, exceptions on their way, stubs of a procedure linkage table,
// the vDSO, vfork, system calls.
#include <alloca.h>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FUNCTION __attribute__((noinline, noclone))

static volatile uint64_t sink;

// The compiler needs a register of its own, r10, for what the function finds its arguments by.
FUNCTION static uint64_t realigned(uint64_t x) {
    volatile uint64_t aligned[8] __attribute__((aligned(64)));
    volatile char *room = static_cast<volatile char *>(alloca(x % 64 + 1));
    room[0] = 1;
    aligned[x % 8] = x;
    return aligned[x % 8] + room[0];
}

FUNCTION static uint64_t calls_realigned(uint64_t x) {
    volatile uint64_t aligned[4] __attribute__((aligned(32)));
    volatile char *room = static_cast<volatile char *>(alloca(x % 64 + 1));
    room[0] = 1;
    aligned[x % 4] = realigned(x) + realigned(x + 1);
    return aligned[x % 4] + room[0];
}

FUNCTION static uint64_t descend(uint64_t depth) {
    if (depth == 0) throw std::runtime_error("deep enough");
    uint64_t result = descend(depth - 1);
    sink = sink + 1;
    return result;
}

FUNCTION static void throws(uint64_t depth) {
    try {
        sink = sink + descend(depth);
    } catch (const std::exception &) {
        sink = sink + 1;
    }
}

FUNCTION static void in_children() {
    pid_t child = vfork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
}

static void on_signal(int) {
    for (uint64_t i = 0; i < 2000; i++) sink = sink + calls_realigned(i);
}

int main() {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGPROF, &action, nullptr);
    itimerval often = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_PROF, &often, nullptr);
    for (uint64_t round = 0; round < 500; round++) {
        for (uint64_t i = 0; i < 10000; i++) sink = sink + calls_realigned(i);
        for (uint64_t i = 0; i < 10000; i++) sink = sink + static_cast<uint64_t>(labs(static_cast<long>(i)));
        for (uint64_t i = 0; i < 30; i++) throws(i);
        for (uint64_t i = 0; i < 3; i++) in_children();
        timespec now;
        for (uint64_t i = 0; i < 5000; i++) clock_gettime(CLOCK_MONOTONIC, &now);
        for (uint64_t i = 0; i < 500; i++) sink = sink + static_cast<uint64_t>(getppid());
    }
}
