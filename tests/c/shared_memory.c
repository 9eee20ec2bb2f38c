/* A child that shares its parent's memory and has a PID of its own (clone(2) with CLONE_VM and without CLONE_THREAD): what it locks is its
 * own. C11, Linux.
 *
 *     shared_memory FOLDER      FOLDER is missing, its parent is not
 */
#define _GNU_SOURCE 1

#include "check.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
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
    CHECK(says(before, "is live"));
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    IS(lf_lock(before), LF_OK);
    IS(lf_unlock(before), LF_OK);
    lf_close(before);
    puts("its lock was its own");
    return 0;
}
