/* The maps: perfd fills those up to `pythons`, but for `changes`, and drains those behind. */
#pragma once

#include "helpers.h"
#include "python.h"
#include "unwind.h"

/* Tables: for each an array of its blocks, as many as it needs. */
struct blocks {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	/* By their sizes: the BTF of a type that only a map in a map names is left out. */
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(struct block));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_TABLES);
	__type(key, u32);
	__array(values, struct blocks);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_MODULES);
	__type(key, u32);
	__type(value, struct module);
} modules SEC(".maps");

/* How often a module has lost its table, whose number another one may get. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} hidings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_PROCESSES);
	__type(key, u32);
	__type(value, struct space);
} spaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4 * MAX_PROCESSES);
	__type(key, struct mapping_block_key);
	__type(value, struct mapping_block);
} mappings SEC(".maps");

/* When a process of `spaces` last mapped code, or became another program. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCESSES);
	__type(key, u32);
	__type(value, struct change);
} changes SEC(".maps");

/* Cgroups by their ids: the number that perfd has given each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_DOMAINS);
	__type(key, u64);
	__type(value, u32);
} domains SEC(".maps");

/* The interpreters of processes. This map and those of Python's below have one entry where nobody asks for Python. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PYTHONS);
	__type(key, u32);
	__type(value, struct python_process);
} pythons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_PYTHON_NAMES);
	__type(key, struct python_name_key);
	__type(value, struct python_name);
} python_names SEC(".maps");

/* Where the thread state of a thread was last. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_PYTHON_THREADS);
	__type(key, u32);
	__type(value, u64);
} python_threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct python);
} python_walks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct walk);
} walks SEC(".maps");

/* Two sets: one takes counts while the other is drained. Their memory is there from the start, since a sample may be taken where
 * none can be had. */
#define STACKS(name)                                                                               \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, MAX_STACK_CHUNKS);                                             \
		__type(key, struct chunk_key);                                                     \
		__type(value, struct chunk);                                                       \
	} name SEC(".maps")
#define COUNTS(name)                                                                               \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, MAX_COUNTS);                                                   \
		__type(key, struct count_key);                                                     \
		__type(value, struct count);                                                       \
	} name SEC(".maps")
STACKS(stacks_0);
STACKS(stacks_1);
COUNTS(counts_0);
COUNTS(counts_1);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct account);
} accounts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct control);
} control SEC(".maps");
