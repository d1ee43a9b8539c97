/* The walk of bpf/unwind.h in user space: reads a scene from standard input, walks each of its samples, and writes the frames.
 *
 * All numbers are little endian, in the layout of the structs below and of bpf/wire.h:
 *
 *   input   u64 n; modules: struct module, u64 n_blocks, the blocks
 *           u64 n; spaces: u64 n, the mappings
 *           u64 n; samples: struct sample, its stack
 *   output  for each sample: struct walked, its frames
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bpf/unwind.h"

struct mapping {
	u64 start, end, bias, module;
};

struct sample {
	u64 pc, sp, fp, drap, link, base;
	/* Whether pc is a return address. */
	u64 is_return;
	u64 space;
	u64 n_stack;
};

struct walked {
	u64 ended;
	u64 n_frames;
	/* Where the walk stands: for ENDED_ASK_PERFD the address that perfd is asked about. */
	u64 address;
};

struct table {
	struct module module;
	u64 n_blocks;
	struct block *blocks;
};

struct user_space {
	u64 n_mappings;
	struct mapping *mappings;
};

static struct table *tables;
static struct user_space *spaces;
static struct sample sample;
static u8 *stack;
static struct walk walk;

static void get(void *to, u64 size)
{
	if (size && fread(to, size, 1, stdin) != 1) {
		fprintf(stderr, "the scene ends too early\n");
		exit(1);
	}
}

static u64 get_count(void)
{
	u64 n;
	get(&n, sizeof(n));
	return n;
}

/* Room for `n` things, which are read. */
static void *get_array(u64 n, u64 size)
{
	void *array = calloc(n + 1, size);
	if (!array)
		abort();
	get(array, n * size);
	return array;
}

int find_mapping(struct walk *w, u64 address, struct mapped *found)
{
	const struct user_space *space = &spaces[sample.space];
	for (u64 i = 0; i < space->n_mappings; i++) {
		const struct mapping *mapping = &space->mappings[i];
		if (address < mapping->start || address >= mapping->end)
			continue;
		found->start = mapping->start;
		found->end = mapping->end;
		found->bias = mapping->bias;
		found->number = mapping->module;
		found->module = tables[mapping->module].module;
		found->module.table = mapping->module;
		return found->module.state != MODULE_UNKNOWN;
	}
	return 0;
}

INLINE const struct block *table_block(u32 table, u32 block)
{
	const struct table *of = &tables[table];
	return block < of->n_blocks ? &of->blocks[block] : NULL;
}

/* Memory is what was copied. Of a read that fails the kernel leaves zeros, as bpf_probe_read_user does. */
INLINE long read_user(void *to, u32 size, u64 address)
{
	u64 at = address - sample.sp;
	if (at > sample.n_stack || sample.n_stack - at < size) {
		memset(to, 0, size);
		return -1;
	}
	memcpy(to, stack + at, size);
	return 0;
}

INLINE s64 opaque(s64 value)
{
	__asm__ volatile("" : "+r"(value));
	return value;
}

static void walk_sample(void)
{
	walk.pc = sample.pc;
	walk.sp = sample.sp;
	walk.fp = sample.fp;
	walk.drap = sample.drap;
	walk.link = sample.link;
	walk.base = sample.base;
	walk.in_syscall = walk.is_return = sample.is_return;
	walk.knows = KNOWS_DRAP | KNOWS_LINK | KNOWS_BASE;
	walk.lowest = sample.sp;
	for (u32 i = 0; i < KNOWN_MAPPINGS; i++)
		walk.mapped[i].start = walk.mapped[i].end = 0;
	walk.window_size = 0;
	walk.n_kernel = walk.n_user = 0;
	walk.ended = ENDED_DEPTH_LIMIT;
	for (u32 i = 0; i < MAX_STEPS; i++) {
		int ended = walk_frame(&walk);
		if (ended == GO_ON)
			continue;
		walk.ended = ended;
		break;
	}
	struct walked walked = {
		.ended = walk.ended,
		.n_frames = walk.n_user,
		.address = walk.pc - (walk.is_return ? 1 : 0),
	};
	fwrite(&walked, sizeof(walked), 1, stdout);
	fwrite(walk.frames, 8, walk.n_user, stdout);
}

int main(void)
{
	u64 n_tables = get_count();
	tables = calloc(n_tables + 1, sizeof(*tables));
	for (u64 i = 0; i < n_tables; i++) {
		get(&tables[i].module, sizeof(tables[i].module));
		tables[i].n_blocks = get_count();
		tables[i].blocks = get_array(tables[i].n_blocks, sizeof(struct block));
	}
	u64 n_spaces = get_count();
	spaces = calloc(n_spaces + 1, sizeof(*spaces));
	for (u64 i = 0; i < n_spaces; i++) {
		spaces[i].n_mappings = get_count();
		spaces[i].mappings = get_array(spaces[i].n_mappings, sizeof(struct mapping));
	}
	for (u64 n_samples = get_count(); n_samples; n_samples--) {
		get(&sample, sizeof(sample));
		stack = get_array(sample.n_stack, 1);
		walk_sample();
		free(stack);
	}
	return fflush(stdout) ? 1 : 0;
}
