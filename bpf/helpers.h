/* What BPF programs may call and see of the kernel: the few helpers, constants and types that are used, by the numbers of <linux/bpf.h>, so
 * that no header of the machine is needed to build. */
#pragma once

#include "wire.h"

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define RELOCATED __attribute__((preserve_access_index))

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_F_NO_PREALLOC = 1,
	BPF_F_INNER_MAP = 1 << 12,
	BPF_NOEXIST = 1,
	/* For bpf_get_stack: frames to leave out. */
	SKIP_CONTEXT = 1,
};

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_get_current_comm)(void *buffer, u32 size) = (void *)16;
static long (*bpf_get_stack)(void *context, void *buffer, u32 size, u64 flags) = (void *)67;
/* In the unified hierarchy, 0 being the root's level; 0 if the task's own cgroup is above that level. */
static u64 (*bpf_get_current_ancestor_cgroup_id)(int level) = (void *)123;
static long (*bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static struct task_struct *(*bpf_get_current_task_btf)(void) = (void *)158;
static long (*bpf_task_pt_regs)(struct task_struct *task) = (void *)175;
static long (*bpf_loop)(u32 n, void *callback, void *context, u64 flags) = (void *)181;

/* The kernel's types, as far as they are read; the loader puts in the offsets of the kernel that runs. */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
} RELOCATED;

/* A thread's number in each of the pid namespaces that it is in, the innermost last. */
struct upid {
	int nr;
} RELOCATED;

struct pid {
	unsigned int level;
	struct upid numbers[1];
} RELOCATED;
/* Bytes from one number to the next: nr and a pointer. */
#define UPID_SIZE 16
/* MAX_PID_NS_LEVEL of <linux/pid_namespace.h>. */
#define MAX_PID_LEVEL 32

struct task_struct {
	unsigned int flags;
	/* The thread's number, and its process's. */
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	/* None in a thread of the kernel, and behind the end of a process's memory. */
	void *mm;
	/* On CLOCK_MONOTONIC. */
	u64 start_time;
	struct pid *thread_pid;
} RELOCATED;

struct vm_unmapped_area_info {
	unsigned long length;
} RELOCATED;

/* Of task_struct.flags: a thread of the kernel. */
#define PF_KTHREAD 0x200000

/* <linux/bpf_perf_event.h> with the registers of <asm/ptrace.h>, whose places are fixed. */
struct sampled_regs {
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
struct bpf_perf_event_data {
	struct sampled_regs regs;
	u64 sample_period;
	u64 addr;
};
