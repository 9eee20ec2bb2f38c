/* A claimant that competes with those of the Python package.
 *
 *     claimant race FOLDER INSIDE COUNT SECONDS   competes, and prints `locks N` at the end
 *     claimant hold FOLDER                        locks, prints `held`, and waits until it is killed
 */
#define _DEFAULT_SOURCE 1

#include <lockfolder.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what, const lf_folder *folder) {
    char message[2048] = "";
    lf_error_message(folder, message, sizeof message);
    fprintf(stderr, "claimant: %s: %s\n", what, message);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Only the holder may be in here. The exclusive file shows a second one at once, and a lost update shows it at the end. */
static void update(const char *inside, const char *count) {
    long number = -1;
    int fd = open(inside, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0) {
        perror("claimant: somebody else is inside");
        exit(1);
    }
    close(fd);
    FILE *file = fopen(count, "r+");
    if (file == NULL || fscanf(file, "%ld", &number) != 1) {
        fprintf(stderr, "claimant: %s can't be read\n", count);
        exit(1);
    }
    usleep(500);
    rewind(file);
    fprintf(file, "%ld", number + 1);
    fclose(file);
    unlink(inside);
}

int main(int count, char **arguments) {
    lf_folder *folder;
    if (count < 3) {
        return 2;
    }
    if (lf_open(arguments[2], LF_OPEN_DEFAULT, &folder) != LF_OK) {
        die("lf_open", NULL);
    }
    if (strcmp(arguments[1], "hold") == 0) {
        if (lf_lock(folder) != LF_OK) {
            die("lf_lock", folder);
        }
        puts("held");
        fflush(stdout);
        for (;;) {
            pause();
        }
    }
    if (count < 6) {
        return 2;
    }
    long locks = 0;
    double end = now() + atof(arguments[5]);
    while (now() < end) {
        lf_status status = lf_lock_wait(folder, 100);
        if (status == LF_TIMEOUT) {
            continue;
        }
        if (status != LF_OK) {
            die("lf_lock_wait", folder);
        }
        update(arguments[3], arguments[4]);
        if (lf_unlock(folder) != LF_OK) {
            die("lf_unlock", folder);
        }
        locks++;
        usleep(500);
    }
    lf_close(folder);
    printf("locks %ld\n", locks);
    return 0;
}
