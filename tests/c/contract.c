/* What is promised of the C interface, asked of the header and the library: every name, value and type, every
 * NULL, every status that can be brought about. C99, C11 and C++17.
 *
 *     contract FOLDER      FOLDER is missing, its parent is not
 */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE 1

#include <lockfolder.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : failed(#what, __LINE__))
#define IS(call, status) is((call), (status), #call, __LINE__)

static void failed(const char *what, int line) {
    fprintf(stderr, "contract.c:%d: not so: %s\n", line, what);
    exit(1);
}

static void is(lf_status got, lf_status expected, const char *call, int line) {
    if (got != expected) {
        fprintf(stderr, "contract.c:%d: %s is %s, not %s\n", line, call, lf_status_name(got), lf_status_name(expected));
        exit(1);
    }
}

/* ---- values: known to the compiler ---- */

#define STATIC(name, what) typedef char static_assertion_##name[(what) ? 1 : -1]

STATIC(ok, LF_OK == 0);
STATIC(busy, LF_BUSY == 1);
STATIC(timeout, LF_TIMEOUT == 2);
STATIC(cancelled, LF_CANCELLED == 3);
STATIC(invalid, LF_ERR_INVALID == -1);
STATIC(not_held, LF_ERR_NOT_HELD == -2);
STATIC(already_held, LF_ERR_ALREADY_HELD == -3);
STATIC(lost, LF_ERR_LOST == -4);
STATIC(forked, LF_ERR_FORKED == -5);
STATIC(io, LF_ERR_IO == -6);
STATIC(unsafe, LF_ERR_UNSAFE == -7);
STATIC(unsupported, LF_ERR_UNSUPPORTED == -8);
STATIC(internal, LF_ERR_INTERNAL == -9);
STATIC(open_default, LF_OPEN_DEFAULT == 0);
STATIC(open_no_create, LF_OPEN_NO_CREATE == 1);
STATIC(open_private, LF_OPEN_PRIVATE == 2);
STATIC(open_trust, LF_OPEN_TRUST_FILESYSTEM == 4);
STATIC(bid_own, LF_BID_OWN == 0);
STATIC(bid_live, LF_BID_LIVE == 1);
STATIC(bid_stale, LF_BID_STALE == 2);
STATIC(bid_unknown, LF_BID_UNKNOWN == 3);
STATIC(bid_malformed, LF_BID_MALFORMED == 4);
STATIC(version, LF_VERSION_MAJOR >= 0 && LF_VERSION_MINOR >= 0 && LF_VERSION_PATCH >= 0);

/* They can be used where only a literal can, and the preprocessor knows them. */
#if LF_ERR_INTERNAL != -9 || LF_BUSY != 1 || LF_BID_MALFORMED != 4 || LF_OPEN_TRUST_FILESYSTEM != 4 || LF_VERSION_MAJOR < 0
#error "constants are not literals"
#endif

static const struct {
    lf_status status;
    const char *name;
} statuses[] = {
    {LF_OK, "LF_OK"},
    {LF_BUSY, "LF_BUSY"},
    {LF_TIMEOUT, "LF_TIMEOUT"},
    {LF_CANCELLED, "LF_CANCELLED"},
    {LF_ERR_INVALID, "LF_ERR_INVALID"},
    {LF_ERR_NOT_HELD, "LF_ERR_NOT_HELD"},
    {LF_ERR_ALREADY_HELD, "LF_ERR_ALREADY_HELD"},
    {LF_ERR_LOST, "LF_ERR_LOST"},
    {LF_ERR_FORKED, "LF_ERR_FORKED"},
    {LF_ERR_IO, "LF_ERR_IO"},
    {LF_ERR_UNSAFE, "LF_ERR_UNSAFE"},
    {LF_ERR_UNSUPPORTED, "LF_ERR_UNSUPPORTED"},
    {LF_ERR_INTERNAL, "LF_ERR_INTERNAL"},
    {4, "LF_UNKNOWN"},
    {-10, "LF_UNKNOWN"},
    {INT32_MAX, "LF_UNKNOWN"},
    {INT32_MIN, "LF_UNKNOWN"},
};

static void names_and_version(void) {
    char version[64];
    size_t i;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        CHECK(strcmp(lf_status_name(statuses[i].status), statuses[i].name) == 0);
    }
    snprintf(version, sizeof version, "%d.%d.%d", LF_VERSION_MAJOR, LF_VERSION_MINOR, LF_VERSION_PATCH);
    CHECK(strcmp(lf_version(), version) == 0);
}

/* ---- types: an assignment that is not of the same type does not compile ---- */

static void signatures(void) {
    lf_status (*open_)(const char *, uint32_t, lf_folder **) = lf_open;
    void (*close_)(lf_folder *) = lf_close;
    lf_status (*lock)(lf_folder *) = lf_lock;
    lf_status (*lock_wait)(lf_folder *, int64_t) = lf_lock_wait;
    lf_status (*cancel)(lf_folder *) = lf_cancel;
    lf_status (*unlock)(lf_folder *) = lf_unlock;
    lf_status (*holds)(lf_folder *) = lf_holds;
    lf_status (*in_use)(lf_folder *, bool *) = lf_in_use;
    lf_status (*reap_stale)(lf_folder *, size_t *) = lf_reap_stale;
    lf_status (*bids)(lf_folder *, lf_bid_list **) = lf_bids;
    size_t (*len)(const lf_bid_list *) = lf_bid_list_len;
    const lf_bid *(*get)(const lf_bid_list *, size_t) = lf_bid_list_get;
    void (*list_free)(lf_bid_list *) = lf_bid_list_free;
    lf_status (*fence)(lf_folder *, uint64_t *) = lf_fence;
    lf_status (*grace)(lf_folder *, uint32_t) = lf_set_malformed_grace;
    const char *(*status_name)(lf_status) = lf_status_name;
    size_t (*error_message)(const lf_folder *, char *, size_t) = lf_error_message;
    int (*error_code)(const lf_folder *) = lf_error_code;
    const char *(*version)(void) = lf_version;
    lf_status status = 0;
    int32_t *is_int32 = &status;
    CHECK(open_ && close_ && lock && lock_wait && cancel && unlock && holds && in_use && reap_stale && bids && len && get);
    CHECK(list_free && fence && grace && status_name && error_message && error_code && version && is_int32);
}

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

/* ---- helpers ---- */

static const char *folder_path;

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

/* The name of the only bid in the folder; NULL if there is none. */
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

static lf_folder *opened(void) {
    lf_folder *folder = NULL;
    IS(lf_open(folder_path, LF_OPEN_DEFAULT, &folder), LF_OK);
    CHECK(folder != NULL);
    return folder;
}

static bool says(const lf_folder *folder, const char *text) {
    char message[2048];
    size_t length = lf_error_message(folder, message, sizeof message);
    CHECK(length < sizeof message && length == strlen(message));
    if (strstr(message, text) == NULL) {
        fprintf(stderr, "the message is: %s\n", message);
        return false;
    }
    return true;
}

static lf_folder *const SET = (lf_folder *)&folder_path; /* neither NULL nor a handle, to see that it is overwritten */

/* ---- pointers ---- */

static void null_is_checked(void) {
    lf_folder *out = SET, *folder;
    lf_bid_list *list = (lf_bid_list *)SET;
    uint64_t token = 77;
    size_t reaped = 77;
    bool in_use = true;

    IS(lf_open(NULL, LF_OPEN_DEFAULT, &out), LF_ERR_INVALID);
    CHECK(out == NULL && lf_error_message(NULL, NULL, 0) > 0);
    IS(lf_open(folder_path, LF_OPEN_DEFAULT, NULL), LF_ERR_INVALID);
    IS(lf_open(NULL, LF_OPEN_DEFAULT, NULL), LF_ERR_INVALID);
    lf_close(NULL);
    IS(lf_lock(NULL), LF_ERR_INVALID);
    IS(lf_lock_wait(NULL, 0), LF_ERR_INVALID);
    IS(lf_lock_wait(NULL, -1), LF_ERR_INVALID);
    IS(lf_cancel(NULL), LF_ERR_INVALID);
    IS(lf_unlock(NULL), LF_ERR_INVALID);
    IS(lf_holds(NULL), LF_ERR_INVALID);
    IS(lf_in_use(NULL, &in_use), LF_ERR_INVALID);
    IS(lf_in_use(NULL, NULL), LF_ERR_INVALID);
    IS(lf_reap_stale(NULL, &reaped), LF_ERR_INVALID);
    IS(lf_reap_stale(NULL, NULL), LF_ERR_INVALID);
    IS(lf_bids(NULL, &list), LF_ERR_INVALID);
    CHECK(list == NULL);
    IS(lf_bids(NULL, NULL), LF_ERR_INVALID);
    CHECK(lf_bid_list_len(NULL) == 0);
    CHECK(lf_bid_list_get(NULL, 0) == NULL);
    lf_bid_list_free(NULL);
    IS(lf_fence(NULL, &token), LF_ERR_INVALID);
    IS(lf_fence(NULL, NULL), LF_ERR_INVALID);
    IS(lf_set_malformed_grace(NULL, 1), LF_ERR_INVALID);
    CHECK(lf_error_code(NULL) == 0);

    folder = opened();
    IS(lf_in_use(folder, NULL), LF_ERR_INVALID);
    IS(lf_bids(folder, NULL), LF_ERR_INVALID);
    IS(lf_reap_stale(folder, NULL), LF_OK);
    IS(lf_lock(folder), LF_OK);
    IS(lf_fence(folder, NULL), LF_ERR_INVALID);
    CHECK(says(folder, "NULL") && lf_error_code(folder) == 0);
    CHECK(lf_error_message(folder, NULL, 0) > 0);
    CHECK(lf_error_message(folder, NULL, 100) > 0);
    lf_close(folder);
}

/* ---- opening ---- */

static void opening(void) {
    lf_folder *out = SET;
    struct stat status;
    uint32_t unknown;

    IS(lf_open("", LF_OPEN_DEFAULT, &out), LF_ERR_INVALID);
    CHECK(out == NULL);
    for (unknown = 8; unknown != 0; unknown <<= 1) {
        out = SET;
        IS(lf_open(folder_path, LF_OPEN_PRIVATE | unknown, &out), LF_ERR_INVALID);
        CHECK(out == NULL);
    }
    CHECK(stat(folder_path, &status) != 0); /* none of these made the folder */

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

    /* Nobody has shown that a listing of /proc shows what it must. */
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
    IS(lf_cancel(one), LF_OK); /* no wait: nothing happens, not later either */

    IS(lf_lock(one), LF_OK);
    CHECK(only_bid() != NULL && strlen(only_bid()) == 36 + 5 && only_bid()[14] == '7');
    IS(lf_holds(one), LF_OK);
    IS(lf_lock(one), LF_ERR_ALREADY_HELD);
    IS(lf_lock_wait(one, 0), LF_ERR_ALREADY_HELD);
    IS(lf_lock_wait(one, -1), LF_ERR_ALREADY_HELD);
    IS(lf_holds(one), LF_OK);
    IS(lf_in_use(one, &in_use), LF_OK);
    CHECK(!in_use); /* by another claimant */
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
    struct sigaction action, before;
    struct itimerval soon, off;
    memset(&action, 0, sizeof action);
    memset(&soon, 0, sizeof soon);
    memset(&off, 0, sizeof off);
    waiting = opened();
    IS(lf_lock(holder), LF_OK);
    action.sa_handler = on_alarm; /* no SA_RESTART: every call can be interrupted */
    CHECK(sigaction(SIGALRM, &action, &before) == 0);
    /* Again and again: the first may come before the wait has begun, and then does nothing. */
    soon.it_value.tv_usec = soon.it_interval.tv_usec = 20000;
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    IS(lf_lock_wait(waiting, -1), LF_CANCELLED);
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    CHECK(sigaction(SIGALRM, &before, NULL) == 0);
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
        exit(0); /* not _exit: whatever would run at exit runs */
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    IS(lf_holds(folder), LF_OK);
    IS(lf_unlock(folder), LF_OK);
    lf_close(folder);
}

/* ---- the list of bids ---- */

static const lf_bid *named(const lf_bid_list *list, const char *name) {
    size_t i;
    for (i = 0; i < lf_bid_list_len(list); i++) {
        if (strcmp(lf_bid_list_get(list, i)->name, name) == 0) {
            return lf_bid_list_get(list, i);
        }
    }
    return NULL;
}

/* The PID of a process that has ended and was waited for. */
static long ended(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl("/bin/true", "true", (char *)NULL); /* not by exit: nothing here is freed yet */
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
    put("stale.json", text);
    snprintf(text, sizeof text, "{\"PID\": %ld}", (long)getppid());
    put("live.json", text);
    put("malformed.json", "{\"PID\": ");
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
    bid = named(list, "stale.json");
    CHECK(bid != NULL && bid->state == LF_BID_STALE && bid->pid == dead && bid->created == 1000000000);
    CHECK(bid->host == NULL && bid->command == NULL);
    bid = named(list, "live.json");
    CHECK(bid != NULL && bid->state == LF_BID_LIVE && bid->pid == (int64_t)getppid() && bid->created == -1);
    bid = named(list, "malformed.json");
    CHECK(bid != NULL && bid->state == LF_BID_MALFORMED && bid->created == -1);
    CHECK(named(list, "note.txt") == NULL);
    lf_bid_list_free(list);

    IS(lf_bids(holder, &list), LF_OK);
    CHECK(named(list, own) != NULL && named(list, own)->state == LF_BID_OWN);
    lf_bid_list_free(list);
    IS(lf_in_use(holder, &in_use), LF_OK);
    CHECK(in_use); /* live.json */

    IS(lf_reap_stale(other, &reaped), LF_OK);
    CHECK(reaped == 1);
    CHECK(access(in_folder("stale.json"), F_OK) != 0 && access(in_folder("malformed.json"), F_OK) == 0);
    CHECK(unlink(in_folder("live.json")) == 0);
    IS(lf_unlock(holder), LF_OK);

    /* A malformed bid counts as live until its grace is over. */
    IS(lf_lock(other), LF_BUSY);
    IS(lf_set_malformed_grace(other, 3600 * 1000), LF_OK);
    IS(lf_lock(other), LF_BUSY);
    nanosleep(&moment, NULL);
    IS(lf_set_malformed_grace(other, 1), LF_OK);
    IS(lf_lock(other), LF_OK);
    CHECK(access(in_folder("malformed.json"), F_OK) != 0 && access(in_folder("note.txt"), F_OK) == 0);
    CHECK(unlink(in_folder("note.txt")) == 0);
    lf_close(holder);
    lf_close(other);
}

/* ---- messages: snprintf(3) ---- */

static void messages(void) {
    lf_folder *folder = opened();
    char whole[2048], part[2048];
    size_t length, size;
    IS(lf_unlock(folder), LF_ERR_NOT_HELD);
    length = lf_error_message(folder, whole, sizeof whole);
    CHECK(length > 10 && length < sizeof whole && strlen(whole) == length);
    for (size = 0; size <= length + 2; size++) {
        memset(part, '#', sizeof part);
        CHECK(lf_error_message(folder, part, size) == length);
        CHECK(part[size] == '#'); /* nothing behind what was given */
        if (size > 0) {
            size_t fits = size - 1 < length ? size - 1 : length;
            CHECK(strlen(part) == fits && strncmp(part, whole, fits) == 0);
        }
    }
    IS(lf_lock(folder), LF_OK); /* a success leaves the story of the last failure alone */
    CHECK(lf_error_message(folder, part, sizeof part) == length && strcmp(part, whole) == 0);
    lf_close(folder);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    folder_path = arguments[1];
    signatures();
    names_and_version();
    opening();
    null_is_checked();
    messages();
    holding();
    cancelling();
    forking();
    listing();
    puts("the contract is kept");
    return 0;
}
