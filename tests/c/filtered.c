/* A claimant in a sandbox that answers pidfd_open(2) with an error: a live rival stays live, before and after the claimant opens its
 * handle. C11, Linux.
 *
 *     filtered FOLDER ERRNO              pidfd_open(2) fails
 *     filtered FOLDER ERRNO openat       openat(2) fails, too: no call needs to succeed, but nobody is robbed
 */
#define _GNU_SOURCE 1

#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void enter_sandbox(unsigned error, long refused) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)refused, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 3 || count == 4);
    folder_path = arguments[1];
    lf_folder *holder = opened();
    IS(lf_lock(holder), LF_OK);
    pid_t rival = fork();
    CHECK(rival >= 0);
    if (rival == 0) {
        lf_folder *before = opened();
        enter_sandbox((unsigned)atoi(arguments[2]), count == 4 ? SYS_openat : SYS_pidfd_open);
        if (count == 4) {
            CHECK(lf_lock(before) != LF_OK && lf_lock_wait(before, 50) != LF_OK);
            lf_close(before);
            return 0;
        }
        lf_folder *handles[] = {before, opened()};
        for (int i = 0; i < 2; i++) {
            IS(lf_lock(handles[i]), LF_BUSY);
            CHECK(says(handles[i], "held by PID"));
            IS(lf_lock_wait(handles[i], 50), LF_TIMEOUT);
            size_t reaped = 1;
            IS(lf_reap_stale(handles[i], &reaped), LF_OK);
            CHECK(reaped == 0);
            lf_close(handles[i]);
        }
        return 0;
    }
    int status;
    CHECK(waitpid(rival, &status, 0) == rival && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    IS(lf_holds(holder), LF_OK);
    IS(lf_unlock(holder), LF_OK);
    lf_close(holder);
    puts("nobody was robbed");
    return 0;
}
