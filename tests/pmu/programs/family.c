// family N: N turns in the parent, in a child that it forks, and in the program that the child becomes.

FUNCTION void in_parent(unsigned long n) { turns(n); }
FUNCTION void in_child(unsigned long n) { turns(n); }
FUNCTION void in_exec(unsigned long n) { turns(n); }

FUNCTION void start(long *stack) {
    char **arguments = (char **)(stack + 1);
    unsigned long n = number(arguments[1]);
    if (stack[0] > 2) {
        in_exec(n);
        end();
    }
    if (is_child(fork_child())) {
        in_child(n);
        char *again[] = {arguments[0], arguments[1], "again", 0};
        kernel(EXECVE, (long)"/proc/self/exe", (long)again, 0, 0, 0);
        end();
    }
    in_parent(n);
    kernel(WAIT4, -1, 0, 0, 0, 0);
    end();
}
