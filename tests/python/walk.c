/* The reading of bpf/python.h in user space: what a process's memory holds comes from standard input.
 *
 * All numbers are little endian:
 *
 *   input   struct python_process; u64 native_id, known thread state; u64 n; n times u64 address, size, the bytes
 *   output  u64 read, n_frames; two words for each frame; u64 n; n times struct python_name
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bpf/python.h"

struct segment {
	u64 address, size;
	u8 *bytes;
};

static struct segment *segments;
static u64 n_segments;
static struct python python;
static struct python_name names[MAX_PYTHON_FRAMES];
static u64 n_names;

static void get(void *to, u64 size)
{
	if (size && fread(to, size, 1, stdin) != 1) {
		fprintf(stderr, "the input ends too early\n");
		exit(1);
	}
}

static u64 get_word(void)
{
	u64 word;
	get(&word, sizeof(word));
	return word;
}

INLINE s64 opaque(s64 value)
{
	__asm__ volatile("" : "+r"(value));
	return value;
}

/* Of a read that fails the kernel leaves zeros. */
INLINE long read_user(void *to, u32 size, u64 address)
{
	for (u64 i = 0; i < n_segments; i++) {
		u64 at = address - segments[i].address;
		if (at <= segments[i].size && segments[i].size - at >= size) {
			memcpy(to, segments[i].bytes + at, size);
			return 0;
		}
	}
	memset(to, 0, size);
	return -1;
}

INLINE void keep_name(const struct python *p)
{
	if (n_names < MAX_PYTHON_FRAMES)
		names[n_names++] = p->name;
}

/* Of unwind.h, whose walk is not used here. */
int find_mapping(struct walk *w, u64 address, struct mapped *found)
{
	memset(found, 0, sizeof(*found));
	return 0;
}

INLINE const struct block *table_block(u32 table, u32 block)
{
	return NULL;
}

int main(void)
{
	get(&python.process, sizeof(python.process));
	python.native_id = get_word();
	u64 known = get_word();
	n_segments = get_word();
	segments = calloc(n_segments + 1, sizeof(*segments));
	for (u64 i = 0; i < n_segments; i++) {
		segments[i].address = get_word();
		segments[i].size = get_word();
		segments[i].bytes = malloc(segments[i].size + 1);
		get(segments[i].bytes, segments[i].size);
	}
	u32 read = PYTHON_CUT;
	int ended = begin_python(&python, known);
	for (u32 i = 0; ended == GO_ON && i < MAX_PYTHON_STEPS; i++)
		ended = python_step(&python);
	end_python(&python, ended == GO_ON ? read : (u32)ended);
	u64 head[] = {python.read, python.n_frames};
	fwrite(head, sizeof(head), 1, stdout);
	fwrite(python.words, 16, python.n_frames, stdout);
	fwrite(&n_names, sizeof(n_names), 1, stdout);
	fwrite(names, sizeof(*names), n_names, stdout);
	return fflush(stdout) ? 1 : 0;
}
