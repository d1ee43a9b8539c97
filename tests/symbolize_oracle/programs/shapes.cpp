#include "shapes.h"

#include <algorithm>
#include <map>
#include <stdexcept>

namespace shapes {

namespace {

static std::map<std::string, int> counts;

static int counted(const std::string &name) {
    int &count = counts[name];
    count = clamped(count + 1, 1000);
    return count;
}

[[noreturn, gnu::cold]] void refuse(const std::string &name) { throw std::invalid_argument("no area: " + name); }

struct ByArea {
    bool operator()(const Shape *a, const Shape *b) const { return a->area() < b->area(); }
};

} // namespace

double sum_of(const std::vector<const Shape *> &shapes) {
    std::vector<const Shape *> sorted(shapes);
    std::sort(sorted.begin(), sorted.end(), ByArea());
    std::stable_sort(sorted.begin(), sorted.end(), [](const Shape *a, const Shape *b) { return a->name() < b->name(); });
    Ring<double, 8> ring;
    for (const Shape *shape : sorted) {
        if (shape->area() < 0) refuse(shape->name());
        ring.push(shape->area() * counted(shape->name()));
    }
    return ring.fold(0.0, [&](double sum, double area) { return sum + area * double(sorted.size()); });
}

std::string described(const Shape &shape, int times) {
    std::string text;
    for (int i = 0; i < clamped(times, 7); i++) {
        text += shape.name();
        if (text.size() > 100) throw std::length_error(text);
    }
    return text + std::to_string(c_checksum(reinterpret_cast<const unsigned char *>(text.data()), text.size()));
}

} // namespace shapes
