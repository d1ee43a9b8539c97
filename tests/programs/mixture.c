// Thirty leaf functions in an order that is not regular, some busier than others: for comparing two profilers.
#include "known.h"
#include <stdlib.h>

#define LEAF(n)                                                                                                        \
    FUNCTION uint64_t leaf_##n(uint64_t x) {                                                                           \
        for (int i = 0; i < 200 + 20 * n; i++) {                                                                       \
            x = x * (2 * n + 3) + (x >> 7);                                                                            \
        }                                                                                                              \
        return x;                                                                                                      \
    }
#define TEN(leaf, t) leaf(t##0) leaf(t##1) leaf(t##2) leaf(t##3) leaf(t##4) leaf(t##5) leaf(t##6) leaf(t##7) leaf(t##8) leaf(t##9)
TEN(LEAF, 1)
TEN(LEAF, 2)
TEN(LEAF, 3)

#define NAME(n) leaf_##n,
static uint64_t (*const leaves[30])(uint64_t) = {TEN(NAME, 1) TEN(NAME, 2) TEN(NAME, 3)};

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    uint64_t x = 88172645463325252;
    for (uint64_t n = 0; n % 4096 || cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) < seconds; n++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        behind_the_call += leaves[x % 30](n);
    }
}
