/* The time that a program waits for the library: `load LIBRARY` prints the nanoseconds of one dlopen in a fresh process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(int argc, char **argv)
{
    long began = now();
    if (argc != 2 || !dlopen(argv[1], RTLD_NOW | RTLD_LOCAL)) {
        fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: load LIBRARY");
        return 1;
    }
    printf("%ld\n", now() - began);
    return 0;
}
