/* Prints each signal that it gets, in the order of their coming, until its standard input ends. First it prints its parent. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

int main(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int signals = signalfd(-1, &all, 0);
    printf("ready %d\n", (int)getppid());
    fflush(stdout);
    for (;;) {
        struct pollfd sources[] = {{.fd = signals, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
        if (poll(sources, 2, -1) < 1)
            continue;
        struct signalfd_siginfo info;
        if (sources[0].revents) {
            if (read(signals, &info, sizeof info) == sizeof info) {
                printf("%d\n", (int)info.ssi_signo);
                fflush(stdout);
            }
        } else {
            return 0;
        }
    }
}
