// A deep stack that never changes: `deep CPU_SECONDS [DEPTH]` works at the bottom of a recursion, 60 deep unless told.
//
// Without frame pointers and with 144 bytes of locals per frame the stack is some 13 KB: more than the 8 KB that
// perf copies by default, less than what samply copies. 65 frames: start-up, main, the recursion, the leaf.
#include "progress.h"

#ifndef LOCALS
#define LOCALS 18 // 144 bytes
#endif

static __attribute__((noinline)) uint64_t leaf(uint64_t x) {
    for (int i = 0; i < 16'000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

static __attribute__((noinline)) uint64_t descend(unsigned depth, uint64_t seed) {
    volatile uint64_t locals[LOCALS];
    for (int i = 0; i < 4; i++) {
        locals[(seed + i) % LOCALS] = seed;
    }
    const uint64_t result = depth > 1 ? descend(depth - 1, seed + 1) : leaf(seed);
    // Work behind the call, so that it is not a tail call.
    return result ^ locals[seed % LOCALS];
}

int main(int argc, char **argv) {
    Progress progress(argc > 1 ? atof(argv[1]) : 1e9);
    const unsigned depth = argc > 2 ? static_cast<unsigned>(atoi(argv[2])) : 60;
    uint64_t seed = 88172645463325252;
    do {
        seed = descend(depth, seed);
    } while (progress.unit());
    return seed == 0;
}
