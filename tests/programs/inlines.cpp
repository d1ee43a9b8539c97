// Two functions inlined into one: frames that only DWARF knows.
#include "known.h"

namespace shapes {

template <typename T> __attribute__((always_inline)) inline T inner(T x) {
    T result = spin(x);
    behind_the_call++;
    return result;
}

struct Middle {
    uint64_t seed;
    __attribute__((always_inline)) uint64_t turn() const {
        uint64_t result = inner<uint64_t>(seed + 1);
        behind_the_call++;
        return result;
    }
};

FUNCTION uint64_t outer(uint64_t x) {
    uint64_t result = Middle{x}.turn();
    behind_the_call++;
    return result;
}

} // namespace shapes

int main() {
    while (time_left()) {
        behind_the_call += shapes::outer(behind_the_call);
    }
}
