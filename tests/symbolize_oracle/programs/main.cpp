#include "shapes.h"

#include <cstdio>
#include <functional>
#include <memory>
#include <unordered_map>

namespace {

struct Square final : shapes::Shape {
    double side;
    explicit Square(double side) : side(side) {}
    double area() const override { return side * side; }
    std::string name() const override { return "square"; }
    Square operator+(const Square &other) const { return Square(side + other.side); }
    explicit operator bool() const { return side != 0; }
};

struct Circle final : shapes::Shape {
    double radius;
    explicit Circle(double radius) : radius(radius) {}
    double area() const override { return 3.14159 * radius * radius; }
    std::string name() const override { return "circle"; }
};

template <typename Key> std::size_t distinct(const std::vector<Key> &keys) {
    std::unordered_map<Key, int> seen;
    for (const Key &key : keys) seen[key] += 1;
    return seen.size();
}

static __attribute__((noinline)) int depth(int n, const std::function<int(int)> &leaf) {
    return n == 0 ? leaf(n) : 1 + depth(n - 1, leaf);
}

} // namespace

int main(int argc, char **argv) {
    std::vector<std::unique_ptr<shapes::Shape>> owned;
    for (int i = 0; i < argc * 3; i++) {
        if (i % 2) owned.push_back(std::make_unique<Circle>(i));
        else owned.push_back(std::make_unique<Square>(i));
    }
    std::vector<const shapes::Shape *> all;
    for (const auto &shape : owned) all.push_back(shape.get());
    try {
        Square square = Square(argc) + Square(2);
        if (square) std::printf("%f\n", shapes::total(square, Circle(argc), Square(1)) + shapes::sum_of(all));
        std::printf("%s\n", shapes::described(*all[0], argc).c_str());
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    std::vector<std::string> words(argv, argv + argc);
    return depth(argc, [&](int n) { return int(distinct(words)) + n; }) > 100;
}
