/* What the BPF programs are bounded by. Each number has its reason beside it. */
#pragma once

/* Frames of a user stack. A loop of the verifier's own (bpf_loop) makes depth free; this bounds the time in one interrupt: at half a
 * microsecond a cold frame, a quarter of a millisecond. */
#define MAX_USER_FRAMES 512

/* Steps of a walk. A call through a null pointer takes one without being a frame; only what was interrupted can have made one, so that there
 * is one for the sample and one behind each signal frame at most. One more says how the walk ended. */
#define MAX_STEPS (2 * MAX_USER_FRAMES + 2)

/* Frames of the kernel's part: what kernel.perf_event_max_stack allows by default. */
#define MAX_KERNEL_FRAMES 127

/* Frames that the chunk of a stack holds. Most stacks of real programs have 10 to 60, and take one. */
#define CHUNK_FRAMES 64

/* Chunks of the longest stack. */
#define MAX_CHUNKS ((MAX_USER_FRAMES + MAX_KERNEL_FRAMES + 1 + CHUNK_FRAMES - 1) / CHUNK_FRAMES)

/* Bytes of the user's stack that are read at once. A read of 8 bytes takes 80 ns and one of 1 KiB 110 ns, so that frames should
 * share them; larger windows gain little and cost shallow stacks more. */
#define WINDOW 2048

/* Rules that a CPU remembers. A CPU's memory for all of a walk has to fit into 32 KiB. */
#define KNOWN_RULES 512

/* Mappings that a CPU remembers: a JIT's code and its runtime, or a compiler and the libraries it is made of, call each other in turns. */
#define KNOWN_MAPPINGS 4

/* Modules of a run: what the 16 bits of a frame tell apart. Each file and each process with code of its own making takes one, and keeps it. */
#define MAX_MODULES 65536

/* Tables that are loaded at a time, and one that stands where there is none. A host that runs everything it has installed maps some
 * 2000 files. */
#define MAX_TABLES 4096

/* Bytes of a block of a table: the unit in which the memory of a module's table is allocated and looked at. */
#define BLOCK 4096

/* Mappings of a process: blocks of 64, in two steps of a search. */
#define BLOCK_MAPPINGS 64
#define MAX_MAPPING_BLOCKS 64

/* Python frames of a stack: the interpreter's own limit is 1000 unless the program raises it. It bounds the time in one interrupt: a frame
 * takes 0.1 us where a function calls itself, and 0.5 us where each is another function's, half a millisecond in all. */
#define MAX_PYTHON_FRAMES 1024

/* Chunks of the Python part of a stack: two words a frame. */
#define MAX_PYTHON_CHUNKS (2 * MAX_PYTHON_FRAMES / CHUNK_FRAMES)

/* Steps of reading them: frames, as many frames without code, and interpreters and thread states that are looked through for the thread
 * of the sample, 0.1 us each. In a process with one interpreter it is found again without looking. */
#define MAX_PYTHON_STEPS (4 * MAX_PYTHON_FRAMES)

/* Threads that are found again: as many as run between two looks at all of them. */
#define MAX_PYTHON_THREADS 16384

/* Bytes of a qualified name and of the end of a file's path that are kept. None of the 42,000 functions in
 * the 2,000 files of Debian's standard library (3.11) and packages beside it has a longer name, nor any file: of a path its last part is shown. */
#define QUALNAME_BYTES 128
#define FILENAME_BYTES 64

/* Distinct names of code between two drains; those that were used longest ago give way. */
#define MAX_PYTHON_NAMES 16384

/* Processes that run Python at a time. */
#define MAX_PYTHONS 4096

/* Ranges of code of _PyEval_EvalFrameDefault: a compiler splits what is seldom run from the rest. */
#define MAX_EVAL_RANGES 4

/* Processes whose mappings are loaded at a time; samples of others go to the ring. Most of the room is taken as it is used. */
#define MAX_PROCESSES 16384

/* Forks in a row that perfd has not heard of yet, some ms, 25 at most: a shell's child of a compiler driver's child. */
#define MAX_UNHEARD_FORKS 4

/* Cgroups that samples are told apart by. */
#define MAX_DOMAINS 256

/* Levels of the tree of cgroups that they may be at, the root's included. A container's is at the second to fifth; what lies in it may be as deep as
 * it likes. */
#define MAX_DOMAIN_LEVELS 16

/* Distinct stacks (by chunk) and counts between two drains. perfd looks every 25 ms (100 ms while few come), and drains when 4096 samples wait: 12,000 more in that
 * time, 500 for each of 24 CPUs at 20 kHz, still have room. What has none goes to the ring. */
#define MAX_STACK_CHUNKS 16384
#define MAX_COUNTS 16384

/* Events of a run that can be walked in the kernel: one program for each, since an inherited event has no other identity. */
#define MAX_EVENTS 8
