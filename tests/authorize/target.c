/* A process to be profiled: makes itself what its first argument says, says so on standard output, and waits for the end of its standard input.
 * `exec PROGRAM ARGUMENT` waits for a line first, and then becomes that program. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char byte;
    const char *how = argc > 1 ? argv[1] : "";
    if (!strcmp(how, "closed"))
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!strcmp(how, "open"))
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (write(1, "ready\n", 6) != 6)
        return 1;
    if (!strcmp(how, "exec")) {
        if (read(0, &byte, 1) != 1)
            return 1;
        execv(argv[2], argv + 2);
        return 1;
    }
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}
