/* A crowd shares a lock folder: claimants of several slots, or readers and writers. Some are killed.
 *
 *     crowd FOLDER SLOTS SHARERS WRITERS SECONDS KILLS WORK TRIERS
 *
 * SHARERS processes name SLOTS (0: any number, as readers), and WRITERS processes are alone. Each waits, works for WORK
 * microseconds, and gives the lock back. The first TRIERS of the sharers, and as many writers, do not wait: they call lf_lock again and
 * again, so no line keeps them in order. KILLS of them a second are killed (SIGKILL) at random, and come back. A
 * semaphore of the kernel, which knows nothing of the lock, counts those inside: each takes a share of it on its way
 * in and never waits for that, and the kernel gives back the share of one that dies (semop(2), SEM_UNDO) before anybody
 * can see it dead.
 *
 * Prints `violations N` (those that found no share left), `turns N`, `fewest N` (of one process), `jain N` (the index of
 * fairness of the turns, in thousandths), `used N` (for how much of the time all places were in use while somebody waited,
 * in thousandths), `killed N`, `passed N` (how often at most one reader came in while one writer waited), `failures N`.
 */
#define _GNU_SOURCE
#include <lockfolder.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64, ALL = 1000 };

static struct shared {
    atomic_long violations, failures, passed;
    atomic_long turns[MOST];
    atomic_int waits[MOST];
    atomic_bool ends;
} *shared;

static int semaphore;
static unsigned long long chance = 88172645463325252u;

static unsigned pick(unsigned of) {
    chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
    return (unsigned)(chance >> 33) % of;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool move(int by) {
    struct sembuf step = {.sem_op = (short)by, .sem_flg = IPC_NOWAIT | SEM_UNDO};
    while (semop(semaphore, &step, 1) != 0)
        if (errno != EINTR)
            return false;
    return true;
}

static void fail(const lf_folder *folder, const char *what, lf_status status) {
    char message[2048] = "";
    lf_error_message(folder, message, sizeof message);
    fprintf(stderr, "crowd: %s: %s: %s\n", what, lf_status_name(status), message);
    atomic_fetch_add(&shared->failures, 1);
    _exit(1);
}

/* Waits as an event loop does. When the wait has begun, the claimant is in line. */
static lf_status wait_in_line(lf_folder *folder, const long *before, int sharers) {
    struct pollfd due = {.fd = lf_wait_fd(folder), .events = POLLIN};
    lf_status got = lf_wait_begin(folder, -1);
    long *seen = (long *)before;
    for (int i = 0; i < sharers; i++)
        seen[i] = atomic_load(&shared->turns[i]);
    while (got == LF_PENDING) {
        poll(&due, 1, -1);
        got = lf_wait_step(folder);
    }
    return got;
}

static void work(const char *path, int me, uint32_t slots, int sharers, int share, long micros, bool tries) {
    lf_folder *folder;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    lf_status status = lf_open(path, LF_OPEN_DEFAULT, &folder);
    if (status != LF_OK)
        fail(NULL, "open", status);
    if ((status = lf_set_slots(folder, slots)) != LF_OK)
        fail(folder, "set_slots", status);
    long before[MOST] = {0};
    while (!atomic_load(&shared->ends)) {
        atomic_store(&shared->waits[me], 1);
        while (tries && (status = lf_lock(folder)) == LF_BUSY && !atomic_load(&shared->ends))
            usleep(50);
        if (tries && status == LF_BUSY)
            break;
        if (!tries)
            status = slots == 1 ? wait_in_line(folder, before, sharers) : lf_lock_wait(folder, -1);
        if (status != LF_OK)
            fail(folder, "wait", status);
        bool is_alone_or_few = move(-share);
        if (!is_alone_or_few)
            atomic_fetch_add(&shared->violations, 1);
        atomic_store(&shared->waits[me], 0);
        atomic_fetch_add(&shared->turns[me], 1);
        for (int i = 0; slots == 1 && !tries && i < sharers; i++) {
            long turns = atomic_load(&shared->turns[i]) - before[i], most = atomic_load(&shared->passed);
            while (turns > most && !atomic_compare_exchange_weak(&shared->passed, &most, turns)) {
            }
        }
        usleep((useconds_t)micros);
        if (is_alone_or_few)
            move(share);
        if ((status = lf_unlock(folder)) != LF_OK)
            fail(folder, "unlock", status);
    }
    lf_close(folder);
    _exit(0);
}

int main(int count, char **words) {
    if (count != 9)
        return 2;
    uint32_t slots = (uint32_t)atoi(words[2]);
    int sharers = atoi(words[3]), writers = atoi(words[4]), all = sharers + writers;
    double seconds = atof(words[5]), kills = atof(words[6]);
    long micros = atol(words[7]);
    int triers = atoi(words[8]);
    int places = slots == 0 ? ALL : (int)slots;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    semaphore = semget(IPC_PRIVATE, 1, 0600);
    if (all > MOST || shared == MAP_FAILED || semaphore < 0 || semctl(semaphore, 0, SETVAL, places) != 0)
        return 2;

    pid_t pids[MOST];
    long killed = 0, sampled = 0, used = 0;
    for (int i = 0; i < all; i++)
        pids[i] = 0;
    double begin = now(), next = begin;
    do {
        for (int i = 0; i < all; i++)
            if (pids[i] == 0 && (pids[i] = fork()) == 0)
                work(words[1], i, i < sharers ? slots : 1, sharers, i < sharers ? 1 : places, micros, (i < sharers ? i : i - sharers) < triers);
        if (kills > 0 && now() >= next) {
            int victim = (int)pick((unsigned)all);
            next += 1 / kills;
            killed++;
            kill(pids[victim], SIGKILL);
            /* It no longer waits. The kernel has given back its share when it can be reaped. */
            waitpid(pids[victim], NULL, 0);
            atomic_store(&shared->waits[victim], 0);
            pids[victim] = 0;
        }
        int waits = 0;
        for (int i = 0; i < all; i++)
            waits += atomic_load(&shared->waits[i]);
        /* Those inside no longer count as waiting, so one that has just died is replaced by one of these. */
        if (waits > 0 && now() > begin + 0.5) {
            sampled++;
            used += semctl(semaphore, 0, GETVAL) == 0;
        }
        usleep(300);
    } while (now() < begin + seconds && atomic_load(&shared->failures) == 0);

    atomic_store(&shared->ends, true);
    for (int i = 0; i < all; i++) {
        int status = 0;
        if (pids[i] > 0 && (waitpid(pids[i], &status, 0) < 0 || status != 0))
            atomic_fetch_add(&shared->failures, 1);
    }
    semctl(semaphore, 0, IPC_RMID);
    double sum = 0, squares = 0, fewest = 1e9;
    for (int i = 0; i < all; i++) {
        double turns = (double)atomic_load(&shared->turns[i]);
        sum += turns, squares += turns * turns, fewest = turns < fewest ? turns : fewest;
    }
    double jain = squares == 0 ? 0 : 1000 * sum * sum / (all * squares);
    printf("violations %ld\nturns %.0f\nfewest %.0f\njain %.0f\nused %ld\nkilled %ld\npassed %ld\nfailures %ld\n",
           atomic_load(&shared->violations), sum, fewest, jain, sampled == 0 ? 0 : 1000 * used / sampled, killed,
           atomic_load(&shared->passed), atomic_load(&shared->failures));
    return 0;
}
