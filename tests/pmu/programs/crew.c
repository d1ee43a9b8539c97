// crew N: four threads, each busy in a function of its own until a byte comes on standard input, and then for exactly N
// turns in another one. Prints a line when all of them run.
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define FUNCTION __attribute__((noinline, noclone, used))

#if defined(__x86_64__)
#define TURN "1: nop; nop; nop; nop; nop; nop; nop; nop; dec %0; jnz 1b"
#elif defined(__aarch64__)
#define TURN "1: nop; nop; nop; nop; nop; nop; nop; nop; subs %0, %0, #1; b.ne 1b"
#endif

static pthread_barrier_t all_run;
static volatile int told;

#define MEMBER(k)                                                                                                      \
    FUNCTION void before_##k(unsigned long n) { __asm__ volatile(TURN : "+r"(n) : : "cc"); }                           \
    FUNCTION void after_##k(unsigned long n) { __asm__ volatile(TURN : "+r"(n) : : "cc"); }                            \
    static void *member_##k(void *n) {                                                                                 \
        pthread_barrier_wait(&all_run);                                                                                \
        while (!told) before_##k(10000);                                                                               \
        after_##k((unsigned long)n);                                                                                   \
        return 0;                                                                                                      \
    }
MEMBER(1) MEMBER(2) MEMBER(3) MEMBER(4)

int main(int argc, char **argv) {
    void *n = (void *)atol(argv[argc - 1]);
    void *(*const members[])(void *) = {member_1, member_2, member_3, member_4};
    pthread_t threads[4];
    pthread_barrier_init(&all_run, 0, 5);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, members[i], n);
    pthread_barrier_wait(&all_run);
    puts("all run");
    fflush(stdout);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    poll(&input, 1, -1);
    told = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    return 0;
}
