/* The walk of a user stack by the rules of unwind tables: the same, frame by frame, as src/unwind/walk.rs and step.rs.
 *
 * Pure: what it needs of the outside it gets from four functions that its includer defines. So it is compiled twice: into the BPF
 * programs, and into a library for tests that hold it to the Rust walk. All state is in a `struct walk`, which lies in a map: what the
 * verifier does not follow need not be small. */
#pragma once

#include "wire.h"

#define INLINE static inline __attribute__((always_inline))
/* A function that the verifier looks at once, by itself, rather than again on every way to it. */
#define APART __attribute__((noinline))

/* Registers that only some frames know. */
#define KNOWS_DRAP 1
#define KNOWS_LINK 2
#define KNOWS_BASE 4

#define FRAME_SLOTS 1024

/* A rule that was looked up before. */
struct known_rule {
	/* The complement of the frame that it holds at, so that empty memory knows of none. */
	u64 not_frame;
	struct rule rule;
	u64 unused;
};

/* A mapping of code whose module perfd has told of. */
struct mapped {
	u64 start;
	u64 end;
	/* file offset - address */
	u64 bias;
	u32 number;
	struct module module;
};

struct walk {
	/* The frame. */
	u64 pc;
	u64 sp;
	u64 fp;
	u64 drap;
	u64 link;
	u64 base;
	u32 knows;
	u32 is_return;
	/* Whether the walk began behind what looks like a system call. */
	u32 in_syscall;
	/* Where the walk began: nothing below is read. */
	u64 lowest;
	/* Mappings of the last frames, in a ring: most callers are in one of them. `end` is 0 where there is none. */
	struct mapped mapped[KNOWN_MAPPINGS];
	/* The place of the last frame's mapping. */
	u32 here;
	/* Whose mappings they are: `generation` of its `struct space`, and how many modules had lost their tables by then. */
	u32 generation;
	u64 n_hidden;
	u32 pid;
	u32 n_kernel;
	u32 n_user;
	u32 ended;
	/* Of all frames so far. */
	struct stack_key hash;
	/* The part of the stack that was read last. */
	u32 window_size;
	u64 window_start;
	u8 window[WINDOW];
	u64 frames[FRAME_SLOTS];
	/* By a hash of the frame. What one sample has looked up is mostly what the next one needs: a hit is one cache line instead of three or four. */
	struct known_rule known[KNOWN_RULES];
};

/* Says what is mapped at the address; 0 if that, or the module's table, is not known. */
int find_mapping(struct walk *w, u64 address, struct mapped *found);
/* A block of the table of that number; NULL if there is none. */
INLINE const struct block *table_block(u32 table, u32 block);
/* Reads user memory; 0 if it could. */
INLINE long read_user(void *to, u32 size, u64 address);
/* Keeps a value from being computed by branches. */
INLINE s64 opaque(s64 value);

/* The numbers of model::rule. */
enum cfa_kind { CFA_NONE, CFA_UNSUPPORTED, CFA_END, CFA_SP, CFA_FP, CFA_DEREF_SP, CFA_DEREF_FP, CFA_DRAP, CFA_PLT, CFA_BASE };
enum fp_kind { FP_SAME, FP_AT_CFA, FP_AT_FP, FP_AT_SP, FP_UNDEFINED, FP_AT_SP_WITH_LINK };
enum ra_kind { RA_UNDEFINED, RA_AT_CFA, RA_AT_SP, RA_LINK };
#define RULE_SIGNAL 0x80
#define RULE_PARAMETER 0x7f
#define RULE_BASE_SAME 127

/* A frame pointer that is not known. */
#define UNKNOWN (~0ULL)
/* step.rs */
#define LARGEST_FRAME (1ULL << 20)
/* stack.rs */
#define LARGEST_STACK (1ULL << 30)
/* walk.rs: a pc below is from a call through a null pointer. */
#define LOWEST_CODE (1ULL << 16)

/* What a step says: -1 to go on, or how the walk ended. */
#define GO_ON (-1)

/* Reads a part of the stack that holds the word at the address; 0 if it could. Ends short of a page that is not there. */
INLINE int read_window(struct walk *w, u64 address)
{
	/* The word below is often the next one that is needed. */
	u64 start = address - 16 >= w->lowest && address >= 16 ? address - 16 : address;
	u32 size = WINDOW;
	w->window_start = start;
	w->window_size = 0;
	if (read_user(w->window, WINDOW, start)) {
		size = 4096 - (start & 4095);
		if (size > WINDOW - 1)
			size = WINDOW - 1;
		if (address - start + 8 > size || read_user(w->window, size, start)) {
			/* The page of the word is another one, or there is none. */
			w->window_start = address;
			size = 8;
			if (read_user(w->window, 8, address))
				return -1;
		}
	}
	if (size > w->lowest + LARGEST_STACK - w->window_start)
		size = w->lowest + LARGEST_STACK - w->window_start;
	w->window_size = size;
	return 0;
}

/* Takes one more frame into the hash. */
INLINE void hash_frame(struct stack_key *key, u64 frame)
{
	u64 a = (key->hash[0] ^ frame) * 0x9e3779b97f4a7c15ULL;
	u64 b = (key->hash[1] + frame) * 0xd6e8feb86659fd93ULL;
	key->hash[0] = a ^ a >> 29;
	key->hash[1] = b ^ b >> 32;
}

/* The word of the stack at the address, which the window does not hold. Returns GO_ON, or why there is none. */
APART int read_word_anew(struct walk *w, u64 address, u64 *word)
{
	if (!w || !word)
		return ENDED_BAD_FRAME;
	if (address < w->lowest || address - w->lowest >= LARGEST_STACK)
		return ENDED_BAD_FRAME;
	if (read_window(w, address))
		return ENDED_NOT_IN_MEMORY;
	u64 at = opaque(address - w->window_start);
	if (at > WINDOW - 8)
		return ENDED_NOT_IN_MEMORY;
	__builtin_memcpy(word, w->window + at, 8);
	return GO_ON;
}

/* The word of the stack at the address. Returns GO_ON, or why there is none. */
INLINE int read_word(struct walk *w, u64 address, u64 *word)
{
	u64 at = opaque(address - w->window_start);
	if (at > WINDOW - 8 || at + 8 > w->window_size)
		return read_word_anew(w, address, word);
	__builtin_memcpy(word, w->window + at, 8);
	return GO_ON;
}

/* Puts the rule for an address in the mapping of the frame into w->known. Returns GO_ON, or that perfd is to be asked: the table is gone, or
 * announced but not there yet (perfd is held up for a grace period when it shows one, so that it says so before). */
APART int find_rule(struct walk *w, u64 address, u32 slot)
{
	if (!w)
		return ENDED_ASK_PERFD;
	const struct mapped *mapped = &w->mapped[w->here & (KNOWN_MAPPINGS - 1)];
	struct rule *rule = &w->known[slot & (KNOWN_RULES - 1)].rule;
	rule->cfa = CFA_NONE;
	u32 table = mapped->module.table;
	u64 offset = address + mapped->bias;
	u64 page = (offset >> 8) - mapped->module.first_page;
	if (page >= mapped->module.n_pages)
		return GO_ON;
	const struct block *index = table_block(table, page >> 10);
	if (!index)
		return ENDED_ASK_PERFD;
	u32 entry = index->words[page & 1023];
	u32 first = entry >> 8, count = entry & 255;
	if (!count)
		return GO_ON;
	const struct block *rows = table_block(table, mapped->module.rows + (first >> 10));
	if (!rows)
		return ENDED_ASK_PERFD;
	/* The last row that begins at or before the offset; the first one of a page always does. Without branches: the verifier would
	 * follow each way. */
	s64 key = offset & 255;
	u32 at = 0;
#pragma unroll
	for (u32 step = 128; step; step >>= 1) {
		u32 next = at + step;
		s64 begins = rows->words[(first + next) & 1023] >> 16;
		s64 is_before = (begins - key - 1) >> 63;
		s64 is_there = ((s64)next - count) >> 63;
		at += step & (u32)opaque(is_before & is_there);
	}
	u32 number = rows->words[(first + at) & 1023] & 0xffff;
	if (number >= mapped->module.n_rules)
		return GO_ON;
	const struct block *rules = table_block(table, mapped->module.rules + (number >> 8));
	if (!rules)
		return ENDED_ASK_PERFD;
	__builtin_memcpy(rule, &rules->words[(number & 255) * 4], sizeof(*rule));
	return GO_ON;
}

/* The frame pointer saved at the address, if it is: see `restored` of step.rs. */
INLINE int restore_fp(struct walk *w, u64 address, u64 *fp)
{
	if (address < w->sp && !w->is_return) {
		*fp = w->fp;
		return GO_ON;
	}
	return read_word(w, address, fp);
}

/* The frame's canonical address by a rule that is neither CFA_SP nor CFA_FP. */
APART int find_rare_cfa(struct walk *w, u32 slot, u64 *cfa)
{
	if (!w || !cfa)
		return ENDED_BAD_FRAME;
	const struct rule *rule = &w->known[slot & (KNOWN_RULES - 1)].rule;
	u64 parameter = rule->flags & RULE_PARAMETER;
	s64 offset = rule->cfa_offset;
	int ended = GO_ON;
	if (rule->cfa == CFA_DEREF_FP) {
		if (w->fp == UNKNOWN)
			return ENDED_NO_REGISTER;
		*cfa = w->fp + offset;
	} else if (rule->cfa == CFA_DEREF_SP) {
		*cfa = w->sp + offset;
	} else if (rule->cfa == CFA_DRAP) {
		if (!(w->knows & KNOWS_DRAP))
			return ENDED_NO_REGISTER;
		*cfa = w->drap + offset;
	} else if (rule->cfa == CFA_PLT) {
		*cfa = w->sp + ((w->pc & 15) >= parameter ? 16 : 8);
	} else if (rule->cfa == CFA_BASE) {
		if (!(w->knows & KNOWS_BASE))
			return ENDED_NO_REGISTER;
		*cfa = w->base + offset;
	} else if (rule->cfa == CFA_END) {
		return ENDED_ROOT;
	} else {
		return ENDED_UNSUPPORTED_ROW;
	}
	if (rule->cfa == CFA_DEREF_SP || rule->cfa == CFA_DEREF_FP) {
		u64 word = 0;
		ended = read_word(w, *cfa, &word);
		*cfa = word + parameter;
	}
	return ended;
}

/* The caller by a rule: `by_rule` of step.rs. */
APART int step_by_rule(struct walk *w, u32 slot)
{
	if (!w)
		return ENDED_BAD_FRAME;
	const struct rule *rule = &w->known[slot & (KNOWN_RULES - 1)].rule;
	u64 cfa = 0, fp = w->fp, pc = 0, link = 0, base = 0;
	int ended;
	if (rule->cfa == CFA_SP) {
		cfa = w->sp + rule->cfa_offset;
	} else if (rule->cfa == CFA_FP) {
		if (fp == UNKNOWN)
			return ENDED_NO_REGISTER;
		cfa = fp + rule->cfa_offset;
	} else {
		ended = find_rare_cfa(w, slot, &cfa);
		if (ended != GO_ON)
			return ended;
	}
	if (!(cfa > w->sp || (cfa == w->sp && rule->ra == RA_LINK)) || cfa % 8)
		return ENDED_BAD_FRAME;

	if (rule->fp == FP_UNDEFINED) {
		fp = UNKNOWN;
	} else if (rule->fp != FP_SAME) {
		u64 from = cfa;
		if (rule->fp == FP_AT_FP) {
			if (w->fp == UNKNOWN)
				return ENDED_NO_REGISTER;
			from = w->fp;
		} else if (rule->fp != FP_AT_CFA) {
			from = w->sp;
		}
		from += rule->fp_offset;
		if (rule->fp != FP_AT_FP || from < cfa || w->is_return)
			ended = restore_fp(w, from, &fp);
		if (ended != GO_ON)
			return ended;
	}

	if (rule->ra == RA_UNDEFINED)
		return ENDED_ROOT;
	if (rule->ra == RA_LINK) {
		if (!(w->knows & KNOWS_LINK))
			return ENDED_NO_REGISTER;
		pc = w->link;
	} else {
		ended = read_word(w, (rule->ra == RA_AT_CFA ? cfa : w->sp) + rule->ra_offset, &pc);
		if (ended != GO_ON)
			return ended;
	}

	u32 knows = 0;
	if (rule->fp == FP_AT_SP_WITH_LINK) {
		ended = read_word(w, w->sp + rule->fp_offset + 8, &link);
		if (ended != GO_ON)
			return ended;
		knows = KNOWS_LINK;
	}
	u32 words = rule->flags & RULE_PARAMETER;
	if (words && rule->cfa != CFA_DEREF_SP && rule->cfa != CFA_DEREF_FP && rule->cfa != CFA_PLT) {
		if (words == RULE_BASE_SAME) {
			base = w->base;
			knows |= w->knows & KNOWS_BASE;
		} else if (read_word(w, cfa - 8 * (u64)words, &base) == GO_ON) {
			knows |= KNOWS_BASE;
		}
	}
	u32 is_return = !(rule->flags & RULE_SIGNAL);
	if (is_return && !pc)
		return ENDED_ROOT;
	w->pc = pc;
	w->sp = cfa;
	w->fp = fp;
	w->link = link;
	w->base = base;
	w->knows = knows;
	w->is_return = is_return;
	return GO_ON;
}

/* The caller by the chain of frame pointers: `by_frame_pointer` of step.rs. */
APART int step_by_fp(struct walk *w)
{
	if (!w)
		return ENDED_BAD_FRAME;
	u64 fp = w->fp, pc = 0, caller_fp = 0;
	if (fp == UNKNOWN)
		return ENDED_NO_REGISTER;
	if (fp < w->sp || fp % 8 || fp - w->sp >= LARGEST_FRAME || fp >= UNKNOWN - 16)
		return ENDED_NO_ROW;
	if (read_word(w, fp + 8, &pc) != GO_ON || read_word(w, fp, &caller_fp) != GO_ON || !pc)
		return ENDED_NO_ROW;
	w->pc = pc;
	w->is_return = 1;
	w->sp = fp + 16;
	w->fp = caller_fp;
	w->knows = 0;
	return GO_ON;
}

/* Makes the mapping of an address w->here; 0 if it is not known. */
APART int enter_mapping(struct walk *w, u64 address)
{
	if (!w)
		return 0;
	for (u32 i = 1; i < KNOWN_MAPPINGS; i++) {
		u32 place = (w->here + i) & (KNOWN_MAPPINGS - 1);
		const struct mapped *mapped = &w->mapped[place];
		if (address >= mapped->start && address < mapped->end) {
			w->here = place;
			return 1;
		}
	}
	struct mapped found;
	if (!find_mapping(w, address, &found))
		return 0;
	w->here = (w->here + 1) & (KNOWN_MAPPINGS - 1);
	w->mapped[w->here & (KNOWN_MAPPINGS - 1)] = found;
	return 1;
}

/* Goes on from what is mapped nowhere, as far as the walk has just begun there. */
APART int step_from_nowhere(struct walk *w)
{
	if (!w)
		return ENDED_BAD_FRAME;
	if (w->in_syscall && w->is_return && !w->n_user && w->sp == w->lowest) {
		/* No system call stands before it: it is what a call through that register has come to. */
		w->is_return = 0;
		return GO_ON;
	}
	/* A call through a null pointer has a caller. */
	if (w->is_return || w->pc >= LOWEST_CODE)
		return ENDED_ASK_PERFD;
	u64 pc = 0;
	int ended = read_word(w, w->sp, &pc);
	if (ended != GO_ON)
		return ended;
	w->pc = pc;
	w->is_return = 1;
	w->sp += 8;
	w->knows &= KNOWS_BASE;
	return GO_ON;
}

/* One frame: writes it down and goes on to its caller. Returns GO_ON, or how the walk ended. */
APART int walk_frame(struct walk *w)
{
	if (!w)
		return ENDED_BAD_FRAME;
	u64 address = w->pc - w->is_return;
	const struct mapped *mapped = &w->mapped[w->here & (KNOWN_MAPPINGS - 1)];
	if (address < mapped->start || address >= mapped->end) {
		if (!enter_mapping(w, address))
			return step_from_nowhere(w);
		mapped = &w->mapped[w->here & (KNOWN_MAPPINGS - 1)];
	}
	if (w->n_user >= MAX_USER_FRAMES)
		return ENDED_DEPTH_LIMIT;
	u64 frame = ((w->pc + mapped->bias) & FRAME_OFFSET_MASK) | (u64)mapped->number << FRAME_MODULE_SHIFT |
		    (u64)w->is_return << FRAME_RETURN_SHIFT;
	w->frames[(w->n_kernel + w->n_user) & (FRAME_SLOTS - 1)] = frame;
	w->n_user++;
	hash_frame(&w->hash, frame);

	if (mapped->module.state == MODULE_TABLE) {
		u32 slot = (frame * 0x9e3779b97f4a7c15ULL) >> 32 & (KNOWN_RULES - 1);
		struct known_rule *known = &w->known[slot];
		if (known->not_frame != ~frame) {
			known->not_frame = 0;
			if (find_rule(w, address, slot) != GO_ON)
				return ENDED_ASK_PERFD;
			known->not_frame = ~frame;
		}
		if (known->rule.cfa != CFA_NONE)
			return step_by_rule(w, slot);
	}
	return step_by_fp(w);
}
