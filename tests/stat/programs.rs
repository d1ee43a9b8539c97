//! Programs that wait for a sign before they do what is counted.

/// Starts threads as fast as it can; when a byte comes, each of them calls the function so many times.
pub const THREADS_ON_A_SIGN: &str = r#"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((noinline)) void probed(void) { __asm__ volatile("" ::: "memory"); }

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER;
static int started;

static void *work(void *n) {
    pthread_mutex_lock(&mutex);
    while (!started) pthread_cond_wait(&go, &mutex);
    pthread_mutex_unlock(&mutex);
    for (long i = 0; i < (long)n; i++) probed();
    return NULL;
}

int main(int argc, char **argv) {
    int n_threads = atoi(argv[1]);
    long n = atol(argv[2]);
    pthread_t *threads = calloc(n_threads, sizeof *threads);
    if (write(1, "x\n", 2) != 2) return 1;
    for (int i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)n) != 0) return 1;
    char byte;
    if (read(0, &byte, 1) != 1) return 1;
    pthread_mutex_lock(&mutex);
    started = 1;
    pthread_cond_broadcast(&go);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < n_threads; i++) pthread_join(threads[i], NULL);
    return 0;
}
"#;

/// Touches so many new pages when a byte comes, and nothing else that is new.
pub const PAGES_ON_A_SIGN: &str = r#"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char *map(long n_pages, long size) {
    char *pages = mmap(NULL, n_pages * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(pages, n_pages * size, MADV_NOHUGEPAGE);
    return pages;
}

static void touch(char *pages, long n_pages, long size) {
    for (long i = 0; i < n_pages; i++) ((volatile char *)pages)[i * size] = 1;
}

int main(int argc, char **argv) {
    long n_pages = atol(argv[1]), size = sysconf(_SC_PAGESIZE);
    /* All code is there, else its first use would be a fault too. What the kernel maps around a fault is not enough: it
       passes over pages that another process is busy with. */
    if (mlockall(MCL_CURRENT) != 0) return 1;
    char *pages = map(n_pages, size);
    char byte;
    if (write(1, "x\n", 2) != 2) return 1;
    if (read(0, &byte, 1) != 1) return 1;
    touch(pages, n_pages, size);
    _exit(0);
}
"#;
