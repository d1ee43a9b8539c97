/* Entry points: a program for each event of a run, which walks the stack of a sample where it is taken, and two that note when what
 * perfd knows of a process's mappings no longer holds.
 *
 * A program returns 0 when it has counted the sample, and 1 to let the kernel write it to the ring, registers and stack copied, as it
 * would without the program: so a sample whose module is not loaded yet is not lost, but finished by perfd. */

#include "maps.h"

/* Drawn anew for each run, so that no target can know which stacks look alike. */
volatile const u64 seeds[2] = {1, 2};

/* Whether each sample has a count of its own. Fixed when the programs are loaded: where it is 0, the verifier drops the code for it. */
volatile const u32 timestamps = 0;

/* Whether Python frames are read. Fixed when the programs are loaded, too. */
volatile const u32 with_python = 0;

/* Whether samples are told apart by cgroups. Fixed when the programs are loaded, too. */
volatile const u32 with_domains = 0;

INLINE s64 opaque(s64 value)
{
	asm volatile("" : "+r"(value));
	return value;
}

INLINE long read_user(void *to, u32 size, u64 address)
{
	return bpf_probe_read_user(to, size, (const void *)address);
}

INLINE const struct block *table_block(u32 table, u32 block)
{
	void *blocks = bpf_map_lookup_elem(&tables, &table);
	return blocks ? bpf_map_lookup_elem(blocks, &block) : (void *)0;
}

/* The last of 64 sorted starts that is not behind the address; 0 if all are. */
INLINE u64 last_before(const u64 *starts, u64 address)
{
	u64 at = 0;
#pragma unroll
	for (u64 step = 32; step; step >>= 1) {
		/* Addresses of user space and the filler, all ones, as signed numbers: the filler would be the smallest. */
		s64 start = starts[(at + step) & 63] >> 1;
		s64 is_before = (start - (s64)(address >> 1) - 1) >> 63;
		/* The sum opaque too: as bits that do not overlap the compiler would add them by `or`, and leave out the masks. Linux 6.1
		 * forgets all bounds at an `or`. */
		at = opaque(at + (step & opaque(is_before)));
	}
	return at;
}

/* The last mapping that perfd has told of and that begins at or before the address; 0 if there is none. */
INLINE int last_mapping(u32 pid, u64 address, struct mapped *found)
{
	struct space *space = bpf_map_lookup_elem(&spaces, &pid);
	if (!space)
		return 0;
	struct mapping_block_key key = {.pid = pid, .generation = space->generation};
	key.block = last_before(space->first, address);
	struct mapping_block *block = bpf_map_lookup_elem(&mappings, &key);
	if (!block)
		return 0;
	u64 at = last_before(block->start, address) & (BLOCK_MAPPINGS - 1);
	found->start = block->start[at];
	found->end = block->end[at];
	found->bias = block->bias[at];
	found->number = block->module[at];
	return address >= found->start;
}

APART int find_mapping(struct walk *w, u64 address, struct mapped *found)
{
	if (!w || !found || !last_mapping(w->pid, address, found) || address >= found->end)
		return 0;
	u32 number = found->number;
	struct module *module = bpf_map_lookup_elem(&modules, &number);
	if (!module || module->state == MODULE_UNKNOWN)
		return 0;
	found->module = *module;
	return 1;
}

/* Forgets the mappings of another process, or of the same one as it was before, and all of them if a table may have gone. */
INLINE void keep_mappings_of(struct walk *w, u32 generation)
{
	u32 zero = 0;
	u64 *so_far = bpf_map_lookup_elem(&hidings, &zero);
	u64 n_hidden = so_far ? *so_far : 0;
	if (w->generation == generation && w->n_hidden == n_hidden)
		return;
	w->generation = generation;
	w->n_hidden = n_hidden;
#pragma unroll
	for (int i = 0; i < KNOWN_MAPPINGS; i++)
		w->mapped[i].start = w->mapped[i].end = 0;
}

struct walk_context {
	struct walk *walk;
};

static long on_frame(u32 i, struct walk_context *context)
{
	struct walk *w = context->walk;
	int ended = walk_frame(w);
	if (ended == GO_ON)
		return 0;
	w->ended = ended;
	return 1;
}

static long on_kernel_frame(u32 i, struct walk_context *context)
{
	struct walk *w = context->walk;
	hash_frame(&w->hash, w->frames[i & (FRAME_SLOTS - 1)]);
	return 0;
}

INLINE int in_user_mode(struct bpf_perf_event_data *context)
{
	volatile struct sampled_regs *sampled = &context->regs;
	return (sampled->cs & 3) == 3;
}

/* The user's registers: those of the sample, or those that were saved when the kernel was entered. 0 if there are none. */
INLINE int begin(struct walk *w, struct bpf_perf_event_data *context)
{
	volatile struct sampled_regs *sampled = &context->regs;
	w->fp = UNKNOWN;
	if (in_user_mode(context)) {
		w->pc = sampled->ip;
		w->sp = sampled->sp;
		w->fp = sampled->bp;
		w->drap = sampled->r10;
		w->link = sampled->di;
		w->base = sampled->bx;
		w->in_syscall = 0;
	} else {
		struct task_struct *task = bpf_get_current_task_btf();
		if (task->flags & PF_KTHREAD || !task->mm)
			return 0;
		struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
		w->pc = regs->ip;
		w->sp = regs->sp;
		w->fp = regs->bp;
		w->drap = regs->r10;
		w->link = regs->di;
		w->base = regs->bx;
		/* As in src/arch/x86_64/registers.rs: the `syscall` instruction leaves its return address in rcx and the flags in r11. */
		w->in_syscall = regs->cx == w->pc && ((regs->r11 ^ regs->flags) & ~(1ULL << 16)) == 0;
	}
	w->is_return = w->in_syscall;
	w->knows = KNOWS_DRAP | KNOWS_LINK | KNOWS_BASE;
	w->lowest = w->sp;
	return 1;
}

INLINE void keep_name(const struct python *of)
{
	/* The same again, as what lies in a map: Linux 6.1 takes keys and values from nowhere else. */
	u32 zero = 0;
	const struct python *p = bpf_map_lookup_elem(&python_walks, &zero);
	if (p && !bpf_map_lookup_elem(&python_names, &p->key))
		bpf_map_update_elem(&python_names, &p->key, &p->name, BPF_NOEXIST);
}

/* The number of this thread in its own pid namespace, by which an interpreter in a container knows it. */
INLINE u32 own_number(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 pid = 0;
	u32 level = 0;
	s32 number = 0;
	bpf_probe_read_kernel(&pid, 8, __builtin_preserve_access_index(&task->thread_pid));
	const struct pid *of = (const void *)pid;
	bpf_probe_read_kernel(&level, 4, __builtin_preserve_access_index(&of->level));
	u64 first = (u64)__builtin_preserve_access_index(&of->numbers[0].nr);
	if (level > MAX_PID_LEVEL || bpf_probe_read_kernel(&number, 4, (const void *)(first + level * UPID_SIZE)))
		return 0;
	return number;
}

struct python_context {
	struct python *python;
	const struct walk *walk;
};

static long on_python_step(u32 i, struct python_context *context)
{
	struct python *p = context->python;
	int ended = python_step(p);
	if (ended == GO_ON)
		return 0;
	p->read = ended;
	return 1;
}

/* Counts the frames that Python runs in. */
static long on_native_frame(u32 i, struct python_context *context)
{
	const struct walk *w = context->walk;
	u64 frame = w->frames[(w->n_kernel + i) & (FRAME_SLOTS - 1)];
	context->python->n_eval += is_eval(&context->python->process, frame);
	return 0;
}

/* Reads the Python frames, if Python runs in any of the native ones. */
INLINE struct python *read_python(struct walk *w, u32 tid)
{
	u32 zero = 0;
	struct python *p = bpf_map_lookup_elem(&python_walks, &zero);
	struct python_process *process = bpf_map_lookup_elem(&pythons, &w->pid);
	if (!p || !process)
		return (void *)0;
	struct python_context on = {.python = p, .walk = w};
	p->process = *process;
	p->n_eval = 0;
	bpf_loop(w->n_user, on_native_frame, &on, 0);
	if (!p->n_eval)
		return (void *)0;
	p->hash.hash[0] = seeds[1];
	p->hash.hash[1] = seeds[0];
	p->native_id = own_number();
	u64 *known = bpf_map_lookup_elem(&python_threads, &tid);
	p->read = PYTHON_CUT;
	int ended = begin_python(p, known ? *known : 0);
	if (ended == GO_ON)
		bpf_loop(MAX_PYTHON_STEPS, on_python_step, &on, 0);
	else
		p->read = ended;
	end_python(p, p->read);
	u64 found = likely_state(p);
	if (found != (known ? *known : 0))
		bpf_map_update_elem(&python_threads, &tid, &found, 0);
	if (p->n_frames) {
		hash_frame(&w->hash, p->hash.hash[0]);
		hash_frame(&w->hash, p->hash.hash[1]);
	}
	return p;
}

/* Keeps the Python frames of a stack that is new. */
INLINE long keep_python(void *stacks, const struct stack_key *stack, u32 n)
{
	u32 zero = 0;
	struct python *p = bpf_map_lookup_elem(&python_walks, &zero);
	struct chunk_key key = {.stack = *stack, .chunk = 0};
	for (u32 i = 0; p && i < MAX_PYTHON_CHUNKS; i++) {
		if (i * CHUNK_FRAMES >= 2 * n)
			break;
		key.chunk = MAX_CHUNKS + i;
		long error = bpf_map_update_elem(stacks, &key, &p->words[i * CHUNK_FRAMES], BPF_NOEXIST);
		if (error && error != -17)
			return error;
	}
	return 0;
}

/* Keeps the frames of a stack that is new. Chunk 0 comes last: where it is, the others are. */
INLINE long keep_stack(void *stacks, const struct walk *w, const struct stack_key *stack, u32 n, u32 n_python)
{
	struct chunk_key key = {.stack = *stack, .chunk = 0};
	if (bpf_map_lookup_elem(stacks, &key))
		return 0;
	if (with_python && n_python && keep_python(stacks, stack, n_python))
		return -1;
	for (int i = MAX_CHUNKS - 1; i >= 0; i--) {
		if (i && i * CHUNK_FRAMES >= n)
			continue;
		key.chunk = i;
		long error = bpf_map_update_elem(stacks, &key, &w->frames[i * CHUNK_FRAMES], BPF_NOEXIST);
		/* Another CPU may have the same stack at the same time. */
		if (error && error != -17)
			return error;
	}
	return 0;
}

/* Counts a sample. What is counted already has its stack. */
INLINE u32 add_count(void *counts, void *stacks, const struct walk *w, const struct count_key *key, u64 weight)
{
	u64 square = (weight >> 8) * (weight >> 8);
	struct count *count = bpf_map_lookup_elem(counts, key);
	if (!count) {
		if (keep_stack(stacks, w, &key->stack, w->n_kernel + w->n_user, key->n_python))
			return OUTCOME_STACKS_FULL;
		struct count first = {.weight = weight, .samples = 1, .squares = square};
		if (!bpf_map_update_elem(counts, key, &first, BPF_NOEXIST))
			return OUTCOME_COUNTED;
		count = bpf_map_lookup_elem(counts, key);
		if (!count)
			return OUTCOME_COUNTS_FULL;
	}
	__sync_fetch_and_add(&count->weight, weight);
	__sync_fetch_and_add(&count->samples, 1);
	__sync_fetch_and_add(&count->squares, square);
	return OUTCOME_COUNTED;
}

/* Whether a target has forked the process, or its parent, in this run: it is one then, though perfd has not heard of it yet. */
INLINE int is_unheard_fork(const struct control *set)
{
	struct task_struct *task = bpf_get_current_task_btf();
	for (int i = 0; i < MAX_UNHEARD_FORKS; i++) {
		/* What was there before the run is a target only if the user has said so. */
		if (task->group_leader->start_time < set->since)
			return 0;
		task = task->real_parent;
		u32 parent = task->tgid;
		if (bpf_map_lookup_elem(&spaces, &parent))
			return 1;
	}
	return 0;
}

/* The number of the deepest domain that the running task's cgroup lies in; 0 if it lies in none. */
INLINE u32 domain_of_current(const struct control *set)
{
	u32 levels = set->domain_levels;
	for (int level = MAX_DOMAIN_LEVELS - 1; level >= 0; level--) {
		if (!(levels & 1u << level))
			continue;
		u64 id = bpf_get_current_ancestor_cgroup_id(level);
		u32 *number = bpf_map_lookup_elem(&domains, &id);
		if (number)
			return *number;
	}
	return 0;
}

/* Walks and counts a sample. */
INLINE u32 take_sample(struct bpf_perf_event_data *context, struct walk *w, const struct control *set, u32 event)
{
	u64 ids = bpf_get_current_pid_tgid();
	u32 pid = ids >> 32;
	struct space *space = bpf_map_lookup_elem(&spaces, &pid);
	struct change *last = bpf_map_lookup_elem(&changes, &pid);
	if (space && last && last->time > space->as_of)
		return OUTCOME_TO_RING;
	u32 domain = with_domains && set->domain_levels ? domain_of_current(set) : 0;
	if (set->only_targets && !space) {
		/* In a domain: perfd learns of the process by its sample. */
		if (domain || set->only_targets == SOME_TARGETS_UNTOLD)
			return OUTCOME_TO_RING;
		return is_unheard_fork(set) ? OUTCOME_TO_RING : OUTCOME_FOREIGN;
	}

	w->pid = pid;
	keep_mappings_of(w, space ? space->generation : 0);
	w->window_size = 0;
	w->n_user = 0;
	/* The chain of the sample itself, whose first word is PERF_CONTEXT_KERNEL. Of user code there is none, nor of an event without one. */
	w->n_kernel = 0;
	if (!in_user_mode(context)) {
		long kernel = bpf_get_stack(context, w->frames, MAX_KERNEL_FRAMES * 8, SKIP_CONTEXT);
		w->n_kernel = kernel > 0 ? (u32)kernel / 8 : 0;
	}
	w->ended = ENDED_NO_USER_STACK;
	w->hash.hash[0] = seeds[0];
	w->hash.hash[1] = seeds[1];
	struct walk_context on = {.walk = w};
	bpf_loop(w->n_kernel, on_kernel_frame, &on, 0);
	if (begin(w, context)) {
		w->ended = ENDED_DEPTH_LIMIT;
		bpf_loop(MAX_STEPS, on_frame, &on, 0);
		if (w->ended == ENDED_ASK_PERFD)
			return OUTCOME_TO_RING;
	}

	struct python *python = with_python ? read_python(w, ids) : (void *)0;
	struct count_key key = {
		.pid = pid,
		.tid = (u32)ids,
		.event = event,
		.n_kernel = w->n_kernel,
		.n_user = w->n_user,
		.ended = w->ended,
		.domain = domain,
		.stack = w->hash,
	};
	if (python) {
		key.n_python = python->n_frames;
		key.python = python->read;
	}
	bpf_get_current_comm(key.comm, sizeof(key.comm));
	if (timestamps) {
		key.time = bpf_ktime_get_ns();
		key.cpu = bpf_get_smp_processor_id();
	}
	if (set->active)
		return add_count(&counts_1, &stacks_1, w, &key, context->sample_period);
	return add_count(&counts_0, &stacks_0, w, &key, context->sample_period);
}

INLINE int on_sample(struct bpf_perf_event_data *context, u32 event)
{
	u32 zero = 0;
	struct control *set = bpf_map_lookup_elem(&control, &zero);
	struct walk *w = bpf_map_lookup_elem(&walks, &zero);
	struct account *account = bpf_map_lookup_elem(&accounts, &zero);
	if (!set || !w || !account)
		return 1;
	/* A barrier too: which set is active is looked at behind it. */
	__sync_fetch_and_add(&account->at_work, 1);
	u32 outcome = take_sample(context, w, set, event);
	account->outcomes[event][outcome < N_OUTCOMES ? outcome : OUTCOME_TO_RING] += 1;
	/* x86 keeps stores in order. */
	*(volatile u64 *)&account->at_work = 0;
	return outcome != OUTCOME_COUNTED && outcome != OUTCOME_FOREIGN;
}

/* An event that threads inherit has no identity but its program's. */
#define PROGRAM(n)                                                                                 \
	SEC("perf_event") int sample_##n(struct bpf_perf_event_data *context)                      \
	{                                                                                          \
		return on_sample(context, n);                                                      \
	}
PROGRAM(0)
PROGRAM(1)
PROGRAM(2)
PROGRAM(3)
PROGRAM(4)
PROGRAM(5)
PROGRAM(6)
PROGRAM(7)

/* From now on the mappings of the process are others than those that perfd has told: until it has told them anew, samples go to the
 * ring, where they meet the records of what was mapped in the order of time. */
INLINE void note_change(u32 pid, u64 start)
{
	if (!bpf_map_lookup_elem(&spaces, &pid))
		return;
	struct change change = {.time = bpf_ktime_get_ns(), .start = start};
	bpf_map_update_elem(&changes, &pid, &change, 0);
}

SEC("raw_tracepoint/sched_process_exec") int on_exec(void *context)
{
	note_change(bpf_get_current_pid_tgid() >> 32, 0);
	return 0;
}

/* A process comes up, with the number of one that has ended, but whose end perfd has not read of yet: its samples go to the ring, where they
 * come behind the records of both. It has not run yet, and its record is made already (`perf_event_fork` in `copy_process`). */
SEC("raw_tracepoint/sched_process_fork") int on_fork(u64 *context)
{
	const struct task_struct *child = (const void *)context[1];
	u32 tid = 0, pid = 0;
	bpf_probe_read_kernel(&tid, 4, __builtin_preserve_access_index(&child->pid));
	bpf_probe_read_kernel(&pid, 4, __builtin_preserve_access_index(&child->tgid));
	if (tid == pid)
		note_change(pid, NEW_PROCESS);
	return 0;
}

/* A place for something new to be mapped (`mmap:vm_unmapped_area`): where perfd knows code, that code must be gone. */
SEC("raw_tracepoint/vm_unmapped_area") int on_place(u64 *context)
{
	u64 address = context[0];
	u64 length = 0;
	const struct vm_unmapped_area_info *info = (const void *)context[1];
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct mapped known;
	/* Where there is no place, the address is an error. */
	if (address >= FRAME_OFFSET_MASK || bpf_probe_read_kernel(&length, 8, __builtin_preserve_access_index(&info->length)))
		return 0;
	if (last_mapping(pid, address + length - 1, &known) && known.end > address)
		note_change(pid, known.start);
	return 0;
}

/* Helpers that read the kernel's state are for programs under the GPL, or under it too. */
char dual_license[] SEC("license") = "Dual MIT/GPL";
