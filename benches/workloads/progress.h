// How a workload tells what it has done: one line `UNITS CPU_NS MONOTONIC_NS` about every 20 ms of its CPU time.
//
// The CPU time is the process clock, so that other load on the machine does not count. The monotonic time lets a
// reader cut windows out of the log afterwards. The first line is `pid PID`.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <unistd.h>

class Progress {
public:
    explicit Progress(double cpu_seconds) : end_ns_(static_cast<uint64_t>(cpu_seconds * 1e9)) {
        printf("pid %d\n", getpid());
        print(now(CLOCK_PROCESS_CPUTIME_ID));
    }

    // Counts one unit of work; false when the CPU time is used up.
    bool unit() {
        units_++;
        if (units_ % UNITS_PER_LOOK != 0) {
            return true;
        }
        const uint64_t cpu_ns = now(CLOCK_PROCESS_CPUTIME_ID);
        const bool over = cpu_ns >= end_ns_;
        if (over || cpu_ns - printed_ns_ >= 20'000'000) {
            print(cpu_ns);
        }
        return !over;
    }

private:
    // A look costs a system call; a unit of work is some 20 µs.
    static constexpr uint64_t UNITS_PER_LOOK = 64;

    static uint64_t now(clockid_t clock) {
        timespec t;
        clock_gettime(clock, &t);
        return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
    }

    void print(uint64_t cpu_ns) {
        printf("%llu %llu %llu\n", static_cast<unsigned long long>(units_), static_cast<unsigned long long>(cpu_ns),
               static_cast<unsigned long long>(now(CLOCK_MONOTONIC)));
        fflush(stdout);
        printed_ns_ = cpu_ns;
    }

    uint64_t end_ns_;
    uint64_t units_ = 0;
    uint64_t printed_ns_ = 0;
};
