/* A program that has closed some of its descriptors 0, 1 and 2. No descriptor of the library gets such a number, so nothing that the
 * program prints goes to a file of the library. C11, Linux.
 *
 *     closed_stdio FOLDER      FOLDER does not exist, and its parent does
 *
 * A child reports by its exit status, because it may have no descriptor to print to.
 */
#define _GNU_SOURCE 1

#include <lockfolder.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;
static int closed; /* a bit for each descriptor */

/* The exit status of a child says where it failed. */
#define MUST(what) ((what) ? (void)0 : _exit(__LINE__ % 200 + 1))

static void print(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (closed & 1 << fd)
            dprintf(fd, "printed to %d\n", fd);
}

/* Checks that the closed numbers are free, so that what the program prints there goes nowhere. */
static void looks_right(void) {
    for (int fd = 0; fd <= 2; fd++)
        MUST((fcntl(fd, F_GETFD) != -1) == ((closed & 1 << fd) == 0));
    print();
}

/* Prints all the time, and so also at the moment at which the library makes a descriptor. */
static atomic_bool over;

static void *print_on(void *unused) {
    while (!atomic_load(&over))
        print();
    return unused;
}

static void use(void) {
    lf_folder *folder = NULL, *other = NULL;
    lf_bid_list *list = NULL;
    uint64_t token = 0;
    size_t reaped = 0;
    MUST(lf_open(path, LF_OPEN_DEFAULT, &folder) == LF_OK);
    looks_right();
    MUST(lf_open(path, LF_OPEN_DEFAULT, &other) == LF_OK);
    MUST(lf_lock(folder) == LF_OK);
    looks_right();
    MUST(lf_fence(folder, &token) == LF_OK);
    MUST(lf_lock_wait(other, 3) == LF_TIMEOUT);
    looks_right();
    MUST(lf_bids(other, &list) == LF_OK && lf_bid_list_len(list) == 1);
    MUST(lf_bid_list_get(list, 0)->state == LF_BID_LIVE && lf_bid_list_get(list, 0)->pid == getpid());
    lf_bid_list_free(list);
    MUST(lf_holds(folder) == LF_OK);
    MUST(lf_reap_stale(folder, &reaped) == LF_OK);
    MUST(lf_unlock(folder) == LF_OK);
    MUST(lf_lock_wait(other, -1) == LF_OK);
    looks_right();
    lf_close(folder);
    lf_close(other);
    looks_right();
}

/* Runs a child without these descriptors. If `noisy`, a second thread of the child prints all the time. */
static int child(int without, int noisy) {
    pid_t pid = fork();
    int status = -1;
    if (pid == 0) {
        pthread_t printer;
        closed = without;
        for (int fd = 0; fd <= 2; fd++)
            if (closed & 1 << fd)
                close(fd);
        if (noisy)
            MUST(pthread_create(&printer, NULL, print_on, NULL) == 0);
        for (int round = 0; round < (noisy ? 20 : 3); round++)
            use();
        atomic_store(&over, 1);
        if (noisy)
            MUST(pthread_join(printer, NULL) == 0);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    path = argv[1];
    for (int without = 0; without < 8; without++)
        for (int noisy = 0; noisy < 2; noisy++) {
            int line = child(without, noisy);
            if (line != 0) {
                printf("closed %d, noisy %d: not so, near line %d (modulo 200)\n", without, noisy, line - 1);
                return 1;
            }
        }
    puts("nothing was printed into a file of ours");
    return 0;
}
