// Frames of 1.5 KiB, as many as the argument says: 20 fit what the kernel copies, 60 do not.
#include "known.h"
#include <stdlib.h>

FUNCTION uint64_t descend(int depth) {
    volatile uint64_t locals[184];
    locals[depth] = depth;
    uint64_t result = depth > 1 ? descend(depth - 1) : spin(depth);
    return result + locals[depth];
}

int main(int argc, char **argv) {
    int depth = argc > 1 ? atoi(argv[1]) : 20;
    while (time_left()) {
        behind_the_call += descend(depth);
    }
}
