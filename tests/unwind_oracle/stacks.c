// Writes down its own stack at the deep end of a known chain of calls, for tests/unwind_oracle/stacks.rs.
//
//   stacks SCENARIO FOLDER
//
// Compiled with -DLIBRARY it is a library whose function is chosen when it is first called, by lazy binding.
//
// FOLDER/maps       /proc/self/maps
// FOLDER/registers  rip, rsp, rbp, r10 as they were behind getcontext
// FOLDER/stack      the bytes from rsp to the end of the mapping
// FOLDER/known      the return addresses of this program's own calls, leaf first
#ifdef LIBRARY
extern void chosen_now(void);

static void the_choice(void) {}

static void (*choose(void))(void) {
    chosen_now();
    return the_choice;
}

void lazily_chosen(void) __attribute__((ifunc("choose")));
#else
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls")))
#define HERE() known[n_known++] = (uint64_t)__builtin_return_address(0)

static const char *folder;
static uint64_t known[4096];
static int n_known;
static volatile int sink;

static FILE *create(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file) abort();
    return file;
}

static uint64_t end_of_mapping(uint64_t address) {
    FILE *maps = fopen("/proc/self/maps", "r"), *copy = create("maps");
    char line[4096];
    uint64_t end = 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from <= address && address < to) end = to;
        fputs(line, copy);
    }
    fclose(copy);
    fclose(maps);
    return end;
}

NOINLINE static void leaf(void) {
    HERE();
    ucontext_t context;
    getcontext(&context);
    greg_t *r = context.uc_mcontext.gregs;
    uint64_t registers[4] = {r[REG_RIP], r[REG_RSP], r[REG_RBP], r[REG_R10]};
    uint64_t end = end_of_mapping(registers[1]);
    FILE *file = create("registers");
    fwrite(registers, 8, 4, file);
    fclose(file);
    file = create("stack");
    fwrite((void *)registers[1], 1, end - registers[1], file);
    fclose(file);
    file = create("known");
    for (int i = n_known; i-- > 0;) fwrite(&known[i], 8, 1, file);
    fclose(file);
    exit(0);
}

// Each frame has a room of its own size, and the compiler cannot do without it.
NOINLINE static void recurse(int depth) {
    HERE();
    volatile char room[1500];
    room[depth % 1500] = 1;
    if (depth == 0) leaf();
    recurse(depth - 1);
    sink += room[0];
}

NOINLINE static void variable_room(int size) {
    HERE();
    volatile char *room = alloca(size);
    room[size - 1] = 1;
    recurse(3);
    sink += room[0];
}

// Realigns its stack with r10 as a base, and so needs a CFA that is read from memory.
NOINLINE static void realigned(int size) {
    HERE();
    volatile char aligned[100] __attribute__((aligned(64)));
    volatile char *room = alloca(size);
    aligned[size % 100] = room[0] = 1;
    variable_room(size);
    sink += aligned[0] + room[0];
}

static int compare(const void *a, const void *b) {
    HERE();
    leaf();
    return *(const int *)a - *(const int *)b;
}

NOINLINE static void through_libc(void) {
    HERE();
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof numbers[0], compare);
    sink += numbers[0];
}

#ifdef LAZY
extern void lazily_chosen(void);

// Called by the library when the loader binds lazily_chosen.
void chosen_now(void) {
    HERE();
    if (n_known > 1) leaf();
}

NOINLINE static void through_loader(void) {
    HERE();
    lazily_chosen();
    sink++;
}
#endif

static void handler(int signal) {
    (void)signal;
    // Its return address is the signal trampoline's, which is in libc.
    recurse(2);
    sink++;
}

NOINLINE static void through_signal(void) {
    HERE();
    // The instruction that faults is the frame's interrupted address.
    *(volatile int *)(uintptr_t)sink = 1;
    sink++;
}

static void *thread(void *argument) {
    recurse(*(int *)argument);
    sink++;
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    folder = argv[2];
    int depth = 60;
    if (!strcmp(argv[1], "recursion")) recurse(depth);
    if (!strcmp(argv[1], "deep")) recurse(400);
    if (!strcmp(argv[1], "realigned")) realigned(argc * 100);
    if (!strcmp(argv[1], "libc")) through_libc();
#ifdef LAZY
    if (!strcmp(argv[1], "loader")) through_loader();
#endif
    if (!strcmp(argv[1], "signal")) {
        signal(SIGSEGV, handler);
        through_signal();
    }
    if (!strcmp(argv[1], "thread")) {
        pthread_t id;
        pthread_create(&id, NULL, thread, &depth);
        pthread_join(id, NULL);
    }
    return 70;
}
#endif
