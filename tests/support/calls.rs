//! A program whose calls of one function are known in number: the same for counts and for samples.

/// Calls `probed` 8·N times: N each in the main thread, 4 threads, and a thread of each of 3 forked children.
pub const CALLS: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) void probed(void) { __asm__ volatile("" ::: "memory"); }

static void *work(void *n) {
    for (long i = 0; i < (long)n; i++) probed();
    return NULL;
}

int main(int argc, char **argv) {
    long n = atol(argv[1]);
    work((void *)n);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, (void *)n);
    for (int i = 0; i < 3; i++)
        if (fork() == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, work, (void *)n);
            pthread_join(thread, NULL);
            _exit(0);
        }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    while (wait(NULL) > 0) {}
    return 0;
}
"#;
