/* The maps: perfd fills the first four, and drains the others. */
#pragma once

#include "helpers.h"
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
