#include <lockfolder.h>
