/* Tests the calls: each status that a test can cause, and what is in the folder then. interface.c tests the interface itself.
 * C99, C11 and C++17.
 *
 *     contract FOLDER      FOLDER does not exist, and its parent does
 */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE 1

#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *in_folder(const char *name) {
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder_path, name);
    return path;
}

static void put(const char *name, const char *content) {
    FILE *file = fopen(in_folder(name), "w");
    CHECK(file != NULL);
    if (file != NULL) {
        CHECK(fputs(content, file) >= 0 && fclose(file) == 0);
    }
}

/* The name of the only bid in the folder, or NULL if there is none. */
static const char *only_bid(void) {
    static char name[256];
    int count = 0;
    struct dirent *entry;
    DIR *dir = opendir(folder_path);
    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0) {
            count++;
            memcpy(name, entry->d_name, length + 1);
        }
    }
    closedir(dir);
    CHECK(count <= 1);
    return count == 0 ? NULL : name;
}

/* The names of bids that this test makes itself. */
#define STALE_NAME "eeeeeeee-0000-4000-8000-00000000000a.json"
#define LIVE_NAME "eeeeeeee-0000-4000-8000-00000000000b.json"
#define MALFORMED_NAME "eeeeeeee-0000-4000-8000-00000000000c.json"

/* ---- opening ---- */

static void opening(void) {
    lf_folder *out = SET;
    struct stat status;
    uint32_t unknown;

    IS(lf_open("", LF_OPEN_DEFAULT, &out), LF_ERR_INVALID);
    CHECK(out == NULL);
    for (unknown = 16; unknown != 0; unknown <<= 1) {
        out = SET;
        IS(lf_open(folder_path, LF_OPEN_PRIVATE | unknown, &out), LF_ERR_INVALID);
        CHECK(out == NULL);
    }
    CHECK(stat(folder_path, &status) != 0); /* none of these calls made the folder */

    out = SET;
    IS(lf_open(folder_path, LF_OPEN_NO_CREATE, &out), LF_ERR_IO);
    CHECK(out == NULL && lf_error_code(NULL) == ENOENT);
    CHECK(says(NULL, folder_path) && says(NULL, strerror(ENOENT)));
    IS(lf_open(in_folder("below"), LF_OPEN_DEFAULT, &out), LF_ERR_IO); /* one level */
    CHECK(lf_error_code(NULL) == ENOENT && stat(folder_path, &status) != 0);

    IS(lf_open(folder_path, LF_OPEN_DEFAULT, &out), LF_OK);
    CHECK(stat(folder_path, &status) == 0 && S_ISDIR(status.st_mode));
    lf_close(out);
    IS(lf_open(folder_path, LF_OPEN_NO_CREATE | LF_OPEN_TRUST_FILESYSTEM, &out), LF_OK);
    lf_close(out);

    CHECK(chmod(folder_path, 0700) == 0);
    IS(lf_open(folder_path, LF_OPEN_PRIVATE, &out), LF_OK);
    lf_close(out);
    CHECK(chmod(folder_path, 0720) == 0);
    out = SET;
    IS(lf_open(folder_path, LF_OPEN_PRIVATE, &out), LF_ERR_UNSAFE);
    CHECK(out == NULL && says(NULL, folder_path));
    CHECK(chmod(folder_path, 0702) == 0);
    IS(lf_open(folder_path, LF_OPEN_PRIVATE, &out), LF_ERR_UNSAFE);
    CHECK(chmod(folder_path, 0755) == 0);

    /* It is not known that a listing of /proc shows every bid. */
    out = SET;
    IS(lf_open("/proc", LF_OPEN_NO_CREATE, &out), LF_ERR_UNSUPPORTED);
    CHECK(out == NULL && says(NULL, "/proc") && says(NULL, "LF_OPEN_TRUST_FILESYSTEM"));
    IS(lf_open("/proc", LF_OPEN_NO_CREATE | LF_OPEN_TRUST_FILESYSTEM, &out), LF_OK);
    lf_close(out);
}

/* ---- holding ---- */

static void holding(void) {
    lf_folder *one = opened(), *other = opened();
    uint64_t first = 0, second = 0;
    bool in_use = true;
    char pid[32];

    CHECK(lf_error_message(one, NULL, 0) == 0 && lf_error_code(one) == 0); /* nothing has failed yet */
    IS(lf_unlock(one), LF_ERR_NOT_HELD);
    IS(lf_holds(one), LF_ERR_NOT_HELD);
    IS(lf_fence(one, &first), LF_ERR_NOT_HELD);
    IS(lf_cancel(one), LF_OK); /* without a wait it does nothing, now and later */

    IS(lf_lock(one), LF_OK);
    CHECK(only_bid() != NULL && strlen(only_bid()) == 36 + 5 && only_bid()[14] == '7');
    IS(lf_holds(one), LF_OK);
    IS(lf_lock(one), LF_ERR_ALREADY_HELD);
    IS(lf_lock_wait(one, 0), LF_ERR_ALREADY_HELD);
    IS(lf_lock_wait(one, -1), LF_ERR_ALREADY_HELD);
    IS(lf_holds(one), LF_OK);
    IS(lf_in_use(one, &in_use), LF_OK);
    CHECK(!in_use); /* in_use asks for another claimant */
    IS(lf_fence(one, &first), LF_OK);

    IS(lf_lock(other), LF_BUSY);
    snprintf(pid, sizeof pid, "PID %ld", (long)getpid());
    CHECK(says(other, folder_path) && says(other, pid) && says(other, only_bid()) && lf_error_code(other) == 0);
    IS(lf_lock_wait(other, 0), LF_TIMEOUT);
    CHECK(says(other, pid));
    IS(lf_lock_wait(other, 20), LF_TIMEOUT);
    IS(lf_unlock(other), LF_ERR_NOT_HELD);
    IS(lf_in_use(other, &in_use), LF_OK);
    CHECK(in_use && only_bid() != NULL);

    IS(lf_unlock(one), LF_OK);
    CHECK(only_bid() == NULL);
    IS(lf_unlock(one), LF_ERR_NOT_HELD);
    IS(lf_lock_wait(other, -1), LF_OK);
    IS(lf_fence(other, &second), LF_OK);
    CHECK(first >= 1 && second > first);
    IS(lf_unlock(other), LF_OK);
    IS(lf_lock_wait(other, 0), LF_OK);

    /* Loss. */
    CHECK(unlink(in_folder(only_bid())) == 0);
    IS(lf_holds(other), LF_ERR_LOST);
    IS(lf_unlock(other), LF_ERR_LOST);
    CHECK(says(other, folder_path));
    IS(lf_unlock(other), LF_ERR_NOT_HELD);
    IS(lf_lock(other), LF_OK);
    lf_close(other); /* unlocks */
    CHECK(only_bid() == NULL);
    lf_close(one);
}

/* ---- cancelling, from a signal handler ---- */

static lf_folder *waiting;

static void on_alarm(int number) {
    int before = errno;
    (void)number;
    errno = 4242;
    if (lf_cancel(waiting) != LF_OK || errno != 4242) {
        _exit(99);
    }
    errno = before;
}

static void cancelling(void) {
    lf_folder *holder = opened();
    struct sigaction action;
    struct itimerval soon, off;
    memset(&action, 0, sizeof action);
    memset(&soon, 0, sizeof soon);
    memset(&off, 0, sizeof off);
    waiting = opened();
    IS(lf_lock(holder), LF_OK);
    action.sa_handler = on_alarm; /* no SA_RESTART: every call can be interrupted */
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    /* Repeated: a cancellation that comes before the wait begins does nothing. */
    soon.it_value.tv_usec = soon.it_interval.tv_usec = 20000;
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    IS(lf_lock_wait(waiting, -1), LF_CANCELLED);
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    action.sa_handler = SIG_IGN; /* valgrind may deliver a signal late, and its default action would end this process */
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    IS(lf_lock_wait(waiting, 5), LF_TIMEOUT); /* a later wait is not affected */
    IS(lf_unlock(holder), LF_OK);
    IS(lf_lock(waiting), LF_OK);
    lf_close(waiting);
    lf_close(holder);
}

/* ---- fork ---- */

static void in_a_child(lf_folder *folder) {
    lf_folder *own;
    lf_bid_list *list = (lf_bid_list *)SET;
    uint64_t token;
    size_t reaped;
    bool in_use;
    IS(lf_lock(folder), LF_ERR_FORKED);
    IS(lf_lock_wait(folder, -1), LF_ERR_FORKED);
    IS(lf_cancel(folder), LF_ERR_FORKED);
    IS(lf_unlock(folder), LF_ERR_FORKED);
    IS(lf_holds(folder), LF_ERR_FORKED);
    IS(lf_in_use(folder, &in_use), LF_ERR_FORKED);
    IS(lf_reap_stale(folder, &reaped), LF_ERR_FORKED);
    IS(lf_bids(folder, &list), LF_ERR_FORKED);
    CHECK(list == NULL);
    IS(lf_fence(folder, &token), LF_ERR_FORKED);
    IS(lf_set_malformed_grace(folder, 1), LF_ERR_FORKED);
    CHECK(says(folder, "parent"));
    own = opened();
    IS(lf_lock(own), LF_BUSY);
    lf_close(own);
    lf_close(folder);
    CHECK(only_bid() != NULL); /* the parent's */
}

static void forking(void) {
    lf_folder *folder = opened();
    int status = 0;
    pid_t child;
    IS(lf_lock(folder), LF_OK);
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        in_a_child(folder);
        exit(0); /* not _exit: the functions of atexit must run too */
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    IS(lf_holds(folder), LF_OK);
    IS(lf_unlock(folder), LF_OK);
    lf_close(folder);
}

/* ---- the list of bids ---- */

/* An assignment that is not of the same type does not compile. */
static void fields_of_a_bid(const lf_bid *bid) {
    const char *const *name = &bid->name;
    const char *const *host = &bid->host;
    const char *const *command = &bid->command;
    const int64_t *pid = &bid->pid;
    const int64_t *created = &bid->created;
    const int64_t *age_ms = &bid->age_ms;
    const lf_bid_state *state = &bid->state;
    CHECK(name && host && command && pid && created && age_ms && state);
    CHECK(*name != NULL && *age_ms >= 0 && *state >= LF_BID_OWN && *state <= LF_BID_MALFORMED);
}

static const lf_bid *named(const lf_bid_list *list, const char *name) {
    size_t i;
    for (i = 0; i < lf_bid_list_len(list); i++) {
        if (strcmp(lf_bid_list_get(list, i)->name, name) == 0) {
            return lf_bid_list_get(list, i);
        }
    }
    return NULL;
}

/* The PID of a process that has ended and was reaped. */
static long ended(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl("/bin/true", "true", (char *)NULL); /* not exit: the child has freed nothing, and valgrind would report that */
        _exit(1);
    }
    CHECK(waitpid(child, NULL, 0) == child);
    return (long)child;
}

static void listing(void) {
    lf_folder *holder = opened(), *other = opened();
    lf_bid_list *list = NULL;
    const lf_bid *bid;
    struct timespec moment = {0, 50 * 1000 * 1000};
    char text[200], host[256], own[256];
    size_t i, reaped = 0;
    long dead = ended();
    bool in_use = false;

    IS(lf_bids(holder, &list), LF_OK);
    CHECK(list != NULL && lf_bid_list_len(list) == 0 && lf_bid_list_get(list, 0) == NULL);
    lf_bid_list_free(list);

    IS(lf_lock(holder), LF_OK);
    snprintf(own, sizeof own, "%s", only_bid());
    snprintf(text, sizeof text, "{\"PID\": %ld, \"CREATED\": 1000000000}", dead);
    put(STALE_NAME, text);
    snprintf(text, sizeof text, "{\"PID\": %ld}", (long)getppid());
    put(LIVE_NAME, text);
    put(MALFORMED_NAME, "{\"PID\": ");
    put("note.txt", "not a bid");

    IS(lf_bids(other, &list), LF_OK);
    CHECK(lf_bid_list_len(list) == 4);
    for (i = 0; i < 4; i++) {
        fields_of_a_bid(lf_bid_list_get(list, i));
    }
    CHECK(lf_bid_list_get(list, 4) == NULL && lf_bid_list_get(list, (size_t)-1) == NULL);
    CHECK(gethostname(host, sizeof host) == 0);
    bid = named(list, own);
    CHECK(bid != NULL && bid->state == LF_BID_LIVE && bid->pid == (int64_t)getpid());
    CHECK(bid->host != NULL && strcmp(bid->host, host) == 0 && bid->command != NULL && strlen(bid->command) > 0);
    CHECK(bid->created > 1000000000 && bid->created <= (int64_t)time(NULL) + 2);
    bid = named(list, STALE_NAME);
    CHECK(bid != NULL && bid->state == LF_BID_STALE && bid->pid == dead && bid->created == 1000000000);
    CHECK(bid->host == NULL && bid->command == NULL);
    bid = named(list, LIVE_NAME);
    CHECK(bid != NULL && bid->state == LF_BID_LIVE && bid->pid == (int64_t)getppid() && bid->created == -1);
    bid = named(list, MALFORMED_NAME);
    CHECK(bid != NULL && bid->state == LF_BID_MALFORMED && bid->created == -1);
    CHECK(named(list, "note.txt") == NULL);
    lf_bid_list_free(list);

    IS(lf_bids(holder, &list), LF_OK);
    CHECK(named(list, own) != NULL && named(list, own)->state == LF_BID_OWN);
    lf_bid_list_free(list);
    IS(lf_in_use(holder, &in_use), LF_OK);
    CHECK(in_use); /* by LIVE_NAME */

    IS(lf_reap_stale(other, &reaped), LF_OK);
    CHECK(reaped == 1);
    CHECK(access(in_folder(STALE_NAME), F_OK) != 0 && access(in_folder(MALFORMED_NAME), F_OK) == 0);
    CHECK(unlink(in_folder(LIVE_NAME)) == 0);
    IS(lf_unlock(holder), LF_OK);

    /* A malformed bid counts as live until its grace is over. */
    IS(lf_lock(other), LF_BUSY);
    IS(lf_set_malformed_grace(other, 3600 * 1000), LF_OK);
    IS(lf_lock(other), LF_BUSY);
    nanosleep(&moment, NULL);
    IS(lf_set_malformed_grace(other, 1), LF_OK);
    IS(lf_lock(other), LF_OK);
    CHECK(access(in_folder(MALFORMED_NAME), F_OK) != 0 && access(in_folder("note.txt"), F_OK) == 0);
    CHECK(unlink(in_folder("note.txt")) == 0);
    lf_close(holder);
    lf_close(other);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    folder_path = arguments[1];
    opening();
    holding();
    cancelling();
    forking();
    listing();
    puts("the contract is kept");
    return 0;
}
