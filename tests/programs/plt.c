// Calls into a shared library through the PLT.
#include "known.h"

uint64_t tiny(uint64_t x);
uint64_t library_entry(uint64_t x);

FUNCTION static uint64_t call_tiny(uint64_t x) {
    for (int i = 0; i < 200000; i++) {
        x = tiny(x);
    }
    behind_the_call++;
    return x;
}

FUNCTION static uint64_t call_library(uint64_t x) {
    uint64_t result = library_entry(x);
    behind_the_call++;
    return result;
}

int main(void) {
    while (time_left()) {
        behind_the_call += call_tiny(behind_the_call);
        behind_the_call += call_library(behind_the_call);
    }
}
