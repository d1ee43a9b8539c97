/* What a host may do to a profiler: load forks|threads|code|libraries|stacks [PER_SECOND] [LIBRARY]. Goes on until standard input ends. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

__attribute__((noinline)) int work(int rounds) {
    volatile int sum = 0;
    for (int n = 0; n < rounds; n++) sum += n;
    return sum;
}

#ifndef LIBRARY

static int goes_on(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, 0) == 0;
}

static void rest(long per_second) {
    nanosleep(&(struct timespec){0, 1000000000L / per_second - 1}, NULL);
}

/* Generations of processes that live for a moment; one in eight becomes another program. */
static void forks(unsigned long n) {
    for (int depth = 0; depth < 3; depth++) {
        int child = fork();
        if (child != 0) {
            waitpid(child, NULL, 0);
            if (depth > 0) _exit(0);
            return;
        }
        work(100000);
    }
    if (n % 8 == 0) execlp("true", "true", NULL);
    _exit(0);
}

static void *named(void *number) {
    char name[16];
    snprintf(name, sizeof name, "worker %lu", (unsigned long)number % 100000);
    prctl(PR_SET_NAME, name);
    work(100000);
    return NULL;
}

static void threads(unsigned long n) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, named, (void *)n) == 0) pthread_join(thread, NULL);
}

/* Code that is written anew at changing places, and its perf map: mostly continued, now and then begun again. */
static void code(unsigned long n) {
    enum { PAGES = 64 };
    /* mov eax, edi; again: dec eax; jnz again; ret */
    static const unsigned char loop[] = {0x89, 0xf8, 0xff, 0xc8, 0x75, 0xfc, 0xc3};
    static unsigned char *memory;
    static FILE *map;
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    if (!memory) memory = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(1);
    if (!map || n % 5000 == 0) map = map ? freopen(path, "w", map) : fopen(path, "w");
    unsigned char *function = memory + n * 320 % (PAGES * 4096 - 320);
    memcpy(function, loop, sizeof loop);
    if (map) fprintf(map, "%lx %zx made %lu\n", (unsigned long)function, sizeof loop, n), fflush(map);
    ((void (*)(int))function)(1000000);
}

static void libraries(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    if (!library) exit(1);
    int (*run)(int) = (int (*)(int))dlsym(library, "work");
    if (run) run(1000000);
    dlclose(library);
}

/* Stacks of which hardly two are alike. */
__attribute__((noinline)) static int stacks(unsigned long path, int depth) {
    if (depth == 0) return work(20000);
    return path & 1 ? stacks(path >> 1, depth - 1) + 1 : stacks(path >> 1, depth - 1) * 3;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    long per_second = argc > 2 ? atol(argv[2]) : 100;
    if (per_second < 2) return 2;
    for (unsigned long n = 0; goes_on(); n++) {
        if (!strcmp(what, "forks")) forks(n);
        else if (!strcmp(what, "threads")) threads(n);
        else if (!strcmp(what, "code")) code(n);
        else if (!strcmp(what, "libraries") && argc > 3) libraries(argv[3]);
        else if (!strcmp(what, "stacks")) stacks(n * 0x9e3779b97f4a7c15, 40);
        else return 2;
        rest(per_second);
    }
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    if (!strcmp(what, "code")) unlink(path);
    return 0;
}

#endif
