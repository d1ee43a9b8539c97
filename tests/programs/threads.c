// Four threads beside the main thread, which waits.
#include "known.h"
#include <pthread.h>

FUNCTION static uint64_t outer(uint64_t x) {
    uint64_t result = spin(x);
    behind_the_call++;
    return result;
}

FUNCTION static void *thread_main(void *seed) {
    while (time_left()) {
        outer((uint64_t)seed);
    }
    return 0;
}

int main(void) {
    pthread_t threads[4];
    for (uint64_t i = 0; i < 4; i++) {
        pthread_create(&threads[i], 0, thread_main, (void *)i);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], 0);
    }
}
