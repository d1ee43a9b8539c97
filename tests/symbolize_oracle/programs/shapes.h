// What both units of the C++ program use: virtual functions, templates, functions of hidden namespaces.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

extern "C" int c_checksum(const unsigned char *bytes, size_t n);

namespace shapes {

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
    virtual std::string name() const = 0;
};

template <typename T, std::size_t N> struct Ring {
    T slots[N] = {};
    std::size_t at = 0;

    void push(T value) {
        slots[at % N] = value;
        at += 1;
    }

    template <typename F> T fold(T start, F &&with) const {
        for (const T &slot : slots) start = with(start, slot);
        return start;
    }
};

template <typename First, typename... Rest> double total(const First &first, const Rest &...rest) {
    if constexpr (sizeof...(rest) == 0) return first.area();
    else return first.area() + total(rest...);
}

namespace {
inline int clamped(int value, int most) {
    if (value > most) return most;
    return value < 0 ? 0 : value;
}
} // namespace

double sum_of(const std::vector<const Shape *> &shapes);
std::string described(const Shape &shape, int times);

} // namespace shapes
