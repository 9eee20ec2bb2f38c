/* A claimant in a Landlock sandbox (landlock(7)). The sandbox allows everything, except that with `no-refer` (LANDLOCK_ACCESS_FS_REFER)
 * it forbids a link or a rename from one folder into another. Exits with 77 if this kernel has no Landlock. C11, Linux.
 *
 *     sandboxed FOLDER refer|no-refer
 */
#define _GNU_SOURCE 1

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Every access of the first version of Landlock. */
#define ACCESS ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif

static void enter_sandbox(uint64_t access) {
    struct landlock_ruleset_attr attributes = {.handled_access_fs = access};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes.handled_access_fs, 0);
    if (rules < 0) {
        perror("landlock_create_ruleset");
        exit(77);
    }
    struct landlock_path_beneath_attr below = {.allowed_access = access, .parent_fd = open("/", O_PATH | O_CLOEXEC)};
    CHECK(syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) == 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, rules, 0) == 0);
    close(below.parent_fd);
    close(rules);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    folder_path = arguments[1];
    int refers = strcmp(arguments[2], "refer") == 0;
    lf_folder *before = opened();
    IS(lf_lock(before), LF_OK);
    IS(lf_unlock(before), LF_OK);
    enter_sandbox(refers ? ACCESS | LANDLOCK_ACCESS_FS_REFER : ACCESS);
    lf_folder *handles[] = {before, opened()};
    for (int i = 0; i < 2; i++) {
        for (int round = 0; round < 2; round++) {
            lf_status status = round == 0 ? lf_lock(handles[i]) : lf_lock_wait(handles[i], -1);
            if (refers) {
                IS(status, LF_OK);
                IS(lf_fence(handles[i], &(uint64_t){0}), LF_OK);
                IS(lf_unlock(handles[i]), LF_OK);
            } else {
                IS(status, LF_ERR_IO);
                CHECK(lf_error_code(handles[i]) == EXDEV);
                CHECK(says(handles[i], folder_path) && says(handles[i], strerror(EXDEV)));
                CHECK(says(handles[i], "LANDLOCK_ACCESS_FS_REFER") && says(handles[i], "project"));
            }
        }
    }
    lf_close(handles[0]);
    lf_close(handles[1]);
    puts(refers ? "it locks" : "the way out is said");
    return 0;
}
