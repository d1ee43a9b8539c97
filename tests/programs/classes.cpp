// Virtual calls, and an exception that is thrown and caught on the way.
#include "known.h"

struct Shape {
    virtual ~Shape() = default;
    FUNCTION virtual uint64_t area(uint64_t x) = 0;
};

struct Round : Shape {
    FUNCTION uint64_t area(uint64_t x) override {
        uint64_t result = spin(x);
        behind_the_call++;
        return result;
    }
};

FUNCTION static uint64_t thrower(Shape &shape) {
    try {
        uint64_t result = shape.area(behind_the_call);
        if (result != 0) {
            throw result;
        }
        return 0;
    } catch (uint64_t result) {
        behind_the_call++;
        return result;
    }
}

int main() {
    Round round;
    while (time_left()) {
        behind_the_call += thrower(round);
    }
}
