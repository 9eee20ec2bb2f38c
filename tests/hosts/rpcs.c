/* What makes calls to the server that are counted (`tests/hosts/run rpcs`).
 *
 *     rpcs lock FOLDER COUNT FLAGS          lf_lock and lf_unlock
 *     rpcs hand FOLDER COUNT                list, link, list, unlink: what the lock must do at least
 *     rpcs wait FOLDER SECONDS FLAGS COUNT  so many processes wait for so long for a lock that is held
 *
 * It prints the counters of the mount before and after, with a line `----` between them.
 */
#define _GNU_SOURCE 1

#include <lockfolder.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;
static lf_folder *folder;
static int directory;

static void fail(const char *what) {
    char message[1024] = "";
    lf_error_message(folder, message, sizeof message); /* without a handle: the failure of lf_open */
    fprintf(stderr, "rpcs: %s: %s\n", what, message);
    perror("rpcs");
    exit(1);
}

/* On a network the folder is opened anew for each listing; a kept descriptor shows old listings. */
static void list(void) {
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL) {
        fail("list");
    }
    while (readdir(stream) != NULL) {
    }
    closedir(stream);
}

static void by_hand(void) {
    list();
    if (linkat(directory, "prepared", directory, "bid.json", 0) != 0) {
        fail("link");
    }
    list();
    if (unlinkat(directory, "bid.json", 0) != 0) {
        fail("unlink");
    }
}

static void by_lock(void) {
    if (lf_lock(folder) != LF_OK) {
        fail("lf_lock");
    }
    if (lf_unlock(folder) != LF_OK) {
        fail("lf_unlock");
    }
}

static void show_counters(void) {
    char text[65536];
    FILE *file = fopen("/proc/self/mountstats", "r");
    if (file == NULL) {
        fail("mountstats");
    }
    size_t length = fread(text, 1, sizeof text, file);
    fclose(file);
    fwrite(text, 1, length, stdout);
    printf("----\n");
}

/* The counters before and after a time in which this process holds the lock and others wait for it. */
static void by_waiting(unsigned seconds, uint32_t flags, int waiters) {
    pid_t *pids = calloc((size_t)waiters, sizeof *pids);
    if (pids == NULL || lf_open(path, flags, &folder) != LF_OK || lf_lock(folder) != LF_OK) {
        fail("hold");
    }
    for (int i = 0; i < waiters; i++) {
        pids[i] = fork();
        if (pids[i] < 0) {
            fail("fork");
        }
        if (pids[i] == 0) {
            lf_folder *mine = NULL;
            exit(lf_open(path, flags, &mine) == LF_OK ? lf_lock_wait(mine, -1) : 1);
        }
    }
    sleep(10); /* until all of them wait at their slowest pace */
    show_counters();
    sleep(seconds);
    show_counters();
    for (int i = 0; i < waiters; i++) {
        kill(pids[i], SIGKILL);
        int status = 0;
        if (waitpid(pids[i], &status, 0) != pids[i] || !WIFSIGNALED(status)) {
            fail("a waiter did not wait");
        }
    }
    if (lf_unlock(folder) != LF_OK) {
        fail("lf_unlock");
    }
    free(pids);
}

int main(int count, char **arguments) {
    if (count < 4) {
        return 2;
    }
    if (strcmp(arguments[1], "wait") == 0 && count > 5) {
        path = arguments[2];
        by_waiting((unsigned)atoi(arguments[3]), (uint32_t)atol(arguments[4]), atoi(arguments[5]));
        return 0;
    }
    bool lock = strcmp(arguments[1], "lock") == 0;
    path = arguments[2];
    int cycles = atoi(arguments[3]);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        fail("open");
    }
    if (lock) {
        if (lf_open(path, count > 4 ? (uint32_t)atol(arguments[4]) : 0, &folder) != LF_OK) {
            fail("lf_open");
        }
    } else {
        int fd = openat(directory, "prepared", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
        if (fd < 0 || write(fd, "{}\n", 3) != 3 || close(fd) != 0) {
            fail("prepare");
        }
    }
    void (*cycle)(void) = lock ? by_lock : by_hand;
    for (int i = 0; i < 3; i++) {
        cycle(); /* warms up: what a handle does once is not counted */
    }
    show_counters();
    for (int i = 0; i < cycles; i++) {
        cycle();
    }
    show_counters();
    if (!lock) {
        unlinkat(directory, "prepared", 0);
    }
    return 0;
}
