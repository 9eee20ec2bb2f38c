/*
 * A puppet in C: a process that reads commands from its standard input, one per line. It answers each with one line on its
 * standard output: a status, and data. puppet_main.rs does the same in Rust. puppet.rs drives both.
 *
 * Words are separated by blanks, and bytes that are not letters, digits or one of "/._-" are written %XX. A handle is a
 * number, or "-" for NULL.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lockfolder.h"

enum { HANDLES = 256, JOBS = 32, WORDS = 8 };

static lf_folder *handles[HANDLES];

static struct job {
    pthread_t thread;
    char *line;
    char *answer;
} jobs[JOBS];

static void run(char *line, FILE *out);

/* ---- words ---- */

static void put(FILE *out, const char *text) {
    if (text == NULL || *text == '\0')
        fputs(text == NULL ? "%" : "%%", out); /* no text, and an empty one */
    for (; text != NULL && *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("/._-", c) != NULL)
            fputc(c, out);
        else
            fprintf(out, "%%%02x", c);
    }
}

static char *decode(char *word) {
    char *to = word;
    for (char *from = word; *from != '\0'; from++) {
        if (*from == '%' && from[1] != '\0' && from[2] != '\0') {
            char hex[3] = {from[1], from[2], '\0'};
            *to++ = (char)strtol(hex, NULL, 16);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return word;
}

static lf_folder **slot(const char *word) {
    int number = atoi(word);
    if (number < 0 || number >= HANDLES)
        abort();
    return &handles[number];
}

static lf_folder *handle(const char *word) { return strcmp(word, "-") == 0 ? NULL : *slot(word); }

static void status(FILE *out, lf_status status) { fputs(lf_status_name(status), out); }

/* Waits as an event loop does, if the environment says so. */
static lf_status wait_for(lf_folder *folder, long long ms) {
    if (getenv("LOCKFOLDER_PUPPET_LOOPS") == NULL)
        return lf_lock_wait(folder, ms);
    struct pollfd due = {.fd = lf_wait_fd(folder), .events = POLLIN};
    lf_status got = lf_wait_begin(folder, ms);
    while (got == LF_PENDING) {
        poll(&due, 1, -1);
        got = lf_wait_step(folder);
    }
    return got;
}

/* Prints the result of a call that is not the library's. */
static void done(FILE *out, int result) {
    if (result >= 0)
        fputs("LF_OK", out);
    else
        fprintf(out, "errno %d", errno);
}

/* ---- commands ---- */

static void do_bids(lf_folder *folder, FILE *out) {
    lf_bid_list *list = NULL;
    status(out, lf_bids(folder, &list));
    for (size_t i = 0; i < lf_bid_list_len(list); i++) {
        const lf_bid *bid = lf_bid_list_get(list, i);
        fputc(' ', out);
        put(out, bid->name);
        fprintf(out, ",%" PRId32 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",", bid->state, bid->pid, bid->created, bid->age_ms);
        put(out, bid->host);
        fputc(',', out);
        put(out, bid->command);
    }
    lf_bid_list_free(list);
}

static void do_error(const lf_folder *folder, FILE *out) {
    size_t length = lf_error_message(folder, NULL, 0), size;
    char *text = NULL;
    do { /* the call of another thread may fail meanwhile, with another reason */
        size = length + 1;
        text = realloc(text, size);
        if (text == NULL)
            abort();
        length = lf_error_message(folder, text, size);
    } while (length >= size);
    fputs("LF_OK ", out);
    put(out, text);
    free(text);
}

/* `message HANDLE SIZE`: the text in a buffer of that size, the returned length, and whether no byte past the buffer was changed. */
static void do_message(const lf_folder *folder, size_t size, FILE *out) {
    char *buffer = malloc(size + 64);
    memset(buffer, '#', size + 64);
    size_t length = lf_error_message(folder, buffer, size);
    size_t tail = size;
    while (tail < size + 64 && buffer[tail] == '#')
        tail++;
    fprintf(out, "LF_OK %zu %d ", length, tail == size + 64);
    put(out, size > 0 ? buffer : NULL);
    free(buffer);
}

/* `patient HANDLE MS`: waits, and tries again if a lock call of another thread is in the way. So a test can see that the wait has begun. */
static void do_patient(lf_folder *folder, int64_t timeout_ms, FILE *out) {
    lf_status got;
    do
        got = wait_for(folder, timeout_ms);
    while (got == LF_BUSY);
    status(out, got);
}

/*
 * `spin HANDLE TIMES WITNESS`: locks and unlocks TIMES times. While it holds, it makes a file and deletes it. That fails if
 * another process holds at the same time. Answers with the number of times that it had the lock.
 */
static void do_spin(lf_folder *folder, long times, const char *witness, FILE *out) {
    long had = 0;
    lf_status odd = LF_OK;
    while (times-- > 0) {
        lf_status status = lf_lock(folder);
        if (status == LF_OK) {
            int fd = *witness != '\0' ? open(witness, O_CREAT | O_EXCL | O_CLOEXEC, 0600) : 0;
            if (*witness != '\0' && (fd < 0 || close(fd) < 0 || unlink(witness) < 0))
                fprintf(out, "VIOLATION %s ", strerror(errno));
            had++;
            status = lf_unlock(folder);
        }
        if (status != LF_OK && status != LF_BUSY)
            odd = status;
    }
    fprintf(out, "%s %ld", lf_status_name(odd), had);
}

/*
 * `hog HANDLE TIMES MICROSECONDS`: has the lock TIMES times, for MICROSECONDS each, and never waits for it.
 * Answers with the number of refusals.
 */
static void do_hog(lf_folder *folder, long times, long microseconds, FILE *out) {
    const struct timespec work = {microseconds / 1000000, microseconds % 1000000 * 1000};
    long refused = 0;
    lf_status odd = LF_OK;
    while (times > 0 && odd == LF_OK) {
        lf_status status = lf_lock(folder);
        if (status == LF_OK) {
            nanosleep(&work, NULL);
            times--;
            odd = lf_unlock(folder);
        } else if (status == LF_BUSY) {
            refused++;
        } else {
            odd = status;
        }
    }
    fprintf(out, "%s %ld", lf_status_name(odd), refused);
}

static void do_nulls(FILE *out) {
    lf_folder *folder = (lf_folder *)&handles;
    bool in_use = true;
    size_t reaped = 7;
    uint64_t token = 7;
    int64_t left = 7;
    lf_bid_list *list = (lf_bid_list *)&handles;
    lf_close(NULL);
    lf_bid_list_free(NULL);
    const lf_status all[] = {
        lf_open(NULL, 0, &folder), lf_open("x", 0, NULL),        lf_lock(NULL),         lf_lock_wait(NULL, 0),
        lf_cancel(NULL),           lf_unlock(NULL),              lf_holds(NULL),        lf_in_use(NULL, &in_use),
        lf_in_use(NULL, NULL),     lf_reap_stale(NULL, &reaped), lf_bids(NULL, &list),  lf_bids(NULL, NULL),
        lf_fence(NULL, &token),    lf_fence(NULL, NULL),         lf_set_malformed_grace(NULL, 1),
        lf_set_slots(NULL, 2),     lf_set_lease(NULL, 5000),  lf_renew(NULL),               lf_valid_for(NULL, &left),
        lf_wait_begin(NULL, 0),    lf_wait_step(NULL),           lf_wait_end(NULL),
    };
    bool untouched = left == 7 && lf_lost_fd(NULL) == -1 && lf_wait_fd(NULL) == -1 && folder == NULL && list == NULL && in_use && reaped == 7 && token == 7;
    untouched = untouched && lf_bid_list_len(NULL) == 0 && lf_bid_list_get(NULL, 0) == NULL;
    fputs(untouched ? "LF_OK" : "touched", out);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        fprintf(out, " %s", lf_status_name(all[i]));
}

/* `out_nulls HANDLE`: a good handle and NULL for the result. */
static void do_out_nulls(lf_folder *folder, FILE *out) {
    fprintf(out, "LF_OK %s %s %s %s", lf_status_name(lf_in_use(folder, NULL)), lf_status_name(lf_bids(folder, NULL)),
            lf_status_name(lf_fence(folder, NULL)), lf_status_name(lf_reap_stale(folder, NULL)));
}

/* `is_lost HANDLE`: whether its descriptor says so. */
static void do_is_lost(lf_folder *folder, FILE *out) {
    struct pollfd lost = {.fd = lf_lost_fd(folder), .events = POLLIN};
    if (lost.fd < 0 || lost.fd != lf_lost_fd(folder))
        done(out, -1);
    else
        fprintf(out, "LF_OK %d", poll(&lost, 1, 0));
}

/* `is_due HANDLE`: whether a step of the wait is due. */
static void do_is_due(lf_folder *folder, FILE *out) {
    struct pollfd due = {.fd = lf_wait_fd(folder), .events = POLLIN};
    if (due.fd < 0 || due.fd != lf_wait_fd(folder))
        done(out, -1);
    else
        fprintf(out, "LF_OK %d", poll(&due, 1, 0));
}

/* The child answers too, on the FIFOs whose paths it was given. */
static void do_fork(const char *in, const char *answers, FILE *out) {
    pid_t pid = fork();
    if (pid == 0) {
        int from = open(in, O_RDONLY), to = open(answers, O_WRONLY);
        if (from < 0 || to < 0 || dup2(from, 0) < 0 || dup2(to, 1) < 0)
            _exit(99);
        close(from);
        close(to);
    }
    fprintf(out, "LF_OK %d", pid);
}

/* Starts a program that sleeps until it is killed. */
static void do_spawn(const char *how, FILE *out) {
    char *const argv[] = {"sleep", "600", NULL};
    pid_t pid = -1;
    if (strcmp(how, "vfork") == 0) {
        pid = vfork();
        if (pid == 0) {
            execvp(argv[0], argv);
            _exit(127);
        }
    } else if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0) {
        pid = -1;
    }
    fprintf(out, "LF_OK %d", pid);
}

/* `become USER [GROUP]`: without GROUP, the group has the number of the user. */
static void do_become(const char *user, const char *group, FILE *out) {
    uid_t uid = (uid_t)atoi(user);
    gid_t gid = (gid_t)atoi(*group != '\0' ? group : user);
    int result = setgroups(0, NULL);
    result = result < 0 ? result : setresgid(gid, gid, gid);
    done(out, result < 0 ? result : setresuid(uid, uid, uid));
}

/* ---- another place ---- */

/* `enter FILE`: the namespace that a file of /proc/PID/ns names. */
static void do_enter(const char *file, FILE *out) {
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    done(out, fd < 0 ? fd : setns(fd, 0));
    close(fd);
}

/* `shift_children SECONDS NANOSECONDS`: our children will be in a time namespace of their own. We are not. */
static void do_shift_children(const char *seconds, const char *nanos, FILE *out) {
    int result = unshare(0x80); /* CLONE_NEWTIME */
    FILE *offsets = result < 0 ? NULL : fopen("/proc/self/timens_offsets", "w");
    if (offsets != NULL && fprintf(offsets, "boottime %s %s\n", seconds, nanos) > 0 && fclose(offsets) == 0)
        fputs("LF_OK", out);
    else
        done(out, -1);
}

/* A sandbox in which kill(2) is EPERM. (Without the kernel's headers, which may be missing where the C library is musl.) */
static void do_no_kill(FILE *out) {
    struct { uint16_t code; uint8_t yes, no; uint32_t value; } filter[] = { /* struct sock_filter of linux/filter.h */
        {0x20, 0, 0, 0}, /* load the number of the call */
        {0x15, 0, 1, SYS_kill}, /* if it is this one ... */
        {0x06, 0, 0, 0x00050000 | EPERM}, /* ... an error, else ... */
        {0x06, 0, 0, 0x7fff0000}, /* ... the call */
    };
    struct { unsigned short length; void *filter; } program = {4, filter};
    int result = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    done(out, result < 0 ? result : prctl(PR_SET_SECCOMP, 2, &program)); /* SECCOMP_MODE_FILTER */
}

static void do_close_from(int first, FILE *out) {
    for (int fd = first; fd < 1024; fd++)
        close(fd);
    fputs("LF_OK", out);
}

/* `reuse FILE`: all descriptors from 3 on are closed, and each number is that of an open file or folder now. */
static void do_reuse(const char *path, FILE *out) {
    int file = open(path, O_RDWR | O_APPEND);
    if (file < 0)
        file = open(path, O_RDONLY);
    int result = file;
    for (int fd = 3; fd < 1024; fd++)
        if (result >= 0 && fd != file && fcntl(fd, F_GETFD) >= 0)
            result = dup2(file, fd);
    done(out, result < 0 ? -1 : 0);
}

/* ---- signals ---- */

static lf_folder *volatile cancelled;

static void on_alarm(int number) {
    (void)number;
    if (cancelled != NULL)
        lf_cancel(cancelled);
}

/* `alarm HANDLE FIRST_MS EACH_MS`: SIGALRM after FIRST_MS and then every EACH_MS. Its handler cancels HANDLE, or does nothing for "-". */
static void do_alarm(lf_folder *folder, int first_ms, int each_ms, FILE *out) {
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    struct itimerval timer = {.it_value = {.tv_usec = first_ms * 1000}, .it_interval = {.tv_usec = each_ms * 1000}};
    cancelled = folder;
    int result = sigaction(SIGALRM, &action, NULL);
    done(out, result < 0 ? result : setitimer(ITIMER_REAL, &timer, NULL));
}

/* ---- threads ---- */

static void *do_job(void *argument) {
    struct job *job = argument;
    size_t size;
    FILE *out = open_memstream(&job->answer, &size);
    run(job->line, out);
    fclose(out);
    return NULL;
}

static void do_start(int number, const char *line, FILE *out) {
    struct job *job = &jobs[number];
    job->line = strdup(line);
    done(out, -pthread_create(&job->thread, NULL, do_job, job));
}

static void do_join(int number, FILE *out) {
    struct job *job = &jobs[number];
    pthread_join(job->thread, NULL);
    fputs(job->answer, out);
    free(job->line);
    free(job->answer);
}

static void obey(void) {
    static char *line;
    static size_t size;
    for (;;) {
        clearerr(stdin);
        if (getline(&line, &size, stdin) <= 0) {
            if (ferror(stdin) && errno == EINTR) /* an alarm, while nothing was asked */
                continue;
            break;
        }
        line[strcspn(line, "\n")] = '\0';
        run(line, stdout);
        fputc('\n', stdout);
        fflush(stdout);
    }
    _exit(0);
}

static void *obey_on(void *unused) {
    (void)unused;
    obey();
    return NULL;
}

/* The main thread ends, and another thread goes on. */
static void do_end_main(FILE *out) {
    pthread_t other;
    fputs("LF_OK\n", out);
    fflush(out);
    pthread_create(&other, NULL, obey_on, NULL);
    pthread_exit(NULL);
}

static void run(char *line, FILE *out) {
    char *rest = line, *words[WORDS] = {"", "", "", "", "", "", "", ""};
    const char *name = words[0] = strsep(&rest, " ");
    if (strcmp(name, "start") == 0) { /* start JOB COMMAND... */
        char *number = strsep(&rest, " ");
        do_start(atoi(number), rest, out);
        return;
    }
    for (int i = 1; i < WORDS && rest != NULL; i++)
        words[i] = decode(strsep(&rest, " "));
    char *first = words[1], *second = words[2], *third = words[3];
    bool in_use = false;
    size_t reaped = 0;
    uint64_t token = 0;
    int64_t left = 0;

#define IS(command) else if (strcmp(name, command) == 0)
    if (strcmp(name, "open") == 0) /* open HANDLE FLAGS PATH */
        status(out, lf_open(third, (uint32_t)strtoul(second, NULL, 0), slot(first)));
    IS("close") { lf_close(handle(first)); *slot(first) = NULL; fputs("LF_OK", out); }
    IS("lock") status(out, lf_lock(handle(first)));
    IS("wait") status(out, wait_for(handle(first), strtoll(second, NULL, 10)));
    IS("begin") status(out, lf_wait_begin(handle(first), strtoll(second, NULL, 10)));
    IS("step") status(out, lf_wait_step(handle(first)));
    IS("end") status(out, lf_wait_end(handle(first)));
    IS("is_due") do_is_due(handle(first), out);
    IS("patient") do_patient(handle(first), strtoll(second, NULL, 10), out);
    IS("cancel") status(out, lf_cancel(handle(first)));
    IS("unlock") status(out, lf_unlock(handle(first)));
    IS("holds") status(out, lf_holds(handle(first)));
    IS("in_use") { status(out, lf_in_use(handle(first), &in_use)); fprintf(out, " %d", in_use); }
    IS("reap") { status(out, lf_reap_stale(handle(first), &reaped)); fprintf(out, " %zu", reaped); }
    IS("fence") { status(out, lf_fence(handle(first), &token)); fprintf(out, " %" PRIu64, token); }
    IS("grace") status(out, lf_set_malformed_grace(handle(first), (uint32_t)strtoul(second, NULL, 10)));
    IS("set_slots") status(out, lf_set_slots(handle(first), (uint32_t)strtoul(second, NULL, 10)));
    IS("set_lease") status(out, lf_set_lease(handle(first), (uint32_t)strtoul(second, NULL, 10)));
    IS("renew") status(out, lf_renew(handle(first)));
    IS("valid_for") { status(out, lf_valid_for(handle(first), &left)); fprintf(out, " %" PRId64, left); }
    IS("is_lost") do_is_lost(handle(first), out);
    IS("bids") do_bids(handle(first), out);
    IS("error") do_error(handle(first), out);
    IS("code") fprintf(out, "LF_OK %d", lf_error_code(handle(first)));
    IS("spin") do_spin(handle(first), strtol(second, NULL, 10), third, out);
    IS("hog") do_hog(handle(first), strtol(second, NULL, 10), strtol(third, NULL, 10), out);
    IS("message") do_message(handle(first), strtoul(second, NULL, 10), out);
    IS("nulls") do_nulls(out);
    IS("out_nulls") do_out_nulls(handle(first), out);
    IS("pid") fprintf(out, "LF_OK %d", getpid());
    IS("join") do_join(atoi(first), out);
    IS("fork") do_fork(first, second, out);
    IS("spawn") do_spawn(first, out);
    IS("become") do_become(first, second, out);
    IS("cd") done(out, chdir(first));
    IS("umask") { umask((mode_t)strtoul(first, NULL, 8)); fputs("LF_OK", out); }
    IS("alarm") do_alarm(handle(first), atoi(second), atoi(third), out);
    IS("end_main") do_end_main(out);
    IS("enter") do_enter(first, out);
    IS("shift_children") do_shift_children(first, second, out);
    IS("chroot") done(out, chroot(first) < 0 ? -1 : chdir("/"));
    IS("no_kill") do_no_kill(out);
    IS("close_from") do_close_from(atoi(first), out);
    IS("reuse") do_reuse(first, out);
    IS("exec") { execlp("sleep", "sleep", "600", (char *)NULL); done(out, -1); }
    else fprintf(out, "unknown command %s", name);
}

int main(void) { obey(); }
