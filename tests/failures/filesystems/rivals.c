/* Processes compete for a lock folder, and are killed at any moment.
 *
 *     rivals FLAGS WITNESS SECONDS FOLDER...
 *
 * Several folders are several paths to the same folder, and the processes use these in turn. The holder takes an flock on WITNESS, a
 * file on a local filesystem. The flock is refused if another process is inside, and the kernel releases that of a dead process.
 * With RIVALS_BEAR_IO in the environment, a process that gets LF_ERR_IO ends, and another takes its place: a part of the filesystem
 * fails meanwhile. */
#define _GNU_SOURCE
#include <lockfolder.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 5, VIOLATION = 3, TROUBLE = 4 };

static long *locks, *kills; /* shared by all */
static double end;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* On a machine of any speed, some processes must have been inside, and some must have been killed. */
static bool is_over(void) {
    return now() >= end && __atomic_load_n(locks, __ATOMIC_SEQ_CST) >= 20 && __atomic_load_n(kills, __ATOMIC_SEQ_CST) >= 5;
}

static void die(const char *what, lf_folder *folder, lf_status status) {
    char why[2048] = "";
    lf_error_message(folder, why, sizeof why);
    if (status == LF_ERR_IO && getenv("RIVALS_BEAR_IO") != NULL)
        _exit(0);
    fprintf(stderr, "rivals: %s: %s: %s\n", what, lf_status_name(status), why);
    _exit(TROUBLE);
}

/* The kernel ends this process after this time, at any point. */
static void be_killed_after(long ms) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec time = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &time, NULL) != 0)
        _exit(TROUBLE);
}

static void compete(const char *path, uint32_t flags, const char *witness) {
    lf_folder *folder;
    lf_status status = lf_open(path, flags, &folder);
    if (status != LF_OK)
        die("lf_open", NULL, status);
    int fd = open(witness, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        _exit(TROUBLE);
    while (!is_over()) {
        status = random() % 2 ? lf_lock(folder) : lf_lock_wait(folder, 200);
        if (status == LF_BUSY || status == LF_TIMEOUT)
            continue;
        if (status != LF_OK)
            die("lock", folder, status);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            fprintf(stderr, "rivals: two were inside at once\n");
            _exit(VIOLATION);
        }
        __atomic_add_fetch(locks, 1, __ATOMIC_SEQ_CST);
        usleep((useconds_t)(random() % 500));
        if ((status = lf_holds(folder)) != LF_OK)
            die("lf_holds", folder, status);
        flock(fd, LOCK_UN);
        if ((status = lf_unlock(folder)) != LF_OK)
            die("lf_unlock", folder, status);
    }
    lf_close(folder);
    _exit(0);
}

int main(int count, char **arguments) {
    if (count < 5)
        return TROUBLE;
    uint32_t flags = (uint32_t)strtoul(arguments[1], NULL, 0);
    end = now() + atof(arguments[3]);
    int folders = count - 4, running = 0;
    locks = mmap(NULL, 2 * sizeof *locks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (locks == MAP_FAILED)
        return TROUBLE;
    kills = locks + 1;
    pid_t parent = getpid();
    for (unsigned started = 0; running > 0 || !is_over();) {
        while (running < PROCESSES && !is_over()) {
            pid_t pid = fork();
            if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                    _exit(TROUBLE);
                srandom((unsigned)getpid() * 31 + started);
                if (started > 0) /* the first process is not killed */
                    be_killed_after(10 + random() % 300);
                compete(arguments[4 + started % (unsigned)folders], flags, arguments[2]);
            }
            started++;
            running += pid > 0;
        }
        int status;
        if (wait(&status) < 0)
            return TROUBLE;
        running--;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
            ++*kills;
        else if (status != 0)
            return WIFEXITED(status) ? WEXITSTATUS(status) : TROUBLE; /* the other processes die with this one */
    }
    printf("%ld locks, %ld kills\n", *locks, *kills);
    return 0;
}
