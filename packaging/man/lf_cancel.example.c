#include <lockfolder.h>
#include <signal.h>
#include <unistd.h>

static lf_folder *folder;
static volatile sig_atomic_t stop, waiting;

/* Handles SIGTERM and SIGALRM. */
void end_the_wait(int signal)
{
    (void)signal;
    stop = 1;
    if (waiting) {
        lf_cancel(folder);
        alarm(1); /* once more in a second: the wait may not have begun */
    }
}

lf_status wait_unless_stopped(void)
{
    lf_status status;
    waiting = 1;
    status = stop ? LF_CANCELLED : lf_lock_wait(folder, -1);
    waiting = 0;
    return status;
}
