/* Threads, forked children and signals, all at once, on one lock folder.
 *
 *     stress FOLDER ROUNDS
 *
 * - THREADS threads and the same number of forked children have a handle each, and take the lock ROUNDS times each. A holder writes
 *   its name into shared memory, and checks that it is still there when it leaves.
 * - Two threads share one handle. LF_BUSY and LF_ERR_ALREADY_HELD are the only refusals that they may get.
 * - A timer interrupts the threads a thousand times a second, and its handler cancels a wait.
 * - A thread forks while other threads hold locks or wait. The child gets LF_ERR_FORKED, and closes the handles that it inherited.
 */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE 1

#include <lockfolder.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, FORKS = 10 };

/* Shared by all processes. */
struct shared {
    atomic_long inside;     /* the name of the holder; 0: none */
    atomic_long count;      /* the number of locks */
    atomic_uint_least64_t token; /* the last fencing token */
    long plain;             /* equals `count`, unless two are inside at once */
};

static struct shared *shared;
static const char *path;
static long rounds;
static _Atomic(lf_folder *) cancellable;
static atomic_long cancels;

static void die(const char *what, lf_status status, const lf_folder *folder) {
    char message[1024] = "";
    lf_error_message(folder, message, sizeof message);
    fprintf(stderr, "stress: PID %ld: %s: %s: %s\n", (long)getpid(), what, lf_status_name(status), message);
    abort();
}

static void on_timer(int number) {
    (void)number;
    int before = errno;
    lf_folder *folder = atomic_load(&cancellable);
    if (folder != NULL) {
        lf_cancel(folder); /* LF_ERR_FORKED in a child */
    }
    errno = before;
}

static void inside(lf_folder *folder, long name) {
    long nobody = 0;
    if (!atomic_compare_exchange_strong(&shared->inside, &nobody, name)) {
        fprintf(stderr, "stress: %ld came in while %ld was inside\n", name, nobody);
        abort();
    }
    shared->plain++;
    atomic_fetch_add(&shared->count, 1);
    if (atomic_load(&shared->count) % 16 == 0) {
        uint64_t token = 0;
        lf_status status = lf_fence(folder, &token);
        if (status != LF_OK) {
            die("lf_fence", status, folder);
        }
        if (token <= atomic_exchange(&shared->token, token)) {
            die("a fencing token that does not grow", status, folder);
        }
    }
    if (lf_holds(folder) != LF_OK) {
        die("lf_holds", lf_holds(folder), folder);
    }
    if (!atomic_compare_exchange_strong(&shared->inside, &name, 0)) {
        fprintf(stderr, "stress: somebody came in\n");
        abort();
    }
    lf_status status = lf_unlock(folder);
    if (status != LF_OK) {
        die("lf_unlock", status, folder);
    }
}

static lf_folder *opened(void) {
    lf_folder *folder;
    lf_status status = lf_open(path, LF_OPEN_DEFAULT, &folder);
    if (status != LF_OK) {
        die("lf_open", status, NULL);
    }
    return folder;
}

/* Takes the lock in each possible way, in turn. */
static lf_status ask(lf_folder *folder, long round) {
    switch (round % 3) {
    case 0:
        return lf_lock(folder);
    case 1:
        return lf_lock_wait(folder, 2);
    default:
        return lf_lock_wait(folder, -1);
    }
}

static void claim(lf_folder *folder, long name) {
    long done = 0, round = 0;
    while (done < rounds) {
        lf_status status = ask(folder, round++);
        if (status == LF_OK) {
            inside(folder, name);
            done++;
        } else if (status != LF_BUSY && status != LF_TIMEOUT && status != LF_CANCELLED) {
            die("asking for the lock", status, folder);
        }
    }
}

static void *thread_with_its_own_handle(void *number) {
    lf_folder *folder = opened();
    claim(folder, (long)getpid() * 100 + (long)(intptr_t)number);
    lf_close(folder);
    return NULL;
}

/* Two threads share this handle, and the timer cancels its waits. Each thread remembers whether it has locked. */
static void *thread_with_a_shared_handle(void *number) {
    lf_folder *folder = atomic_load(&cancellable);
    long name = (long)getpid() * 100 + (long)(intptr_t)number, done = 0, round = 0;
    while (done < rounds) {
        lf_status status = ask(folder, round++);
        switch (status) {
        case LF_OK:
            inside(folder, name);
            done++;
            break;
        case LF_CANCELLED:
            atomic_fetch_add(&cancels, 1);
            break;
        case LF_BUSY:
        case LF_TIMEOUT:
        case LF_ERR_ALREADY_HELD:
            break;
        default:
            die("asking for the lock with a shared handle", status, folder);
        }
    }
    return NULL;
}

static void expect_success(pid_t child) {
    int status;
    pid_t ended;
    while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
    }
    if (ended != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "stress: child %ld ended with %#x\n", (long)child, (unsigned)status);
        abort();
    }
}

/* Forks while other threads are inside of calls. */
static void *thread_that_forks(void *unused) {
    (void)unused;
    lf_folder *folder = opened();
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            lf_folder *busy = atomic_load(&cancellable);
            bool forked = lf_lock_wait(folder, -1) == LF_ERR_FORKED && lf_unlock(busy) == LF_ERR_FORKED &&
                          lf_cancel(busy) == LF_ERR_FORKED && lf_lock(busy) == LF_ERR_FORKED;
            atomic_store(&cancellable, NULL);
            lf_close(busy);
            lf_close(folder);
            /* Not exit: a checker of leaks would report memory of threads that do not exist in the child. */
            execl("/bin/sh", "sh", "-c", forked ? "exit 0" : "exit 1", (char *)NULL);
            abort();
        }
        expect_success(child);
    }
    lf_close(folder);
    return NULL;
}

static void start_timer(void) {
    struct sigaction action;
    struct itimerval often;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_timer; /* no SA_RESTART */
    sigaction(SIGALRM, &action, NULL);
    often.it_interval.tv_sec = often.it_value.tv_sec = 0;
    often.it_interval.tv_usec = often.it_value.tv_usec = 1000;
    setitimer(ITIMER_REAL, &often, NULL);
}

static void stop_timer(void) {
    struct itimerval off;
    memset(&off, 0, sizeof off);
    setitimer(ITIMER_REAL, &off, NULL);
}

int main(int count, char **arguments) {
    pid_t children[THREADS];
    pthread_t threads[THREADS + 3];
    if (count != 3) {
        return 2;
    }
    path = arguments[1];
    rounds = atol(arguments[2]);
    shared = (struct shared *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return 2;
    }
    for (long i = 0; i < THREADS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            start_timer(); /* it interrupts; no wait is there to cancel */
            thread_with_its_own_handle((void *)(intptr_t)i);
            stop_timer();
            exit(0);
        }
    }
    lf_folder *both = opened();
    atomic_store(&cancellable, both);
    start_timer();
    for (long i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, thread_with_its_own_handle, (void *)(intptr_t)(10 + i));
    }
    pthread_create(&threads[THREADS], NULL, thread_with_a_shared_handle, (void *)(intptr_t)20);
    pthread_create(&threads[THREADS + 1], NULL, thread_with_a_shared_handle, (void *)(intptr_t)21);
    pthread_create(&threads[THREADS + 2], NULL, thread_that_forks, NULL);
    for (int i = 0; i < THREADS + 3; i++) {
        pthread_join(threads[i], NULL);
    }
    stop_timer();
    atomic_store(&cancellable, NULL);
    for (int i = 0; i < THREADS; i++) {
        expect_success(children[i]);
    }
    lf_close(both);
    long expected = rounds * (THREADS + THREADS + 2);
    if (atomic_load(&shared->count) != expected || shared->plain != expected) {
        fprintf(stderr, "stress: %ld counted, %ld seen, not %ld\n", shared->plain, atomic_load(&shared->count), expected);
        return 1;
    }
    printf("%ld locks, %ld waits cancelled; no two were inside at once\n", expected, atomic_load(&cancels));
    return 0;
}
