/* Runs code that it has made, and writes down what it made as a runtime does: argv[1] is `map`, `dump` or `none`.
 *
 * argv[2] `spin`: says its number, and is busy in the function `spinning` until standard input ends. `spin-for`: for a while, and says nothing.
 * `rounds`: for each digit n of standard input, 50 calls by `calm_n`; for each letter a and so on, 25 by `before_n`, then other code in the
 * same place, and 25 by `after_n`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;
typedef void code(long);

#define OWN __attribute__((noinline, noclone))
#define PLACE ((char *)0x10000000)

/* push %rbp; mov %rsp,%rbp; mov %rdi,%rcx; 1: dec %rcx; jnz 1b; pop %rbp; ret */
static const unsigned char bytes[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x89, 0xf9, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0x5d, 0xc3};

static int file = -1;
static int is_dump;

static u64 now(void) {
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static void must(int is_good) {
	if (!is_good) {
		perror("program");
		_exit(1);
	}
}

static void open_file(const char *kind) {
	char name[64];
	is_dump = strcmp(kind, "dump") == 0;
	if (strcmp(kind, "none") == 0)
		return;
	snprintf(name, sizeof name, is_dump ? "jit-%d.dump" : "/tmp/perf-%d.map", getpid());
	file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	must(file >= 0);
	if (is_dump) {
		unsigned header[10] = {0x4a695444, 1, 40, 62, 0, getpid()};
		must(write(file, header, sizeof header) == sizeof header);
		/* By this mapping the dump is known. */
		must(mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) != MAP_FAILED);
	}
}

/* Writes down what is made, then makes it. */
static void make(const char *name) {
	if (file >= 0 && !is_dump)
		dprintf(file, "%lx %lx %s\n", (long)PLACE, sizeof bytes, name);
	if (file >= 0 && is_dump) {
		char record[256] = {0};
		unsigned size = 56 + strlen(name) + 1 + sizeof bytes;
		*(unsigned *)(record + 4) = size;
		*(u64 *)(record + 8) = now();
		*(unsigned *)(record + 16) = *(unsigned *)(record + 20) = getpid();
		*(u64 *)(record + 24) = *(u64 *)(record + 32) = (u64)PLACE;
		*(u64 *)(record + 40) = sizeof bytes;
		strcpy(record + 56, name);
		memcpy(record + 56 + strlen(name) + 1, bytes, sizeof bytes);
		must(write(file, record, size) == size);
	}
	memcpy(PLACE, bytes, sizeof bytes);
}

OWN static void replace(void) {
	static const char *names[] = {"second", "third", "fourth"};
	static int n;
	make(names[n++ % 3]);
}

static code *made = (code *)PLACE;

#define CALLS(name, n) OWN void name(void) { for (int i = 0; i < n; i++) made(1); __asm__ volatile(""); }
#define CALM(n) CALLS(calm_##n, 50)
#define MIXED(n) CALLS(before_##n, 25) CALLS(after_##n, 25) \
	OWN void mixed_##n(void) { before_##n(); replace(); after_##n(); __asm__ volatile(""); }
CALM(0) CALM(1) CALM(2) CALM(3) CALM(4) CALM(5) CALM(6) CALM(7) CALM(8) CALM(9)
MIXED(0) MIXED(1) MIXED(2)

static void rounds(void) {
	static void (*const calm[])(void) = {calm_0, calm_1, calm_2, calm_3, calm_4, calm_5, calm_6, calm_7, calm_8, calm_9};
	static void (*const mixed[])(void) = {mixed_0, mixed_1, mixed_2};
	char byte;
	while (read(0, &byte, 1) == 1) {
		if (byte >= '0' && byte <= '9')
			calm[byte - '0']();
		if (byte >= 'a' && byte <= 'c')
			mixed[byte - 'a']();
	}
}

OWN void caller(long n) { made(n); __asm__ volatile(""); }

int main(int argc, char **argv) {
	must(argc == 3);
	must(mmap(PLACE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == PLACE);
	open_file(argv[1]);
	if (strcmp(argv[2], "rounds") == 0) {
		make("first");
		rounds();
		return 0;
	}
	make("spinning");
	if (strcmp(argv[2], "spin-for") == 0) {
		caller(400000000);
		return 0;
	}
	printf("%d\n", getpid());
	fflush(stdout);
	struct pollfd input = {.fd = 0};
	input.events = POLLIN;
	while (poll(&input, 1, 0) == 0)
		caller(1000000);
	return 0;
}
