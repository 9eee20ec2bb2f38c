/* A claimant in C: see README.md. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <lockfolder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static lf_folder *folder;

static void must(lf_status status) {
    if (status == LF_OK) return;
    char text[1024];
    lf_error_message(folder, text, sizeof text);
    fprintf(stderr, "c: %s: %s\n", lf_status_name(status), text);
    exit(1);
}

static void violation(const char *what) {
    fprintf(stderr, "c: VIOLATION: %s\n", what);
    exit(3);
}

static void work(uint64_t token) {
    char me[32], found[64], line[96], there[32];
    snprintf(me, sizeof me, "%ld", (long)getpid());
    snprintf(found, sizeof found, "found/%" PRIu64, token);
    if (symlink(me, "inside") != 0 && (rename("inside", found) != 0 || symlink(me, "inside") != 0))
        violation("another is inside");

    int length = snprintf(line, sizeof line, "c %s %" PRIu64 "\n", me, token);
    FILE *log = fopen("log", "a");
    if (!log || fwrite(line, 1, (size_t)length, log) != (size_t)length || fclose(log) != 0) exit(1);
    nanosleep(&(struct timespec){0, 2000000}, NULL);

    ssize_t n = readlink("inside", there, sizeof there - 1);
    if (n < 0 || (there[n] = 0, strcmp(there, me) != 0) || unlink("inside") != 0) violation("another was inside");
}

int main(int argc, char **argv) {
    if (argc != 3 || chdir(argv[2]) != 0) return 2;
    must(lf_open(argv[1], LF_OPEN_DEFAULT, &folder));
    while (access("stop", F_OK) != 0) {
        uint64_t token;
        must(lf_lock_wait(folder, -1));
        must(lf_fence(folder, &token));
        work(token);
        must(lf_unlock(folder));
    }
    lf_close(folder);
    return 0;
}
