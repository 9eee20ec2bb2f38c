/* tally FILE TIMES: adds one to the number in FILE, again and again, under the lock of FILE.lock. */

#include <lockfolder.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const lf_folder *folder) {
    char text[1024];

    lf_error_message(folder, text, sizeof text);
    fprintf(stderr, "tally: %s\n", text);
    return 1;
}

static void add_one(const char *path) {
    long number = 0;
    FILE *file = fopen(path, "r");

    if (file) {
        if (fscanf(file, "%ld", &number) != 1) number = 0;
        fclose(file);
    }
    file = fopen(path, "w");
    if (!file || fprintf(file, "%ld\n", number + 1) < 0 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv) {
    char lock[4096];
    lf_folder *folder;
    long times;

    if (argc != 3 || snprintf(lock, sizeof lock, "%s.lock", argv[1]) >= (int)sizeof lock) {
        fputs("usage: tally FILE TIMES\n", stderr);
        return 64;
    }
    if (lf_open(lock, LF_OPEN_DEFAULT, &folder) != LF_OK) return fail(NULL);
    for (times = strtol(argv[2], NULL, 10); times > 0; times--) {
        if (lf_lock_wait(folder, -1) != LF_OK) return fail(folder);
        add_one(argv[1]);
        if (lf_unlock(folder) != LF_OK) return fail(folder);
    }
    lf_close(folder);
    return 0;
}
