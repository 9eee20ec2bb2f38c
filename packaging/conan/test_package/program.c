/* Takes the lock of a folder, and gives it back. */
#include <lockfolder.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    lf_folder *folder;
    uint64_t token = 0;
    if (argc != 2 || lf_open(argv[1], LF_OPEN_DEFAULT, &folder) != LF_OK)
        return 1;
    if (lf_lock(folder) != LF_OK || lf_fence(folder, &token) != LF_OK || lf_unlock(folder) != LF_OK)
        return 1;
    lf_close(folder);
    printf("held; fencing token %llu\n", (unsigned long long)token);
    return 0;
}
