// loops N: N turns in `first` and twice as many in `second`, each called by a function of its own.

FUNCTION void first(unsigned long n) { turns(n); }
FUNCTION void second(unsigned long n) { turns(2 * n); }
FUNCTION void calls_first(unsigned long n) { first(n); __asm__ volatile(""); }
FUNCTION void calls_second(unsigned long n) { second(n); __asm__ volatile(""); }

FUNCTION void start(long *stack) {
    unsigned long n = number((char *)stack[2]);
    calls_first(n);
    calls_second(n);
    end();
}
