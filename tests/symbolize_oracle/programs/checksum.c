#include <stddef.h>

static inline unsigned rotated(unsigned value, unsigned by) { return value << by | value >> (32 - by); }

static unsigned mixed(unsigned sum, const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) sum = rotated(sum, 5) ^ bytes[i];
    return sum;
}

int c_checksum(const unsigned char *bytes, size_t n) {
    unsigned sum = mixed(1, bytes, n);
    if (n > 64) sum = mixed(sum, bytes + 1, n - 1);
    return (int)(sum & 0x7fffffff);
}
