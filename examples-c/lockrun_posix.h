/* lockrun on POSIX systems: signals, and fork and exec. lockrun.c has the rest. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABOUT_SIGNALS \
    "TERM, INT, HUP, QUIT, USR1, USR2 and ALRM are passed on to COMMAND; before it\n" \
    "runs, they end the wait and lockrun. If COMMAND is suspended, so is lockrun.\n" \
    "COMMAND must not outlive lockrun: the lock is free once lockrun has ended, also\n" \
    "when it was killed.\n"
#define ABOUT_COMMANDS_STATUS "that of COMMAND, or 128+N if signal N killed it"

/* What is passed on (ALRM because the wait uses it, see on_signal: so it comes first), and SIGCHLD, which we need. */
static const int SIGNALS[] = {SIGALRM, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCHLD};
enum { SIGNAL_COUNT = sizeof SIGNALS / sizeof *SIGNALS };
static struct sigaction inherited[SIGNAL_COUNT];

static volatile sig_atomic_t caught; /* the first signal that came before the command ran */
static volatile sig_atomic_t child;  /* the command's PID while it can be sent signals, else 0 */
static sigset_t mask;                /* the signals that were blocked when lockrun began */

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    int error = errno;
    if (child > 0) {
        /* The terminal's signals (si_code > 0) go to the whole process group: the command has its own. */
        if (info->si_code <= 0 && info->si_pid != child)
            kill(child, number);
    } else {
        if (caught == 0)
            caught = number;
        lf_cancel(folder);
        alarm(1); /* the wait may be about to begin, and then this was too early: cancel again */
    }
    errno = error;
}

static void handle(int number)
{
    struct sigaction now, action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    sigaction(number, NULL, &now);
    if (now.sa_handler != SIG_IGN || number == SIGALRM) /* what nohup(1) ignores stays ignored, for the command too */
        sigaction(number, &action, NULL);
}

static void heed_signals(void)
{
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        sigaction(SIGNALS[i], NULL, &inherited[i]);
        if (SIGNALS[i] == SIGCHLD)
            signal(SIGCHLD, SIG_DFL); /* if it were ignored, there would be nothing to wait for */
        else if (SIGNALS[i] != SIGTSTP) /* while no command runs, it simply stops us */
            handle(SIGNALS[i]);
    }
}

/* The child is to inherit no handler, and the parent to miss no signal. */
static bool hold_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &mask);
    alarm(0);
    return caught != 0;
}

/* Ends as the signal that ended the wait would have ended this process. */
static int leave(int result)
{
    if (caught == 0)
        return result;
    signal(caught, SIG_DFL);
    raise(caught);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, caught);
    sigprocmask(SIG_UNBLOCK, &one, NULL); /* delivered here, if it was blocked */
    return 128 + caught;
}

/* In the child: becomes the command, with the signals as lockrun found them. */
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

/* Waits until the command has ended, and stops when it is stopped, so that a shell sees a job that is suspended. The
 * ended command is left to be reaped: so long its PID can't be another's, and may be sent signals. */
static void wait_for_end(pid_t pid)
{
    for (;;) {
        siginfo_t now;
        if (waitid(P_PID, (id_t)pid, &now, WEXITED | WSTOPPED | WNOWAIT) != 0)
            continue; /* EINTR; nothing else can happen to a child that is there */
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

/* Runs the command and returns its status. All signals are blocked, before and after. */
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

    /* From here on nothing is lost: what came since we blocked is delivered, and passed on, now. */
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
