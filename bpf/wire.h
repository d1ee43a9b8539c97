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
	/* Where the known mapping begins in whose place something new goes: its record comes later. 0 if all records came before, and
	 * NEW_PROCESS if the number is another process's now. */
	u64 start;
};
#define NEW_PROCESS 1
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

/* How the Python frames of a sample were read: the numbers of `model::PythonRead`, in its order. */
enum python_read {
	/* Nothing to read: Python runs in none of the native frames. */
	PYTHON_NONE,
	PYTHON_WHOLE,
	/* There are more frames than MAX_PYTHON_FRAMES. */
	PYTHON_CUT,
	/* The interpreter has no state for the thread, or it was not found in MAX_THREAD_STEPS. */
	PYTHON_NO_THREAD,
	/* A page of it was not in memory. */
	PYTHON_NOT_IN_MEMORY,
	/* What should be a code object or a string is none. */
	PYTHON_BAD_OBJECT,
	/* What it has on the stack does not lie in the order of calls. */
	PYTHON_NOT_MATCHING,
};

/* Offsets in CPython's structs, in bytes. */
struct python_layout {
	u16 interpreter_next;
	u16 interpreter_threads;
	u16 thread_next;
	u16 thread_native_id;
	/* Where a thread state has its frame, or what has its frame at `frame_in_holder`. */
	u16 thread_frame;
	u16 frame_in_holder;
	u16 frame_previous;
	u16 frame_code;
	u16 frame_owner;
	/* A byte that is 1 in the first frame of a call of the evaluation function; NO_OFFSET where a frame without code stands there. */
	u16 frame_is_entry;
	/* From this `owner` on a frame has no code. */
	u16 owner_without_code;
	u16 object_type;
	u16 code_filename;
	u16 code_qualname;
	u16 code_first_line;
	u16 string_length;
	u16 string_state;
	/* Where the text of a string begins, if it is ASCII and if it is not. */
	u16 ascii_text;
	u16 other_text;
	u16 unused;
};
WIRE_SIZE(python_layout, 40);
#define NO_OFFSET 0xffff

/* The interpreter of a process. */
struct python_process {
	/* Addresses: of the pointer to the first interpreter, and of the type of code objects. */
	u64 interpreters;
	u64 code_type;
	/* The module of _PyEval_EvalFrameDefault, and where in it that is; unused ranges are empty. */
	u64 module;
	u64 eval_start[MAX_EVAL_RANGES];
	u64 eval_end[MAX_EVAL_RANGES];
	struct python_layout layout;
};
WIRE_SIZE(python_process, 64 + 16 * MAX_EVAL_RANGES);

/* What code is called, as it stands in memory at the sample. Bytes behind the texts are 0. */
struct python_name {
	u32 first_line;
	/* Characters of the whole texts. */
	u32 n_qualname;
	u32 n_filename;
	/* Bytes of a character: 1, 2 or 4. */
	u16 qualname_width;
	u16 filename_width;
	/* The beginning. */
	u8 qualname[QUALNAME_BYTES];
	/* The end. */
	u8 filename[FILENAME_BYTES];
};
WIRE_SIZE(python_name, 16 + QUALNAME_BYTES + FILENAME_BYTES);

/* A hash of all of a `struct python_name`, so that a name can never be another one's. Bit 0 of the second word is 0. In the words of a
 * stack it is 1 where a call of the evaluation function began with the frame. */
struct python_name_key {
	u64 hash[2];
};
WIRE_SIZE(python_name_key, 16);
#define PYTHON_ENTRY 1ULL

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
	/* Frames of Python, leaf first, in the chunks behind MAX_CHUNKS, and `enum python_read`. */
	u16 n_python;
	u8 python;
	u8 unused;
	/* The number of the cgroup that the thread was in, as perfd has told it; 0 if in none of them. */
	u16 domain;
	u16 unused_too;
};
WIRE_SIZE(count_key, 64);

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
	/* A bit for each level of the tree of cgroups that has any of `domains`. */
	u32 domain_levels;
	u32 unused;
};
WIRE_SIZE(control, 24);
