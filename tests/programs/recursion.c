// Recursion as deep as the argument says, in small frames without a frame pointer.
#include "known.h"
#include <stdlib.h>

FUNCTION uint64_t descend(int depth) {
    uint64_t result = depth > 1 ? descend(depth - 1) : spin(depth);
    behind_the_call++;
    return result;
}

int main(int argc, char **argv) {
    int depth = argc > 1 ? atoi(argv[1]) : 60;
    while (time_left()) {
        behind_the_call += descend(depth);
    }
}
