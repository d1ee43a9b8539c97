/*
 * The filters of system calls of a running process, given to another.
 *
 *     filters dump PID >FILE                          as root
 *     filters load FILE COMMAND [ARGUMENT]...         with no_new_privs; executes the command
 *
 * FILE has the filters in the order in which they are to be loaded, each with its number of instructions in front.
 */
#include <err.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sock_filter instructions[BPF_MAXINSNS];

static int dump(pid_t pid) {
    if (ptrace(PTRACE_SEIZE, pid, 0, 0)) err(1, "seize %d", pid);
    if (ptrace(PTRACE_INTERRUPT, pid, 0, 0)) err(1, "interrupt %d", pid);
    if (waitpid(pid, NULL, __WALL) != pid) err(1, "wait for %d", pid);
    /* Number 0 was loaded last. */
    long number = 0;
    while (ptrace(PTRACE_SECCOMP_GET_FILTER, pid, number, NULL) >= 0) number++;
    if (errno != ENOENT || number == 0) err(1, "filter %ld of %d", number, pid);
    while (number-- > 0) {
        long length = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, number, instructions);
        if (length < 0) err(1, "filter %ld of %d", number, pid);
        unsigned short n = length;
        if (fwrite(&n, sizeof n, 1, stdout) != 1 || fwrite(instructions, sizeof *instructions, n, stdout) != n) err(1, "write");
    }
    if (ptrace(PTRACE_DETACH, pid, 0, 0)) err(1, "detach");
    return 0;
}

static void load(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file) err(1, "%s", path);
    unsigned short n;
    while (fread(&n, sizeof n, 1, file) == 1) {
        if (n > BPF_MAXINSNS || fread(instructions, sizeof *instructions, n, file) != n) errx(1, "%s: cut short", path);
        struct sock_fprog program = {n, instructions};
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) err(1, "load a filter");
    }
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "dump")) return dump(atoi(argv[2]));
    if (argc < 4 || strcmp(argv[1], "load")) errx(64, "see the source");
    load(argv[2]);
    execvp(argv[3], argv + 3);
    err(1, "%s", argv[3]);
}
