/* The layout of lf_bid, as C sees it where pointers have 8 bytes. Compiling is the test. */

#include <lockfolder.h>

#define AT(field, offset, type)                                                        \
    _Static_assert(offsetof(lf_bid, field) == (offset), #field " has moved");          \
    _Static_assert(_Generic(((lf_bid *)0)->field, type: 1, default: 0), #field " is of another type")

AT(name, 0, const char *);
AT(host, 8, const char *);
AT(command, 16, const char *);
AT(pid, 24, int64_t);
AT(created, 32, int64_t);
AT(age_ms, 40, int64_t);
AT(state, 48, int32_t);
_Static_assert(sizeof(lf_bid) >= 56 && _Alignof(lf_bid) == 8, "lf_bid may only grow at its end");
_Static_assert(sizeof(lf_status) == 4 && (lf_status)-1 < 0, "lf_status is an int32_t");

int main(void) { return 0; }
