/* A snippet in C, where a page shows a part of a function. It is compiled and not run. */
#include <lockfolder.h>

int snippet(lf_folder *folder)
{
    SNIPPET
    lf_close(folder);
    return 0;
}
