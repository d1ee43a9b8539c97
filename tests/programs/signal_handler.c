// A handler that works, above a leaf function that the signal interrupted anywhere.
#include "known.h"
#include <signal.h>
#include <sys/time.h>

FUNCTION static void on_signal(int number) {
    behind_the_call += spin((uint64_t)number);
    behind_the_call++;
}

FUNCTION static uint64_t interrupted(uint64_t x) {
    for (int i = 0; i < 3000000; i++) {
        x = x * 3 + (x >> 5);
    }
    return x;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval often = {{0, 1000}, {0, 1000}};
    sigaction(SIGPROF, &action, 0);
    setitimer(ITIMER_PROF, &often, 0);
    while (time_left()) {
        behind_the_call += interrupted(behind_the_call);
    }
}
