// A parent that works, a child that works, and a child that starts this program anew.
#include "known.h"
#include <sys/wait.h>
#include <unistd.h>

#define CHAIN(name)                                                                                                    \
    FUNCTION static void name(void) {                                                                                  \
        while (time_left()) {                                                                                          \
            behind_the_call += spin(behind_the_call);                                                                  \
        }                                                                                                              \
        behind_the_call++;                                                                                             \
    }

CHAIN(in_parent)
CHAIN(in_child)
CHAIN(in_exec)

int main(int argc, char **argv) {
    if (argc > 1) {
        in_exec();
        return 0;
    }
    if (fork() == 0) {
        in_child();
        _exit(0);
    }
    if (fork() == 0) {
        execl("/proc/self/exe", argv[0], "exec", (char *)0);
        _exit(1);
    }
    in_parent();
    while (wait(0) > 0) {
    }
}
