/* lockrun on POSIX systems: signals, fork and exec. lockrun.c has the rest. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABOUT_SIGNALS \
    "TERM, INT, HUP, QUIT, USR1, USR2 and ALRM are passed on to COMMAND. Before it\n" \
    "runs, they end the wait and lockrun. If COMMAND is suspended, so is lockrun.\n" \
    "COMMAND must not outlive lockrun: the lock is free once lockrun has ended, also\n" \
    "if lockrun was killed.\n"
#define ABOUT_COMMANDS_STATUS "that of COMMAND, or 128+N if signal N killed it"

/* The signals that are passed on, and SIGCHLD, which lockrun needs. ALRM comes first because on_signal uses it. */
static const int SIGNALS[] = {SIGALRM, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCHLD};
enum { SIGNAL_COUNT = sizeof SIGNALS / sizeof *SIGNALS };
static struct sigaction inherited[SIGNAL_COUNT];

static volatile sig_atomic_t caught; /* the first signal that came before the command started */
static volatile sig_atomic_t child;  /* the PID of the command while signals can be sent to it, else 0 */
static sigset_t mask;                /* the signals that were blocked when lockrun began */

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    int error = errno;
    if (child > 0) {
        /* The terminal sends its signals (si_code > 0) to the whole process group, so the command gets them itself. An alarm that
         * lockrun inherited comes from the system, too, but to lockrun alone. */
        if (info->si_code > 0 ? number == SIGALRM : info->si_pid != child)
            kill(child, number);
    } else {
        if (caught == 0)
            caught = number;
        lf_cancel(folder);
        alarm(1); /* cancel again: a cancellation before the wait begins has no effect */
    }
    errno = error;
}

static void handle(int number)
{
    struct sigaction now, action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    sigaction(number, NULL, &now);
    if (now.sa_handler != SIG_IGN || number == SIGALRM) /* a signal that nohup(1) ignores stays ignored, also in the command */
        sigaction(number, &action, NULL);
}

static void heed_signals(void)
{
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        sigaction(SIGNALS[i], NULL, &inherited[i]);
        if (SIGNALS[i] == SIGCHLD)
            signal(SIGCHLD, SIG_DFL); /* if it is ignored, waitid finds no child */
        else if (SIGNALS[i] != SIGTSTP) /* while no command runs, SIGTSTP stops lockrun as usual */
            handle(SIGNALS[i]);
    }
}

/* Blocks the signals, so that the child gets no handler and the parent misses no signal. */
static bool hold_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &mask);
    if (caught != 0)
        alarm(0); /* ours; an alarm that lockrun inherited is for the command, too */
    return caught != 0;
}

/* Ends this process by the signal that ended the wait, or exits with the status. */
static int leave(int result)
{
    if (caught == 0)
        return result;
    signal(caught, SIG_DFL);
    raise(caught);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, caught);
    sigprocmask(SIG_UNBLOCK, &one, NULL); /* the signal arrives here if it was blocked */
    return 128 + caught;
}

/* In the child: runs the command, with the signals as they were when lockrun began. */
static void execute(char **command)
{
    for (int i = 0; i < SIGNAL_COUNT; i++)
        sigaction(SIGNALS[i], &inherited[i], NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    execvp(command[0], command);
    int error = errno;
    fprintf(stderr, "lockrun: cannot run %s: %s\n", command[0], strerror(error));
    _exit(error == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

/* Waits until the command has ended. It stops lockrun while the command is stopped, so that a shell sees a suspended job. It does
 * not reap the command: until then no other process can have its PID, and a signal can't go to a wrong process. */
static void wait_for_end(pid_t pid)
{
    for (;;) {
        siginfo_t now;
        if (waitid(P_PID, (id_t)pid, &now, WEXITED | WSTOPPED | WNOWAIT) != 0)
            continue; /* EINTR: no other error is possible while the child exists */
        if (now.si_code != CLD_STOPPED)
            return;
        siginfo_t seen;
        waitid(P_PID, (id_t)pid, &seen, WSTOPPED | WNOHANG);
        if (now.si_status == SIGTSTP || now.si_status == SIGTTIN || now.si_status == SIGTTOU) {
            raise(SIGSTOP);
            kill(pid, SIGCONT);
        }
    }
}

/* Runs the command and returns its status. All signals are blocked when it is called and when it returns. */
static int run(char **command)
{
    handle(SIGTSTP);
    pid_t pid = fork();
    if (pid < 0) {
        fprintf(stderr, "lockrun: cannot fork: %s\n", strerror(errno));
        return CANNOT_RUN;
    }
    if (pid == 0)
        execute(command);

    /* A signal that came while signals were blocked arrives here, and is passed on. */
    sigset_t all;
    sigfillset(&all);
    child = pid;
    sigprocmask(SIG_SETMASK, &mask, NULL);
    wait_for_end(pid);
    sigprocmask(SIG_BLOCK, &all, NULL);
    child = 0;

    int status;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
