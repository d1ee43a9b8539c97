/* Everything that the BPF programs and perfd's Rust side both read. src/bpf/wire.rs has the same structs; sizes are asserted on both
 * sides. All numbers are little endian, as both run on the same processor. */
#pragma once

#include "limits.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef short s16;
typedef int s32;
typedef long long s64;

#define WIRE_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)

/* How a walk ended: the numbers of `model::Ended`, in its order. */
enum ended {
	ENDED_ROOT,
	ENDED_NO_USER_STACK,
	ENDED_COPY_TOO_SHORT,
	ENDED_NOT_IN_MEMORY,
	ENDED_DEPTH_LIMIT,
	ENDED_UNMAPPED,
	ENDED_NO_ROW,
	ENDED_UNSUPPORTED_ROW,
	ENDED_BAD_FRAME,
	ENDED_NO_REGISTER,
	/* Not an end: the sample goes through the ring, where perfd may know more by then. */
	ENDED_ASK_PERFD,
};

/* What became of the samples of an event, counted for each CPU. A sample is in one of the first five. */
enum outcome {
	/* Walked and counted here. */
	OUTCOME_COUNTED,
	/* Left to the ring: a mapping or a table is not loaded. */
	OUTCOME_TO_RING,
	/* Of a process that is no target. */
	OUTCOME_FOREIGN,
	/* No room for its count. Left to the ring. */
	OUTCOME_COUNTS_FULL,
	/* No room for its stack. Left to the ring. */
	OUTCOME_STACKS_FULL,
	N_OUTCOMES,
};

/* A CPU's share of the account. */
struct account {
	/* Programs that are at work on it: 0 or 1. While it is 1, the set of maps that was active when it became so may be written. */
	u64 at_work;
	u64 outcomes[MAX_EVENTS][N_OUTCOMES];
};
WIRE_SIZE(account, 8 + 8 * MAX_EVENTS * N_OUTCOMES);

/* One unwind rule: `model::Rule`, padded to a power of two so that none crosses a block. */
struct rule {
	s32 cfa_offset;
	s16 fp_offset;
	s16 ra_offset;
	u8 cfa;
	u8 fp;
	u8 ra;
	u8 flags;
	u32 unused;
};
WIRE_SIZE(rule, 16);

/* A module's table in its blocks: first the index, then the rows, then the rules, each from a block's beginning. */
enum module_state {
	/* Nothing is known of it yet. */
	MODULE_UNKNOWN,
	MODULE_TABLE,
	/* It has no table and never will: frame pointer steps. */
	MODULE_NO_TABLE,
};

struct module {
	u32 state;
	u32 first_page;
	u32 n_pages;
	/* Blocks that the rows and the rules begin at. */
	u32 rows;
	u32 rules;
	u32 n_rules;
	/* Its table's number: files whose tables are equal have one. */
	u32 table;
};
WIRE_SIZE(module, 28);

/* 4 KiB of a table. */
struct block {
	u32 words[BLOCK / 4];
};
WIRE_SIZE(block, BLOCK);

/* The mappings of a process: the first address of each block. Blocks belong to one `generation`, so that a reader never sees one list's
 * blocks by another's head. */
struct space {
	u32 generation;
	u32 n_blocks;
	/* On CLOCK_MONOTONIC: everything that was mapped until then is known. */
	u64 as_of;
	u64 first[MAX_MAPPING_BLOCKS];
};
WIRE_SIZE(space, 16 + 8 * MAX_MAPPING_BLOCKS);

/* When what a process has mapped last became another than what perfd has told. */
struct change {
	/* On CLOCK_MONOTONIC. */
	u64 time;
	/* Where the known mapping begins in whose place something new goes: its record comes later. 0 if all records came before. */
	u64 start;
};
WIRE_SIZE(change, 16);

struct mapping_block_key {
	u32 pid;
	u32 generation;
	u32 block;
};
WIRE_SIZE(mapping_block_key, 12);

/* Mappings by start; unused places have all ones. */
struct mapping_block {
	u64 start[BLOCK_MAPPINGS];
	u64 end[BLOCK_MAPPINGS];
	/* file offset - address */
	u64 bias[BLOCK_MAPPINGS];
	u32 module[BLOCK_MAPPINGS];
};
WIRE_SIZE(mapping_block, 28 * BLOCK_MAPPINGS);

/* A frame: bit 63 whether it is a return address, bits 62-47 module, bits 46-0 offset in the module. Frames of the kernel are addresses. */
#define FRAME_RETURN_SHIFT 63
#define FRAME_MODULE_SHIFT 47
#define FRAME_OFFSET_MASK ((1ULL << FRAME_MODULE_SHIFT) - 1)

struct stack_key {
	u64 hash[2];
};
WIRE_SIZE(stack_key, 16);

struct chunk_key {
	struct stack_key stack;
	u64 chunk;
};
WIRE_SIZE(chunk_key, 24);

struct chunk {
	u64 frames[CHUNK_FRAMES];
};
WIRE_SIZE(chunk, 8 * CHUNK_FRAMES);

/* Which samples are counted together; with `timestamps` each by itself. */
struct count_key {
	struct stack_key stack;
	u32 pid;
	u32 tid;
	u8 comm[16];
	/* On CLOCK_MONOTONIC, and where; both 0 without `timestamps`. */
	u64 time;
	u16 cpu;
	/* Frames, leaf first: the kernel's, then the user's. */
	u16 n_kernel;
	u16 n_user;
	u8 event;
	u8 ended;
};
WIRE_SIZE(count_key, 56);

struct count {
	u64 weight;
	u64 samples;
	/* Sum of (period / 256)^2, for events whose period the kernel adjusts: only its order matters, and this does not overflow. */
	u64 squares;
};
WIRE_SIZE(count, 24);

/* Which processes count. */
enum only_targets {
	EVERYBODY,
	/* Those of `spaces`. */
	TOLD_TARGETS,
	/* Others are targets too, for which `spaces` had no room: perfd tells them apart. */
	SOME_TARGETS_UNTOLD,
};

/* What perfd sets before the programs are loaded, and while they run. */
struct control {
	/* Which of the two sets of maps takes counts: the other one is being drained. */
	u32 active;
	/* Whether processes that are no targets are to be left out: one of the following. */
	u32 only_targets;
	/* On CLOCK_MONOTONIC: forks from then on are known from records. */
	u64 since;
};
WIRE_SIZE(control, 16);
