/* A child that shares its parent's memory and has a PID of its own (clone(2) with CLONE_VM and without CLONE_THREAD): what it locks is its
 * own. And it has a table of descriptors of its own, so what it leaves in the memory is no descriptor of its parent. C11, Linux.
 *
 *     shared_memory FOLDER      FOLDER does not exist, and its parent does
 */
#define _GNU_SOURCE 1

#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char stack[1 << 20];
static atomic_int locked;

static int child(void *unused) {
    (void)unused;
    lf_folder *own = opened();
    IS(lf_lock(own), LF_OK);
    atomic_store(&locked, 1);
    while (pause() != 0) {}
    return 0;
}

static char path[4096];

static int is_there(const char *name) {
    snprintf(path, sizeof path, "%s/%s", folder_path, name);
    return access(path, F_OK) == 0;
}

/* Holds the lock until a waiter is in line, and a little longer, so that the waiter sleeps. */
static pid_t holder(void) {
    int ready[2];
    char byte;
    CHECK(pipe(ready) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        lf_folder *own = opened();
        IS(lf_lock(own), LF_OK);
        CHECK(write(ready[1], "", 1) == 1);
        while (!is_there(".lockfolder/queue"))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        IS(lf_unlock(own), LF_OK);
        _exit(0);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void waits(lf_folder *folder) {
    pid_t pid = holder();
    int status;
    IS(lf_lock_wait(folder, -1), LF_OK);
    IS(lf_unlock(folder), LF_OK);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static int inotify_of_child;

static int waiting_child(void *unused) {
    (void)unused;
    lf_folder *own = opened();
    waits(own);
    char to[64];
    DIR *dir = opendir("/proc/thread-self/fd");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        ssize_t length = readlinkat(dirfd(dir), entry->d_name, to, sizeof to);
        if (length == 18 && memcmp(to, "anon_inode:inotify", 18) == 0)
            inotify_of_child = atoi(entry->d_name);
    }
    closedir(dir);
    lf_close(own);
    _exit(0);
}

/* The program's own inotify instance has the number that one of the library's had in a child. */
static void the_programs_descriptors_are_not_the_librarys(lf_folder *folder) {
    for (int tries = 0; inotify_of_child == 0; tries++) {
        int status;
        CHECK(tries < 100); /* on a busy machine the child did not sleep */
        pid_t pid = clone(waiting_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    }
    int own = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    CHECK(own >= 0);
    if (own != inotify_of_child) {
        CHECK(fcntl(inotify_of_child, F_GETFD) < 0); /* it is free */
        CHECK(dup2(own, inotify_of_child) == inotify_of_child);
        close(own);
        own = inotify_of_child;
    }
    snprintf(path, sizeof path, "%s.note", folder_path);
    CHECK(close(open(path, O_CREAT | O_WRONLY, 0666)) == 0);
    CHECK(inotify_add_watch(own, path, IN_ATTRIB) >= 0);
    CHECK(unlink(path) == 0);
    struct pollfd news = {own, POLLIN, 0};
    CHECK(poll(&news, 1, 0) == 1);
    waits(folder);
    CHECK(poll(&news, 1, 0) == 1);
    CHECK(close(own) == 0);
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    folder_path = argv[1];
    lf_folder *before = opened(); /* so that the library knows this process */
    IS(lf_lock(before), LF_OK);
    IS(lf_unlock(before), LF_OK);
    pid_t pid = clone(child, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
    CHECK(pid > 0);
    while (!atomic_load(&locked))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    lf_bid_list *list = NULL;
    IS(lf_bids(before, &list), LF_OK);
    CHECK(lf_bid_list_len(list) == 1 && lf_bid_list_get(list, 0)->pid == pid);
    lf_bid_list_free(list);
    IS(lf_lock(before), LF_BUSY);
    CHECK(says(before, "held by PID"));
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    IS(lf_lock(before), LF_OK);
    IS(lf_unlock(before), LF_OK);
    the_programs_descriptors_are_not_the_librarys(before);
    lf_close(before);
    puts("its lock was its own");
    return 0;
}
