// Leaf functions without a frame, one behind the other in the file.
#include "known.h"

#define LEAF(name, factor)                                                                                             \
    FUNCTION static uint64_t name(uint64_t x) {                                                                        \
        for (int i = 0; i < 40000; i++) {                                                                              \
            x = x * factor + (x >> 7);                                                                                 \
        }                                                                                                              \
        return x;                                                                                                      \
    }

LEAF(leaf_a, 3)
LEAF(leaf_b, 5)
LEAF(leaf_c, 7)

FUNCTION static uint64_t caller(uint64_t x) {
    x += leaf_a(x);
    x += leaf_b(x);
    x += leaf_c(x);
    return x + behind_the_call;
}

int main(void) {
    while (time_left()) {
        behind_the_call += caller(behind_the_call);
    }
}
