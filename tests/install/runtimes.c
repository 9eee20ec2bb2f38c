/* Two static libraries with a Rust runtime each, in one program: runtimes FOLDER */

#include <lockfolder.h>
#include <stdio.h>

bool other_works(void);

int main(int argc, char **argv) {
    lf_folder *folder;
    char text[512];

    if (argc != 2 || lf_open(argv[1], LF_OPEN_DEFAULT, &folder) != LF_OK) return 1;
    if (!other_works() || lf_lock(folder) != LF_OK || !other_works() || lf_lock(folder) != LF_ERR_ALREADY_HELD) return 2;
    if (lf_error_message(folder, text, sizeof text) == 0 || lf_unlock(folder) != LF_OK) return 3;
    lf_close(folder);
    if (lf_open("", 0, &folder) != LF_ERR_INVALID || lf_error_message(NULL, text, sizeof text) == 0) return 4;
    return other_works() ? 0 : 5;
}
