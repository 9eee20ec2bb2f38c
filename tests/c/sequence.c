/* The steps of a claimant from open to close, for a tracer that kills it, stops it, or makes a system call fail.
 *
 *     sequence FOLDER alone            no claimant holds; bids of dead claimants are in the folder
 *     sequence FOLDER contended MS     another claimant holds: lf_lock, then lf_lock_wait for MS milliseconds
 *     sequence FOLDER hold             lf_lock; the other steps come after a line of input, or the end of the input
 *
 * With SEQUENCE_USER="UID GID" it becomes this user first, with a umask of 077.
 *
 * With SEQUENCE_FORK=parent or child, SIGUSR1 forks. The named process goes on with the call first, the other when the first has
 * finished it. The child prints `child STEP STATUS` and ends.
 *
 * Each call of the library stands between two marks, writes to the descriptor -1, that tell the tracer which calls to count.
 * Each prints a line: `result STEP STATUS CODE BIDS MESSAGE`, where BIDS are the bids in the folder now, or `-`. A step
 * that failed is tried once more, as STEP+. After a lock: `bid CONTENT`. At the end: `fds BEFORE AFTER`.
 */
#define _DEFAULT_SOURCE 1

#include <lockfolder.h>

#include <dirent.h>
#include <grp.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static lf_folder *folder;
static const char *path;
static int64_t wait_ms = -1;
static uint64_t token;

static void mark(const char *step) {
    ssize_t ignored = write(-1, step, strlen(step));
    (void)ignored;
}

static int is_bid(const char *name) {
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".json") == 0;
}

static void print_bids(void) {
    DIR *dir = opendir(path);
    struct dirent *entry;
    int count = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (is_bid(entry->d_name)) {
            printf("%s%s", count++ > 0 ? "," : "", entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    if (count == 0) {
        printf("-");
    }
}

/* Prints the content of our bid, as `bid CONTENT`. */
static void print_own_bid(void) {
    lf_bid_list *list = NULL;
    char file_path[4096], line[4096];
    if (lf_bids(folder, &list) != LF_OK) exit(1);
    for (size_t i = 0; i < lf_bid_list_len(list); i++) {
        const lf_bid *bid = lf_bid_list_get(list, i);
        snprintf(file_path, sizeof file_path, "%s/%s", path, bid->name);
        FILE *file = bid->state == LF_BID_OWN ? fopen(file_path, "r") : NULL;
        if (file != NULL && fgets(line, sizeof line, file) != NULL) {
            printf("bid %s", line);
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    lf_bid_list_free(list);
}

static lf_status step_open(void) { return lf_open(path, LF_OPEN_DEFAULT, &folder); }
static lf_status step_lock(void) { return lf_lock(folder); }
static lf_status step_wait(void) { return lf_lock_wait(folder, wait_ms); }
static lf_status step_holds(void) { return lf_holds(folder); }
static lf_status step_unlock(void) { return lf_unlock(folder); }
static lf_status step_reap(void) { return lf_reap_stale(folder, NULL); }

static lf_status step_fence(void) {
    uint64_t next = 0;
    lf_status status = lf_fence(folder, &next);
    if (status == LF_OK) {
        if (next <= token) {
            fprintf(stderr, "a fencing token that does not grow\n");
            abort();
        }
        token = next;
    }
    return status;
}

static lf_status step_in_use(void) {
    bool in_use;
    return lf_in_use(folder, &in_use);
}

static lf_status step_bids(void) {
    lf_bid_list *list;
    lf_status status = lf_bids(folder, &list);
    lf_bid_list_free(list);
    return status;
}

static int child_is_first, is_child, ends[2] = {-1, -1};
static pid_t child;

static void fork_now(int signal_number) {
    char none;
    (void)signal_number;
    if (pipe(ends) != 0 || (child = fork()) < 0) {
        abort();
    }
    is_child = child == 0;
    if (is_child) {
        alarm(60); /* it ends, even if the others hang */
        close(ends[1]);
    } else {
        close(ends[0]);
    }
    if (child_is_first && !is_child) {
        waitpid(child, NULL, 0);
    } else if (!child_is_first && is_child) {
        (void)!read(ends[0], &none, 1); /* until the parent closes its end */
    }
}

/* After a call in the middle of which we were forked. */
static void part(const char *name, lf_status status) {
    char line[100];
    if (is_child) {
        int length = snprintf(line, sizeof line, "child %s %s\n", name, lf_status_name(status));
        (void)!write(1, line, (size_t)length);
        if (folder != NULL) {
            lf_close(folder);
        }
        _exit(0); /* what the parent has yet to print is the parent's */
    }
    if (child > 0) {
        /* The child comes back to the unlock when its parent holds again. */
        int again = status == LF_OK && strncmp(name, "unlock", 6) == 0 && !child_is_first && lf_lock(folder) == LF_OK;
        close(ends[1]);
        waitpid(child, NULL, 0); /* a second time does no harm */
        child = 0;
        if (again && (lf_holds(folder) != LF_OK || lf_unlock(folder) != LF_OK)) {
            fprintf(stderr, "the child harmed the next lock of its parent\n");
            abort();
        }
    }
}

static lf_status once(const char *name, lf_status (*step)(void)) {
    char message[2048] = "";
    mark(name);
    lf_status status = step();
    mark("");
    part(name, status);
    if (status != LF_OK) {
        lf_error_message(folder, message, sizeof message);
    }
    printf("result %s %s %d ", name, lf_status_name(status), status == LF_OK ? 0 : lf_error_code(folder));
    print_bids();
    printf(" %s\n", message);
    if (status == LF_OK && (strncmp(name, "lock", 4) == 0 || strncmp(name, "wait", 4) == 0)) {
        print_own_bid();
    }
    if (strncmp(name, "fence", 5) == 0 && status == LF_OK) {
        printf("token %llu\n", (unsigned long long)token);
    }
    return status;
}

static lf_status run(const char *name, lf_status (*step)(void)) {
    char again[32];
    lf_status status = once(name, step);
    if (status == LF_OK) {
        return status;
    }
    snprintf(again, sizeof again, "%s+", name);
    return once(again, step);
}

static void put(const char *where, const char *name, const char *content) {
    char file_path[4096];
    snprintf(file_path, sizeof file_path, "%s/%s%s", path, where, name);
    FILE *file = fopen(file_path, "w");
    if (file == NULL || fputs(content, file) < 0 || fclose(file) != 0) {
        perror(file_path);
        abort();
    }
}

/* Makes bids of dead claimants: one of a Python peer and, where the sub-folder for its claim exists, one of ours. */
static void plant(int with_a_claim) {
    char bid[512], boot[64] = "", from[4096], to[4096], own[256];
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    waitpid(child, NULL, 0);
    snprintf(bid, sizeof bid, "{\"PID\": %ld, \"CREATED\": 1000000000}", (long)child);
    put("", "11111111-1111-4111-8111-111111111111.json", bid);
    snprintf(to, sizeof to, "%s/.lockfolder", path);
    if (!with_a_claim || access(to, F_OK) != 0) {
        return;
    }
    FILE *id = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (id == NULL || fscanf(id, "%63s", boot) != 1) {
        abort();
    }
    fclose(id);
    ssize_t length = readlink("/proc/self/ns/pid", own, sizeof own - 1);
    own[length < 0 ? 0 : length] = 0;
    snprintf(bid, sizeof bid, "{\"PID\": %ld, \"CREATED\": 1000000000, \"START\": 1, \"BOOT\": \"%s\", \"PIDNS\": %s}\n",
             (long)child, boot, strtok(own, "pid:[]"));
    snprintf(from, sizeof from, "%s/.lockfolder/0111111111111111.json", path);
    unlink(from);
    put(".lockfolder/", "0111111111111111.json", bid);
    snprintf(to, sizeof to, "%s/01111111-1111-7111-8111-111111111112.json", path);
    unlink(to); /* a reaping that failed may have left it */
    if (link(from, to) != 0) {
        abort();
    }
}

/* The library keeps one inotify instance for the next wait. A second one would be a leak. */
static int open_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    char target[64];
    int count = 0, spare = 0;
    while ((entry = readdir(dir)) != NULL) {
        ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof target);
        int is_inotify = length == 18 && memcmp(target, "anon_inode:inotify", 18) == 0;
        count += !is_inotify || spare++ > 0;
    }
    closedir(dir);
    return count;
}

static void become(const char *who) {
    unsigned uid, gid;
    if (who == NULL) {
        return;
    }
    umask(077);
    if (sscanf(who, "%u %u", &uid, &gid) != 2 || setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
        perror(who);
        abort();
    }
}

int main(int count, char **arguments) {
    if (count < 3) {
        return 2;
    }
    path = arguments[1];
    become(getenv("SEQUENCE_USER"));
    if (getenv("SEQUENCE_FORK") != NULL) {
        child_is_first = strcmp(getenv("SEQUENCE_FORK"), "child") == 0;
        signal(SIGUSR1, fork_now);
    }
    int contended = strcmp(arguments[2], "contended") == 0;
    if (count > 3) {
        wait_ms = atoll(arguments[3]);
    }
    /* Gets memory in advance, so that malloc makes no system call between the marks. */
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    free(malloc(16 << 20));
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);

    int before = open_descriptors();
    if (run("open", step_open) != LF_OK) {
        return 3;
    }
    if (contended) {
        run("lock", step_lock);
        run("wait", step_wait);
        run("unlock", step_unlock);
    } else if (strcmp(arguments[2], "hold") == 0) {
        run("lock", step_lock);
        getchar();
        run("holds", step_holds);
        run("unlock", step_unlock);
    } else {
        plant(0);
        run("lock", step_lock);
        run("holds", step_holds);
        run("fence", step_fence);
        run("in_use", step_in_use);
        run("bids", step_bids);
        run("unlock", step_unlock);
        plant(1);
        run("wait", step_wait);
        run("fence2", step_fence);
        run("unlock2", step_unlock);
        plant(1);
        run("reap", step_reap);
        /* lf_lock looks for a line every 20 ms at most. After this pause it always looks, so the number of calls does not vary. */
        nanosleep(&(struct timespec){0, 30000000}, NULL);
        run("lock3", step_lock);
        run("unlock3", step_unlock);
    }
    mark("close");
    lf_close(folder);
    mark("");
    folder = NULL;
    part("close", LF_OK);
    printf("fds %d %d\n", before, open_descriptors());
    return 0;
}
