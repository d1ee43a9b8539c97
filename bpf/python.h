/* The Python frames of a thread, read where it is interrupted: from its thread state along the interpreter's own list of frames, with what
 * each one's code is called.
 *
 * Names are read here and not later: the interrupted thread keeps code and strings alive, and nobody changes them, so that what is read
 * belongs together. Later the memory may be another object's. A frame is known by a hash of its name's very text, which is kept beside.
 *
 * CPython 3.11 marks the first frame of each call of the evaluation function; later versions have a frame without code below it. Where
 * such a call begins goes into the words, so that perfd can put the frames in the place of the native ones.
 *
 * Pure, like unwind.h, which it is read with: all state is in a `struct python`, which lies in a map. */
#pragma once

#include "unwind.h"

/* As far as the offsets of a layout reach. */
#define FRAME_HEAD 80
#define CODE_HEAD 160
#define STRING_HEAD 48

struct python {
	struct python_process process;
	/* Of the thread, as it sees itself in its pid namespace. */
	u64 native_id;
	/* Where the search for its states stands: the next interpreter, and a thread state of the one before, or 0. */
	u64 interpreter;
	u64 thread;
	/* Whether that state is the thread's, and its frames are being read. */
	u32 is_found;
	/* Whether the process has one interpreter: then a thread has one state. */
	u32 is_single;
	u32 n_found;
	/* The next frame. */
	u64 frame;
	/* What was last seen of the interpreter's on the thread's own stack. */
	u64 on_stack;
	/* Code and file of the last frame, whose name is still there. */
	u64 code;
	u64 filename;
	struct python_name_key key;
	/* Of all frames so far. */
	struct stack_key hash;
	u32 n_frames;
	u32 read;
	/* Calls of the evaluation function: native frames of it, and those that the list of frames tells of. */
	u32 n_eval;
	u32 n_calls;
	u8 head[FRAME_HEAD];
	u8 code_head[CODE_HEAD];
	u8 string_head[STRING_HEAD];
	__attribute__((aligned(8))) struct python_name name;
	/* The name of a frame's code, and PYTHON_ENTRY. */
	u64 words[2 * MAX_PYTHON_FRAMES];
};

/* Keeps p->name under p->key. */
INLINE void keep_name(const struct python *p);

/* The word at an offset of memory that was read; 0 if it lies outside of it. */
#define WORD_AT(name, size)                                                                        \
	INLINE u64 name(const u8 *from, u64 offset)                                                \
	{                                                                                          \
		u64 at = opaque(offset);                                                           \
		u64 word;                                                                          \
		if (at > size - 8)                                                                 \
			return 0;                                                                  \
		__builtin_memcpy(&word, from + at, 8);                                             \
		return word;                                                                       \
	}
WORD_AT(frame_word, FRAME_HEAD)
WORD_AT(code_word, CODE_HEAD)
WORD_AT(string_word, STRING_HEAD)

/* The byte at an offset of a frame; 0 if it lies outside. */
INLINE u32 frame_byte(const u8 *from, u64 offset)
{
	u64 at = opaque(offset);
	return at < FRAME_HEAD ? from[at] : 0;
}

/* Whether Python runs in a native frame. */
INLINE int is_eval(const struct python_process *process, u64 frame)
{
	/* As `Frame::lookup`: what is behind a call may be another function. */
	u64 offset = (frame & FRAME_OFFSET_MASK) - (frame >> FRAME_RETURN_SHIFT);
	u64 module = (frame & ~(1ULL << FRAME_RETURN_SHIFT)) >> FRAME_MODULE_SHIFT;
	int is_inside = 0;
#pragma unroll
	for (int i = 0; i < MAX_EVAL_RANGES; i++)
		is_inside |= offset >= process->eval_start[i] && offset < process->eval_end[i];
	return is_inside && module == process->module;
}

/* Whether p->thread is a state of the thread. A state that has been freed may still look like it; then the frames that it leads to do not fit
 * the native ones. */
APART int is_thread(struct python *p)
{
	if (!p || !p->thread)
		return 0;
	u64 native_id = 0;
	return !read_user(&native_id, 8, p->thread + p->process.layout.thread_native_id) && native_id == p->native_id;
}

/* Notes that the interpreter has something on the thread's own stack. In the order in which it is met its callers lie above; where they do
 * not, interpreters have called each other in turns. */
INLINE int is_above(struct python *p, u64 address)
{
	if (address <= p->on_stack)
		return 0;
	p->on_stack = address;
	return 1;
}

/* Begins with the frame that the thread state says is running. */
APART int first_frame(struct python *p)
{
	if (!p)
		return PYTHON_NO_THREAD;
	const struct python_layout *layout = &p->process.layout;
	p->is_found = 1;
	p->n_found++;
	if (read_user(&p->frame, 8, p->thread + layout->thread_frame))
		return PYTHON_NOT_IN_MEMORY;
	if (layout->frame_in_holder == NO_OFFSET || !p->frame)
		return GO_ON;
	u64 holder = p->frame;
	if (read_user(&p->frame, 8, holder + layout->frame_in_holder))
		return PYTHON_NOT_IN_MEMORY;
	/* Otherwise frames without code say where calls are. */
	if (layout->frame_is_entry != NO_OFFSET && p->frame && !is_above(p, holder))
		return PYTHON_NOT_MATCHING;
	return GO_ON;
}

/* One step of the search for the thread's states: interpreters newest first, which others have called. */
APART int find_thread(struct python *p)
{
	if (!p)
		return PYTHON_NO_THREAD;
	const struct python_layout *layout = &p->process.layout;
	if (is_thread(p))
		return first_frame(p);
	if (p->thread)
		return read_user(&p->thread, 8, p->thread + layout->thread_next) ? PYTHON_NOT_IN_MEMORY : GO_ON;
	if (!p->interpreter)
		return p->n_found ? PYTHON_WHOLE : PYTHON_NO_THREAD;
	if (read_user(&p->thread, 8, p->interpreter + layout->interpreter_threads) ||
	    read_user(&p->interpreter, 8, p->interpreter + layout->interpreter_next))
		return PYTHON_NOT_IN_MEMORY;
	return GO_ON;
}

/* Begins, at the thread state that was found the last time if it still is the thread's only one. */
APART int begin_python(struct python *p, u64 known)
{
	if (!p)
		return PYTHON_NO_THREAD;
	u64 next = 0;
	p->code = p->filename = p->on_stack = 0;
	p->n_frames = p->n_found = p->is_found = p->n_calls = 0;
	p->thread = 0;
	if (read_user(&p->interpreter, 8, p->process.interpreters))
		return PYTHON_NOT_IN_MEMORY;
	if (!p->interpreter)
		return PYTHON_NO_THREAD;
	if (read_user(&next, 8, p->interpreter + p->process.layout.interpreter_next))
		return PYTHON_NOT_IN_MEMORY;
	p->is_single = !next;
	if (!p->is_single)
		return GO_ON;
	p->thread = known;
	if (is_thread(p))
		return first_frame(p);
	p->thread = 0;
	return GO_ON;
}

/* Reads what precedes a string's text: how many characters it has, how wide they are, and where they begin. */
APART int read_string_head(struct python *p, u64 string, u32 *n, u32 *width, u64 *text)
{
	if (!p || !n || !width || !text)
		return PYTHON_BAD_OBJECT;
	const struct python_layout *layout = &p->process.layout;
	if (read_user(p->string_head, STRING_HEAD, string))
		return PYTHON_NOT_IN_MEMORY;
	u64 length = string_word(p->string_head, layout->string_length);
	u64 state = string_word(p->string_head, layout->string_state);
	/* struct state of PyASCIIObject: interned 2 bits, kind 3, compact, ascii. */
	u32 kind = state >> 2 & 7, is_compact = state >> 5 & 1, is_ascii = state >> 6 & 1;
	if (!is_compact || length >> 31 || (kind != 1 && kind != 2 && kind != 4))
		return PYTHON_BAD_OBJECT;
	*n = length;
	*width = kind;
	*text = string + (is_ascii ? layout->ascii_text : layout->other_text);
	return GO_ON;
}

/* Reads the beginning of a qualified name. */
APART int read_qualname(struct python *p, u64 string)
{
	if (!p)
		return PYTHON_BAD_OBJECT;
	u32 n = 0, width = 0;
	u64 text = 0;
	int ended = read_string_head(p, string, &n, &width, &text);
	if (ended != GO_ON)
		return ended;
	p->name.n_qualname = n;
	p->name.qualname_width = width;
	__builtin_memset(p->name.qualname, 0, QUALNAME_BYTES);
	u64 size = opaque((u64)n * width);
	if (size > QUALNAME_BYTES)
		size = QUALNAME_BYTES;
	return size && read_user(p->name.qualname, size, text) ? PYTHON_NOT_IN_MEMORY : GO_ON;
}

/* Reads the end of a file's path. */
APART int read_filename(struct python *p, u64 string)
{
	if (!p)
		return PYTHON_BAD_OBJECT;
	u32 n = 0, width = 0;
	u64 text = 0;
	int ended = read_string_head(p, string, &n, &width, &text);
	if (ended != GO_ON)
		return ended;
	p->name.n_filename = n;
	p->name.filename_width = width;
	__builtin_memset(p->name.filename, 0, FILENAME_BYTES);
	u64 all = (u64)n * width, size = opaque(all);
	if (size > FILENAME_BYTES)
		size = FILENAME_BYTES;
	return size && read_user(p->name.filename, size, text + all - size) ? PYTHON_NOT_IN_MEMORY : GO_ON;
}

/* Reads what code is called, unless it is that of the last frame again. */
APART int read_name(struct python *p, u64 code)
{
	if (!p)
		return PYTHON_BAD_OBJECT;
	if (code == p->code)
		return GO_ON;
	const struct python_layout *layout = &p->process.layout;
	p->code = 0;
	if (read_user(p->code_head, CODE_HEAD, code))
		return PYTHON_NOT_IN_MEMORY;
	if (code_word(p->code_head, layout->object_type) != p->process.code_type)
		return PYTHON_BAD_OBJECT;
	p->name.first_line = code_word(p->code_head, layout->code_first_line);
	int ended = read_qualname(p, code_word(p->code_head, layout->code_qualname));
	if (ended != GO_ON)
		return ended;
	u64 filename = code_word(p->code_head, layout->code_filename);
	if (filename != p->filename) {
		p->filename = 0;
		ended = read_filename(p, filename);
		if (ended != GO_ON)
			return ended;
		p->filename = filename;
	}
	struct stack_key key = {};
	const u64 *words = (const u64 *)&p->name;
#pragma unroll
	for (u32 i = 0; i < sizeof(p->name) / 8; i++)
		hash_frame(&key, words[i]);
	p->key.hash[0] = key.hash[0];
	p->key.hash[1] = key.hash[1] & ~PYTHON_ENTRY;
	keep_name(p);
	p->code = code;
	return GO_ON;
}

/* Writes a frame down. */
INLINE void add_frame(struct python *p, u64 first, u64 second)
{
	u32 at = p->n_frames & (MAX_PYTHON_FRAMES - 1);
	p->words[2 * at] = first;
	p->words[2 * at + 1] = second;
	p->n_frames++;
	p->n_calls += second & PYTHON_ENTRY;
	hash_frame(&p->hash, first);
	hash_frame(&p->hash, second);
}

/* One frame: writes it down and goes on to its caller. */
APART int python_frame(struct python *p)
{
	if (!p)
		return PYTHON_BAD_OBJECT;
	const struct python_layout *layout = &p->process.layout;
	if (!p->frame) {
		if (p->is_single)
			return PYTHON_WHOLE;
		/* The thread may have a state in another interpreter, which has called this one. */
		p->is_found = 0;
		return read_user(&p->thread, 8, p->thread + layout->thread_next) ? PYTHON_NOT_IN_MEMORY : GO_ON;
	}
	if (p->n_frames >= MAX_PYTHON_FRAMES)
		return PYTHON_CUT;
	if (read_user(p->head, FRAME_HEAD, p->frame))
		return PYTHON_NOT_IN_MEMORY;
	u64 previous = frame_word(p->head, layout->frame_previous);
	if (frame_byte(p->head, layout->frame_owner) >= layout->owner_without_code) {
		/* The end of a call's frames. One that has none yet, or none any more, is a call all the same, but for the frame at the root
		 * of all. */
		u32 last = 2 * (p->n_frames - 1) + 1;
		u64 *word = &p->words[last & (2 * MAX_PYTHON_FRAMES - 1)];
		if (p->n_frames && !(*word & PYTHON_ENTRY)) {
			*word |= PYTHON_ENTRY;
			p->n_calls++;
			hash_frame(&p->hash, PYTHON_ENTRY);
		} else if (previous) {
			add_frame(p, 0, PYTHON_ENTRY);
		} else {
			p->frame = 0;
			return GO_ON;
		}
		if (!is_above(p, p->frame))
			return PYTHON_NOT_MATCHING;
		p->frame = previous;
		return GO_ON;
	}
	/* From 3.14 on low bits of the pointer say who counts the reference. */
	int ended = read_name(p, frame_word(p->head, layout->frame_code) & ~7ULL);
	if (ended != GO_ON)
		return ended;
	u64 is_entry = layout->frame_is_entry != NO_OFFSET && frame_byte(p->head, layout->frame_is_entry);
	add_frame(p, p->key.hash[0], p->key.hash[1] | (is_entry ? PYTHON_ENTRY : 0));
	p->frame = previous;
	return GO_ON;
}

/* One step: GO_ON, or how it ended. */
INLINE int python_step(struct python *p)
{
	return p->is_found ? python_frame(p) : find_thread(p);
}

/* Where the thread's state is to be looked for the next time; 0 for a search. A state that has been freed may still look like the thread's,
 * but what it says does not fit the stack for long. */
INLINE u64 likely_state(const struct python *p)
{
	u32 n_missing = p->n_eval - p->n_calls;
	return p->is_single && p->n_found && p->read == PYTHON_WHOLE && n_missing <= 1 ? p->thread : 0;
}

/* The end of all steps. Part of a list would look like another stack: it is kept only where there are too many frames. */
INLINE void end_python(struct python *p, u32 read)
{
	p->read = read == PYTHON_CUT && !p->n_found ? PYTHON_NO_THREAD : read;
	if (p->read != PYTHON_WHOLE && p->read != PYTHON_CUT)
		p->n_frames = 0;
}
