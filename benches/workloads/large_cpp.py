"""Writes a large C++ file for a compiler to work on: `python3 large_cpp.py [N_FUNCTIONS] > large.cpp`."""

import sys

HEAD = """\
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct Tag { static constexpr int value = N + Tag<N - 1>::value; };
template <> struct Tag<0> { static constexpr int value = 0; };

template <typename Key, int N> std::vector<Key> squares(const std::map<Key, int> &of) {
    std::vector<Key> result;
    for (const auto &[key, count] : of) {
        for (int i = 0; i < count % (N + 3); i++) result.push_back(key * Key(count + Tag<N>::value));
    }
    std::sort(result.begin(), result.end(), [](Key a, Key b) { return a * (N + 1) > b * (N + 2); });
    return result;
}
"""

FUNCTION = """
struct Shape{n} {{ virtual ~Shape{n}() = default; virtual double area(double) const = 0; }};
struct Round{n} : Shape{n} {{ double area(double r) const override {{ return r * r * {n}.14; }} }};
struct Flat{n} : Shape{n} {{ double area(double r) const override {{ return r * {n}.5 + 1; }} }};

long function{n}(const std::vector<std::string> &words, int seed) {{
    std::map<long, int> counts;
    std::unordered_map<std::string, std::variant<int, double, std::string>> seen;
    std::vector<std::unique_ptr<Shape{n}>> shapes;
    for (const auto &word : words) {{
        counts[long(word.size()) * {n} + seed]++;
        if (word.size() % 3 == {n} % 3) seen[word] = int(word.size());
        else if (word.size() % 3 == 1) seen[word] = double(seed) / ({n} + 1);
        else seen[word] = word + "{n}";
        if (seed & 1) shapes.push_back(std::make_unique<Round{n}>());
        else shapes.push_back(std::make_unique<Flat{n}>());
    }}
    long sum = 0;
    for (const auto &[word, value] : seen) {{
        sum += std::visit([&](const auto &v) -> long {{
            if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>) return long(v.size());
            else return long(v * {n});
        }}, value);
    }}
    for (long key : squares<long, {k}>(counts)) sum ^= key + (sum << 3);
    for (const auto &shape : shapes) sum += long(shape->area(double(seed)));
    std::function<long(long)> twist = [&](long x) {{ return x < 2 ? x : twist(x - 1) + twist(x - 2) * {n}; }};
    return sum + twist(seed % 20);
}}
"""

n_functions = int(sys.argv[1]) if len(sys.argv) > 1 else 10
sys.stdout.write(HEAD)
for n in range(1, n_functions + 1):
    sys.stdout.write(FUNCTION.format(n=n, k=n % 40))
