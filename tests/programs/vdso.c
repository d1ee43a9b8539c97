// clock_gettime, which libc finds in the vDSO.
#include "known.h"

FUNCTION static void read_clocks(void) {
    for (int i = 0; i < 2000; i++) {
        behind_the_call += (uint64_t)cpu_seconds(CLOCK_MONOTONIC);
    }
}

int main(void) {
    while (time_left()) {
        read_clocks();
        behind_the_call++;
    }
}
