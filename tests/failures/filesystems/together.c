/* Several processes take the lock of a new folder at the same moment, so they make its sub-folder together. Again and again.
 *
 *   together FLAGS ROUNDS FOLDER...    (each round uses FOLDER-0, FOLDER-1, ...; the processes alternate between the FOLDERs)
 */
#include <lockfolder.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 6 };

static int fail(const char *what, const lf_folder *folder)
{
    char why[4096];
    lf_error_message(folder, why, sizeof why);
    printf("%s: %s\n", what, why);
    fflush(stdout);
    return 1;
}

static int use(const char *path, uint32_t flags, atomic_int *ready)
{
    lf_folder *folder;
    lf_status status = lf_open(path, flags, &folder);
    atomic_fetch_add(ready, 1);
    if (status != LF_OK)
        return fail("open", NULL);
    while (atomic_load(ready) < PROCESSES)
        usleep(100);
    status = lf_lock(folder);
    if (status == LF_OK)
        status = lf_unlock(folder);
    return status < 0 ? fail("lock", folder) : 0;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    uint32_t flags = (uint32_t)strtoul(argv[1], NULL, 10);
    int rounds = atoi(argv[2]), failed = 0;
    atomic_int *ready = mmap(NULL, sizeof *ready, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ready == MAP_FAILED)
        return 2;
    for (int round = 0; round < rounds && !failed; round++) {
        atomic_store(ready, 0);
        for (int i = 0; i < PROCESSES; i++) {
            char path[4096];
            snprintf(path, sizeof path, "%s-%d", argv[3 + i % (argc - 3)], round);
            pid_t child = fork();
            if (child < 0)
                return 2;
            if (child == 0)
                _exit(use(path, flags, ready));
        }
        for (int i = 0; i < PROCESSES; i++) {
            int status;
            wait(&status);
            failed |= status != 0;
        }
    }
    return failed;
}
