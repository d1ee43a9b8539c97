// A library for dlopen: -DENTRY=name -DPADDING=bytes, so that two of them differ.
#include "known.h"

FUNCTION uint64_t padding(uint64_t x) {
    __asm__ volatile(".skip " PADDING ", 0x90");
    return x;
}

FUNCTION uint64_t ENTRY(uint64_t x) {
    uint64_t result = spin(x);
    behind_the_call++;
    return result;
}
