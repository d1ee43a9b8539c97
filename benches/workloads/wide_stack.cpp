// `deep` with frames of 1.5 KiB: 92 KB of stack, more than the 64 KiB that the kernel copies at most.
#define LOCALS 184
#include "deep.cpp"
