// A library: a function too small to hide its PLT entry, and one that works.
#include "known.h"

FUNCTION uint64_t tiny(uint64_t x) { return x * 3 + 1; }

FUNCTION uint64_t library_entry(uint64_t x) {
    uint64_t result = spin(x);
    behind_the_call++;
    return result;
}
