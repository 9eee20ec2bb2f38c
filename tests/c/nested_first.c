/* A process that is PID 1 of a PID namespace clones a child that shares its memory and is PID 1 of another one. The two are not the same
 * process, and the child does not take the bids of the outer namespace for dead. C11, Linux, as root.
 *
 *     unshare --pid --fork --mount-proc nested_first FOLDER      FOLDER does not exist, and its parent does
 */
#define _GNU_SOURCE 1

#include "check.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[1 << 20];

static int child(void *unused) {
    (void)unused;
    CHECK(getpid() == 1);
    lf_folder *own = opened();
    IS(lf_lock(own), LF_BUSY);
    CHECK(says(own, "is busy"));
    size_t reaped = 0;
    IS(lf_reap_stale(own, &reaped), LF_OK);
    CHECK(reaped == 0);
    lf_close(own);
    return 0;
}

int main(int count, char **arguments) {
    CHECK(count == 2 && getpid() == 1);
    folder_path = arguments[1];
    lf_folder *used_before = opened(); /* what the library knows about this process is in the shared memory now */
    int ready[2], go_on[2];
    CHECK(pipe(ready) == 0 && pipe(go_on) == 0);
    pid_t holder = fork();
    CHECK(holder >= 0);
    if (holder == 0) {
        lf_folder *own = opened();
        IS(lf_lock(own), LF_OK);
        CHECK(write(ready[1], "", 1) == 1);
        char byte;
        CHECK(close(go_on[1]) == 0 && read(go_on[0], &byte, 1) == 0);
        IS(lf_holds(own), LF_OK);
        IS(lf_unlock(own), LF_OK);
        _exit(0);
    }
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    pid_t pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_NEWPID | SIGCHLD, NULL);
    CHECK(pid > 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(close(go_on[1]) == 0); /* now the holder goes on */
    CHECK(waitpid(holder, &status, 0) == holder && status == 0);
    lf_close(used_before);
    puts("the holder was respected");
    return 0;
}
