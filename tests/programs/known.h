// What the programs with known stacks share: functions that stay functions, and an amount of work.
//
// A program calls its chain again and again until it has used 0.3 s of CPU time; the chain ends in `spin`. Every
// sample that holds a function of the chain has a stack that the test knows.
#pragma once

#include <stdint.h>
#include <time.h>

#if defined(__clang__)
#define FUNCTION __attribute__((noinline, unused))
#else
#define FUNCTION __attribute__((noipa, unused))
#endif

// Written behind a call, so that the call is not a jump.
static volatile uint64_t behind_the_call;

FUNCTION static uint64_t spin(uint64_t x) {
    for (int i = 0; i < 50000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

static double cpu_seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline int time_left(void) { return cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) < 0.3; }
