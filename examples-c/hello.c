/* The shortest program that uses the lock: open, lock, work, unlock, close.
 *
 *     hello [FOLDER]
 */
#include <lockfolder.h>

#include <stdio.h>
#include <stdlib.h>

/* Prints why the last call failed. NULL: why lf_open failed. */
static int complain(const lf_folder *folder)
{
    char why[1024];
    lf_error_message(folder, why, sizeof why);
    fprintf(stderr, "hello: %s\n", why);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "hello.lock";
    int result = EXIT_SUCCESS;

    lf_folder *folder;
    if (lf_open(path, LF_OPEN_DEFAULT, &folder) != LF_OK)
        return complain(NULL);

    if (lf_lock_wait(folder, 10 * 1000) != LF_OK) {
        result = complain(folder); /* LF_TIMEOUT: the message names the holder */
    } else {
        printf("This process holds the lock now. Its bid in %s shows that to everybody.\n", path);

        if (lf_unlock(folder) != LF_OK)
            result = complain(folder); /* LF_ERR_LOST: somebody deleted the bid, others may have held the lock since */
    }
    lf_close(folder);
    return result;
}
