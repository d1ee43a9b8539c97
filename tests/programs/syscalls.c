// System calls in a loop: most samples are taken in the kernel.
#include "known.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

FUNCTION static void call_kernel(int file) {
    char bytes[4096];
    for (int i = 0; i < 500; i++) {
        behind_the_call += (uint64_t)syscall(SYS_getppid);
        behind_the_call += (uint64_t)pread(file, bytes, sizeof bytes, 0);
    }
}

int main(void) {
    int file = open("/dev/zero", O_RDONLY);
    while (time_left()) {
        call_kernel(file);
        behind_the_call++;
    }
}
