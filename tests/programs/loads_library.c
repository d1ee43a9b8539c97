// dlopen and dlclose of the libraries given as arguments, in turn, so that one comes to lie where the other was.
#include "known.h"
#include <dlfcn.h>
#include <stdlib.h>

FUNCTION static uint64_t call_loaded(uint64_t (*entry)(uint64_t), uint64_t x) {
    uint64_t result = 0;
    for (int i = 0; i < 100; i++) {
        result += entry(x);
    }
    behind_the_call++;
    return result;
}

int main(int argc, char **argv) {
    for (int i = 0; time_left(); i++) {
        void *library = dlopen(argv[1 + i % (argc - 1)], RTLD_NOW);
        if (!library) {
            return 1;
        }
        uint64_t (*entry)(uint64_t) = (uint64_t(*)(uint64_t))dlsym(library, i % 2 ? "second_entry" : "first_entry");
        behind_the_call += call_loaded(entry, behind_the_call);
        dlclose(library);
    }
}
