/*
 * Drives one lock, as a process of its own that is told on its standard input what to do, and answers with one line each
 * time. So run.py can interleave short blocks of many locks, each in a process that is warm.
 *
 *     harness SUBJECT FOLDER [SHARED-FILE]
 *
 *     cycle N     lock (a try) and unlock, N times       nanoseconds, failures
 *     wait N      lock (waiting) and unlock, N times     nanoseconds, failures
 *     busy N      try while another process holds        nanoseconds, failures (where it was not busy)
 *     whole N     open, lock, unlock, close              nanoseconds, failures
 *     once        one try, timed, then unlock            nanoseconds, failures, nanoseconds on a processor
 *     handles N   open N more, lock each once, keep them heap bytes and descriptors of the N
 *     acquire     wait, keep it                          time when it was had, failures
 *     release     sleep 2 ms, unlock, sleep 1 ms         time when the unlock began, failures
 *     turn        wait, unlock                           voluntary context switches, failures
 *     contend A B C  wait, work for C ns, unlock, again, until time B
 *                                                    since time A: locks, failures, overlaps, voluntary context switches
 *
 *     threads N A B  N threads, each with a handle of its own: wait, work for B ns, unlock, again, for A ns
 *                                                    locks, failures, overlaps, and the locks of each thread
 *
 * Times are CLOCK_MONOTONIC in nanoseconds, which all processes share.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "subject.h"

static const struct subject *subject;
static const char *folder;
static void *handle;
static unsigned random_state;

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now(void) { return clock_ns(CLOCK_MONOTONIC); }

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
}

static long voluntary_switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static int wait_for(void *h)
{
    if (subject->wait)
        return subject->wait(h);
    for (;;) {
        int done = subject->try_lock(h);
        if (done != BUSY)
            return done;
        sleep_us(500 + rand_r(&random_state) % 1000);
    }
}

static void cycle(long n, int (*lock)(void *))
{
    long failures = 0;
    int64_t began = now();
    for (long i = 0; i < n; i++)
        if (lock(handle) != HELD || subject->unlock(handle) != HELD)
            failures++;
    printf("%" PRId64 " %ld\n", now() - began, failures);
}

static void busy(long n)
{
    long failures = 0;
    int64_t began = now();
    for (long i = 0; i < n; i++)
        failures += subject->try_lock(handle) != BUSY;
    printf("%" PRId64 " %ld\n", now() - began, failures);
}

static void whole(long n)
{
    long failures = 0;
    int64_t began = now();
    for (long i = 0; i < n; i++) {
        void *h = subject->open(folder);
        if (!h) {
            failures++;
            continue;
        }
        if (subject->try_lock(h) != HELD || subject->unlock(h) != HELD)
            failures++;
        subject->close(h);
    }
    printf("%" PRId64 " %ld\n", now() - began, failures);
}

static void once(void)
{
    int64_t began = now(), used = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    int done = subject->try_lock(handle);
    int64_t took = now() - began;
    used = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - used;
    if (done == HELD)
        done = subject->unlock(handle);
    printf("%" PRId64 " %d %" PRId64 "\n", took, done != HELD, used);
}

static long descriptors(void)
{
    long n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void handles(long n)
{
    size_t heap = mallinfo2().uordblks;
    long fds = descriptors();
    for (long i = 0; i < n; i++) {
        void *h = subject->open(folder);
        if (!h || subject->try_lock(h) != HELD || subject->unlock(h) != HELD) {
            fprintf(stderr, "handle %ld: %s\n", i, strerror(errno));
            exit(1);
        }
    }
    printf("%zu %ld\n", mallinfo2().uordblks - heap, descriptors() - fds);
}

static void acquire(void)
{
    int done = wait_for(handle);
    printf("%" PRId64 " %d\n", now(), done != HELD);
}

/*
 * The first pause lets run.py, which has just told us to, fall asleep, and the second leaves the waiter a processor at once:
 * what is measured is the lock, not how long the scheduler lets us go on.
 */
static void release(void)
{
    sleep_us(2000);
    int64_t began = now();
    int done = subject->unlock(handle);
    sleep_us(1000);
    printf("%" PRId64 " %d\n", began, done != HELD);
}

static void turn(void)
{
    long before = voluntary_switches();
    int done = wait_for(handle);
    if (done == HELD)
        done = subject->unlock(handle);
    printf("%ld %d\n", voluntary_switches() - before, done != HELD);
}

static void contend(int64_t begin, int64_t end, int64_t hold, volatile pid_t *inside)
{
    long locks = 0, failures = 0, overlaps = 0, before = voluntary_switches();
    bool counts = false;
    while (now() < end) {
        /* Not from the start, because the first process was alone for a while. */
        if (!counts && now() >= begin) {
            counts = true;
            locks = failures = overlaps = 0;
            before = voluntary_switches();
        }
        if (wait_for(handle) != HELD) {
            failures++;
            continue;
        }
        /* If another is inside, one of us sees the other's mark. */
        overlaps += *inside != 0;
        *inside = getpid();
        int64_t since = now();
        locks += since < end;
        while (hold > 0 && now() - since < hold)
            ;
        overlaps += *inside != getpid();
        *inside = 0;
        failures += subject->unlock(handle) != HELD;
    }
    printf("%ld %ld %ld %ld\n", locks, failures, overlaps, voluntary_switches() - before);
}

struct thread {
    pthread_t id;
    int64_t end, hold;
    long locks, failures, overlaps;
};

static atomic_long inside_threads;
static atomic_bool go;

static void *compete(void *argument)
{
    struct thread *t = argument;
    void *h = subject->open(folder);
    while (!atomic_load(&go))
        sleep_us(100);
    while (h && now() < t->end) {
        if (wait_for(h) != HELD) {
            t->failures++;
            continue;
        }
        t->overlaps += atomic_fetch_add(&inside_threads, 1) != 0;
        t->locks++;
        int64_t since = now();
        while (t->hold > 0 && now() - since < t->hold)
            ;
        atomic_fetch_sub(&inside_threads, 1);
        t->failures += subject->unlock(h) != HELD;
    }
    t->failures += !h;
    if (h)
        subject->close(h);
    return NULL;
}

static void threads(long n, int64_t time, int64_t hold)
{
    struct thread *all = calloc((size_t)n, sizeof *all);
    long locks = 0, failures = 0, overlaps = 0;
    atomic_store(&go, false);
    for (long i = 0; i < n; i++) {
        all[i].hold = hold;
        if (pthread_create(&all[i].id, NULL, compete, &all[i]) != 0) {
            perror("pthread_create");
            exit(1);
        }
    }
    sleep_us(50000);
    for (long i = 0; i < n; i++)
        all[i].end = now() + time;
    atomic_store(&go, true);
    for (long i = 0; i < n; i++) {
        pthread_join(all[i].id, NULL);
        locks += all[i].locks;
        failures += all[i].failures;
        overlaps += all[i].overlaps;
    }
    printf("%ld %ld %ld", locks, failures, overlaps);
    for (long i = 0; i < n; i++)
        printf(" %ld", all[i].locks);
    putchar('\n');
    free(all);
}

static volatile pid_t *shared(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(pid_t)) != 0)
        return NULL;
    void *page = mmap(NULL, sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return page == MAP_FAILED ? NULL : page;
}

int main(int argc, char **argv)
{
    for (subject = subjects; argc > 2 && subject->name && strcmp(subject->name, argv[1]) != 0; subject++)
        ;
    if (argc < 3 || !subject->name) {
        fprintf(stderr, "usage: %s SUBJECT FOLDER [SHARED-FILE]\n", argv[0]);
        return 2;
    }
    folder = argv[2];
    random_state = (unsigned)getpid();
    handle = subject->open(folder);
    volatile pid_t *inside = argc > 3 ? shared(argv[3]) : NULL;
    if (!handle || (argc > 3 && !inside)) {
        perror(argv[1]);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");

    char line[128], command[16];
    while (fgets(line, sizeof line, stdin)) {
        int64_t a = 0, b = 0, c = 0;
        if (sscanf(line, "%15s %" SCNd64 " %" SCNd64 " %" SCNd64, command, &a, &b, &c) < 1)
            continue;
        if (!strcmp(command, "cycle"))
            cycle(a, subject->try_lock);
        else if (!strcmp(command, "wait"))
            cycle(a, wait_for);
        else if (!strcmp(command, "busy"))
            busy(a);
        else if (!strcmp(command, "whole"))
            whole(a);
        else if (!strcmp(command, "once"))
            once();
        else if (!strcmp(command, "handles"))
            handles(a);
        else if (!strcmp(command, "acquire"))
            acquire();
        else if (!strcmp(command, "release"))
            release();
        else if (!strcmp(command, "turn"))
            turn();
        else if (!strcmp(command, "threads"))
            threads(a, b, c);
        else if (!strcmp(command, "contend") && inside)
            contend(a, b, c, inside);
        else
            puts("what?");
    }
    subject->close(handle);
    return 0;
}
