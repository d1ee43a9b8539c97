// Three instructions: the number of the call that ends a process, its exit code, and the call.

#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov $231, %eax\nmov $0, %edi\nsyscall\nud2");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x8, #94\nmov x0, #0\nsvc #0\nbrk #0");
#endif
