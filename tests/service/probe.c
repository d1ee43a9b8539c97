/* Tries what the daemon needs and what must be denied to it, in its sandbox: probe PID CGROUP. PID is a process of another user.
 *
 * A line for each: its name, a tab, and "ok" or the name of the error. Nothing that succeeds is kept; capabilities are given up at the end. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static long say(const char *name, long result) {
    printf("%s\t%s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
    return result;
}

static long read_some(int fd) {
    char bytes[512];
    return fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
}

static long readable(const char *path) { return read_some(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)); }

static char path[512];
static const char *of(int pid, const char *file) {
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return path;
}

/* Perf events. */

static int event(struct perf_event_attr *attr, int pid, int cpu, unsigned long flags) {
    attr->size = sizeof *attr;
    attr->disabled = 1;
    return syscall(SYS_perf_event_open, attr, pid, cpu, -1, flags | PERF_FLAG_FD_CLOEXEC);
}

static struct perf_event_attr clock_event(int exclude_kernel) {
    return (struct perf_event_attr){
        .type = PERF_TYPE_SOFTWARE,
        .config = PERF_COUNT_SW_CPU_CLOCK,
        .sample_period = 1000000,
        .sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_CALLCHAIN,
        .exclude_kernel = exclude_kernel,
    };
}

static void events(int pid, const char *cgroup) {
    struct perf_event_attr attr = clock_event(1);
    say("event of a process", event(&attr, pid, -1, 0));
    attr.sample_type |= PERF_SAMPLE_STACK_USER | PERF_SAMPLE_REGS_USER;
    attr.sample_stack_user = 32768;
    attr.sample_regs_user = 1;
    say("event with a copy of the stack", event(&attr, pid, -1, 0));
    attr = clock_event(0);
    say("event of a process, with the kernel", event(&attr, pid, -1, 0));
    int cpu = say("event of a CPU", event(&attr, -1, 0, 0));
    long page = sysconf(_SC_PAGESIZE);
    say("ring of 512 pages", mmap(0, 513 * page, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0) == MAP_FAILED ? -1 : 0);
    int folder = say("cgroup's folder", open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    say("event of a cgroup", event(&attr, folder, 0, PERF_FLAG_PID_CGROUP));
    int id = open("/sys/kernel/tracing/events/sched/sched_switch/id", O_RDONLY | O_CLOEXEC);
    char text[32] = "";
    say("id of a tracepoint", id < 0 ? -1 : read(id, text, sizeof text - 1));
    struct perf_event_attr point = {.type = PERF_TYPE_TRACEPOINT, .config = atol(text), .sample_period = 1};
    say("event of a tracepoint", event(&point, -1, 0, 0));
    say("kind of a PMU", readable("/sys/bus/event_source/devices/software/type"));
}

/* BPF. */

static int bpf(int command, union bpf_attr *attr) { return syscall(SYS_bpf, command, attr, sizeof *attr); }

static int map(int type, int value_size, int entries) {
    union bpf_attr attr = {.map_type = type, .key_size = value_size ? 4 : 0, .value_size = value_size, .max_entries = entries};
    return bpf(BPF_MAP_CREATE, &attr);
}

/* A program that returns 0; one that reads memory of the user's (helper 112) before, if that is asked for. */
static int program(int type, int reads) {
    struct bpf_insn insns[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 10},
        {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 1, .imm = -8},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 8},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = 0},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_probe_read_user},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
        {.code = BPF_JMP | BPF_EXIT},
    };
    int skipped = reads ? 0 : 5;
    union bpf_attr attr = {
        .prog_type = type,
        .insns = (unsigned long)(insns + skipped),
        .insn_cnt = 7 - skipped,
        .license = (unsigned long)"GPL",
    };
    return bpf(BPF_PROG_LOAD, &attr);
}

static void programs(void) {
    say("BPF hash map", map(BPF_MAP_TYPE_HASH, 8, 1024));
    say("BPF LRU map", map(BPF_MAP_TYPE_LRU_HASH, 8, 1024));
    say("BPF array", map(BPF_MAP_TYPE_ARRAY, 8, 1024));
    say("BPF stack map", map(BPF_MAP_TYPE_STACK_TRACE, 8 * 127, 1024));
    say("BPF ring", map(BPF_MAP_TYPE_RINGBUF, 0, 1 << 16));
    int sampler = say("BPF program of an event", program(BPF_PROG_TYPE_PERF_EVENT, 1));
    struct perf_event_attr attr = clock_event(0);
    say("BPF program attached to an event", ioctl(event(&attr, -1, 0, 0), PERF_EVENT_IOC_SET_BPF, sampler));
    int point = say("BPF program of a raw tracepoint", program(BPF_PROG_TYPE_RAW_TRACEPOINT, 0));
    union bpf_attr raw = {.raw_tracepoint = {.name = (unsigned long)"sched_process_exit", .prog_fd = point}};
    say("BPF program attached to a raw tracepoint", bpf(BPF_RAW_TRACEPOINT_OPEN, &raw));
    say("BTF of the kernel", readable("/sys/kernel/btf/vmlinux"));
}

/* Another user's process. */

static void process(int pid) {
    char text[4096];
    say("maps", readable(of(pid, "maps")));
    say("status", readable(of(pid, "status")));
    say("cgroup", readable(of(pid, "cgroup")));
    say("link to the executable", readlink(of(pid, "exe"), text, sizeof text));
    say("executable", readable(of(pid, "exe")));
    DIR *files = opendir(of(pid, "map_files"));
    say("map_files", files ? 0 : -1);
    long opened = -1;
    errno = ENOENT;
    for (struct dirent *entry; files && (entry = readdir(files));) {
        if (entry->d_name[0] == '.') continue;
        char name[400];
        snprintf(name, sizeof name, "map_files/%s", entry->d_name);
        opened = readable(of(pid, name));
        if (opened < 0) break;
    }
    say("every mapped file", opened);
    int root = say("root", open(of(pid, "root"), O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct open_how how = {
        .flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    snprintf(text, sizeof text, "tmp/perf-%d.map", pid);
    say("perf map in its root", read_some(syscall(SYS_openat2, root, text, &how, sizeof how)));
    snprintf(text, sizeof text, "/tmp/perf-%d.map", pid);
    say("perf map in the own root", readable(text));
    int folder = open(of(pid, ""), O_PATH | O_DIRECTORY | O_CLOEXEC);
    say("maps in its folder", read_some(openat(folder, "maps", O_RDONLY | O_CLOEXEC)));
    say("memory, to write", open(of(pid, "mem"), O_RDWR | O_CLOEXEC));
    say("ptrace", ptrace(PTRACE_SEIZE, pid, 0, 0));
    struct iovec here = {text, 8}, there = {(void *)0x400000, 8};
    say("process_vm_readv", process_vm_readv(pid, &here, 1, &there, 1, 0));
    int handle = say("pidfd", syscall(SYS_pidfd_open, pid, 0));
    struct pollfd alive = {.fd = handle, .events = POLLIN};
    say("pidfd says alive", poll(&alive, 1, 0) == 0 ? 0 : -1);
    say("pidfd_getfd", syscall(SYS_pidfd_getfd, handle, 0, 0));
    say("signal", syscall(SYS_pidfd_send_signal, handle, SIGCONT, 0, 0));
}

/* The kernel's names, on standard input: twice from the beginning. */

static int names_with_addresses(void) {
    char text[65536];
    ssize_t n = 0, all = 0;
    if (lseek(0, 0, SEEK_SET) != 0) return -1;
    while (all < (ssize_t)sizeof text - 1 && (n = read(0, text + all, sizeof text - 1 - all)) > 0) all += n;
    text[all] = 0;
    int known = 0;
    for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : 0) known += strtoul(line, 0, 16) != 0;
    errno = ENODATA;
    return known > 100 ? 0 : -1;
}

static void kernel(void) {
    say("kernel names", names_with_addresses());
    say("kernel names again", names_with_addresses());
    say("paranoid", readable("/proc/sys/kernel/perf_event_paranoid"));
    say("online CPUs", readable("/sys/devices/system/cpu/online"));
    say("/proc/stat", readable("/proc/stat"));
    say("a setting of the kernel, to write", open("/proc/sys/kernel/perf_event_paranoid", O_WRONLY | O_CLOEXEC));
}

/* Its own files. */

static int linked(const char *folder, const char *name, int by_empty_path) {
    int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "whole", 5) != 5 || fsync(fd) != 0) return -1;
    char from[64], to[256];
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    unlink(to);
    return by_empty_path ? linkat(fd, "", AT_FDCWD, to, AT_EMPTY_PATH) : linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}

static void files(void) {
    const char *state = getenv("STATE_DIRECTORY");
    struct stat status;
    errno = ENOENT;
    say("state folder", state ? stat(state, &status) : -1);
    errno = EACCES;
    say("state folder is its own", status.st_uid == getuid() && (status.st_mode & 0777) == 0700 ? 0 : -1);
    say("file without a name, linked by /proc/self/fd", linked(state, "a", 0));
    say("file without a name, linked by itself", linked(state, "b", 1));
    char from[256], to[256];
    snprintf(from, sizeof from, "%s/a", state);
    snprintf(to, sizeof to, "%s/c", state);
    say("renamed", rename(from, to));
    unlink(to);
    snprintf(from, sizeof from, "%s/b", state);
    say("removed", unlink(from));
    say("file in /etc", open("/etc/perfd-probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    say("file in /run/perfd", open("/run/perfd/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    say("file in a cgroup", open("/sys/fs/cgroup/cgroup.procs", O_WRONLY | O_CLOEXEC));
    say("configuration", readable("/etc/perfd/perfd.toml"));
    say("file that root alone may read", readable("/etc/shadow"));
}

/* What a daemon does all day. */

static void passed_descriptor(void) {
    int pair[2], fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char byte = 0, control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    long done = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    if (done == 0) done = sendmsg(pair[0], &message, MSG_NOSIGNAL);
    if (done >= 0) done = recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC);
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (done >= 0) done = getsockopt(pair[1], SOL_SOCKET, SO_PEERCRED, &peer, &size);
    say("descriptor passed, and by whom", done);
}

static void calls(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    say("signalfd", signalfd(-1, &signals, SFD_CLOEXEC));
    say("timerfd", timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    say("epoll", epoll_create1(EPOLL_CLOEXEC));
    say("memfd", syscall(SYS_memfd_create, "probe", 1));
    passed_descriptor();
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    errno = EMFILE;
    say("65536 descriptors", limit.rlim_cur >= 65536 || limit.rlim_cur == limit.rlim_max ? 0 : -1);
    say("higher priority", setpriority(PRIO_PROCESS, 0, -1));
    say("lower priority", setpriority(PRIO_PROCESS, 0, 1));
    say("internet socket", socket(AF_INET, SOCK_STREAM, 0));
    say("netlink socket", socket(AF_NETLINK, SOCK_RAW, 0));
    say("memory to write and run", mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    say("namespace", unshare(CLONE_NEWUSER));
    say("real-time", sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}));
    say("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
    say("set-user-ID", setuid(0));
}

/* What the parser does before it looks at a foreign file: it is perfd, executed anew with no capability. */

static int refuse_some_calls(void) {
    struct sock_filter allow[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    struct sock_fprog filter = {1, allow};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}

static int no_file_by_name(void) {
    struct landlock_ruleset_attr every = {.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE};
    int rules = syscall(SYS_landlock_create_ruleset, &every, sizeof every, 0);
    return rules < 0 ? -1 : syscall(SYS_landlock_restrict_self, rules, 0);
}

static int without_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {0};
    return syscall(SYS_capset, &header, none);
}

static void parser(char *self, char *pid) {
    fflush(stdout);
    int child = fork();
    if (child == 0) {
        say("parser: capability out of the bounding set", prctl(PR_CAPBSET_DROP, CAP_BPF));
        say("parser: no ambient capability", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
        say("parser: no capability", without_capabilities());
        say("parser: less memory", setrlimit(RLIMIT_AS, &(struct rlimit){1 << 30, 1 << 30}));
        say("parser: less time", setrlimit(RLIMIT_CPU, &(struct rlimit){10, 10}));
        say("parser: filter of system calls", refuse_some_calls());
        int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        say("parser: first to go when memory runs out", score < 0 ? -1 : write(score, "1000", 4));
        fflush(stdout);
        if (fork() == 0) {
            /* A kernel may have no Landlock: then it is none of systemd's doing. */
            int done = no_file_by_name();
            say("parser: no file by name", done < 0 && (errno == ENOSYS || errno == EOPNOTSUPP) ? 0 : done);
            fflush(stdout);
            _exit(0);
        }
        wait(NULL);
        execl("/proc/self/exe", self, "--parser", pid, NULL);
        say("parser: executed", -1);
        fflush(stdout);
        _exit(1);
    }
    waitpid(child, NULL, 0);
}

static int is_parser(int pid) {
    say("parser: executed", 0);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct held[2];
    errno = EPERM;
    say("parser: holds nothing", syscall(SYS_capget, &header, held) == 0 && !held[0].permitted && !held[1].permitted && !held[0].inheritable ? 0 : -1);
    struct perf_event_attr attr = clock_event(1);
    say("parser: event of a process", event(&attr, pid, -1, 0));
    say("parser: maps of a process", readable(of(pid, "maps")));
    say("parser: BPF program", program(BPF_PROG_TYPE_PERF_EVENT, 0));
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "--parser")) return is_parser(atoi(argv[2]));
    if (argc != 3) return 2;
    int pid = atoi(argv[1]);
    events(pid, argv[2]);
    programs();
    process(pid);
    kernel();
    files();
    calls();
    parser(argv[0], argv[1]);
    return 0;
}
