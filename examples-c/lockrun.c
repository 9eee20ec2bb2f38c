/* Runs a command under the lock, after flock(1). `lockrun --help` says how. */
#define _GNU_SOURCE /* getopt_long */
#include <lockfolder.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_OBTAINED = 1, USAGE = 64, LOCK_FAILED = 71, CANNOT_RUN = 126, NOT_FOUND = 127 };

static const char HELP[] =
    "Usage: lockrun [OPTION]... FOLDER [--] COMMAND [ARGUMENT]...\n"
    "Runs COMMAND while holding the lock FOLDER, which is made if it is missing.\n"
    "\n"
    "  -n, --nonblock        don't wait: fail if somebody else holds the lock\n"
    "  -w, --wait SECONDS    wait no longer than this (0.5 is half a second)\n"
    "  -E, --exit-code CODE  exit with CODE if the lock was not obtained (default 1)\n"
    "  -q, --quiet           don't say who holds the lock that was not obtained\n"
    "  -h, --help            this text\n"
    "  -V, --version         the version of the library\n"
    "\n"
    "TERM, INT, HUP, QUIT, USR1, USR2 and ALRM are passed on to COMMAND; before it\n"
    "runs, they end the wait and lockrun. If COMMAND is suspended, so is lockrun.\n"
    "COMMAND must not outlive lockrun: the lock is free once lockrun has ended, also\n"
    "when it was killed.\n"
    "\n"
    "Exit status: that of COMMAND, or 128+N if signal N killed it; CODE if the lock\n"
    "was not obtained; 64 wrong usage; 71 the folder can't be used, or the lock was\n"
    "lost while COMMAND ran; 126 COMMAND can't be run; 127 COMMAND was not found.\n";

/* What is passed on (ALRM because the wait uses it, see on_signal), and SIGCHLD, which we need. */
static const int SIGNALS[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGCHLD};
enum { SIGNAL_COUNT = sizeof SIGNALS / sizeof *SIGNALS };
static struct sigaction inherited[SIGNAL_COUNT];

static lf_folder *folder;
static volatile sig_atomic_t caught; /* the first signal that came before the command ran */
static volatile sig_atomic_t child;  /* the command's PID while it can be sent signals, else 0 */

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

static void handle_signals(void)
{
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        sigaction(SIGNALS[i], NULL, &inherited[i]);
        if (SIGNALS[i] == SIGCHLD)
            signal(SIGCHLD, SIG_DFL); /* if it were ignored, there would be nothing to wait for */
        else if (SIGNALS[i] != SIGTSTP) /* while no command runs, it simply stops us */
            handle(SIGNALS[i]);
    }
}

/* Ends this process as the signal would have ended it. */
static int die_by(int number)
{
    signal(number, SIG_DFL);
    raise(number);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    sigprocmask(SIG_UNBLOCK, &one, NULL); /* delivered here, if it was blocked */
    return 128 + number;
}

static void complain(const lf_folder *about)
{
    char why[2048];
    lf_error_message(about, why, sizeof why);
    fprintf(stderr, "lockrun: %s\n", why);
}

/* In the child: becomes the command, with the signals as lockrun found them. */
static void execute(char **command, const sigset_t *mask)
{
    for (int i = 0; i < SIGNAL_COUNT; i++)
        sigaction(SIGNALS[i], &inherited[i], NULL);
    sigprocmask(SIG_SETMASK, mask, NULL);
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
static int run(char **command, const sigset_t *mask)
{
    handle(SIGTSTP);
    pid_t pid = fork();
    if (pid < 0) {
        fprintf(stderr, "lockrun: cannot fork: %s\n", strerror(errno));
        return CANNOT_RUN;
    }
    if (pid == 0)
        execute(command, mask);

    /* From here on nothing is lost: what came since we blocked is delivered, and passed on, now. */
    sigset_t all;
    sigfillset(&all);
    child = pid;
    sigprocmask(SIG_SETMASK, mask, NULL);
    wait_for_end(pid);
    sigprocmask(SIG_BLOCK, &all, NULL);
    child = 0;

    int status;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int wrong_usage(const char *what, const char *value)
{
    fprintf(stderr, "lockrun: %s%s\nTry 'lockrun --help'.\n", what, value);
    return USAGE;
}

/* Milliseconds, rounded up; -1 if it is no number of seconds. */
static int64_t parse_seconds(const char *text)
{
    char *end;
    bool begins_well = (*text >= '0' && *text <= '9') || *text == '.';
    double seconds = strtod(text, &end);
    if (!begins_well || *end != '\0' || !(seconds <= 1e9))
        return -1;
    int64_t ms = (int64_t)(seconds * 1000);
    return (double)ms < seconds * 1000 ? ms + 1 : ms;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"nonblock", no_argument, NULL, 'n'}, {"wait", required_argument, NULL, 'w'},
        {"exit-code", required_argument, NULL, 'E'}, {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0},
    };
    int64_t timeout_ms = -1;
    long not_obtained = NOT_OBTAINED;
    bool quiet = false;
    int option;
    while ((option = getopt_long(argc, argv, "+nw:E:qhV", OPTIONS, NULL)) != -1) {
        char *end;
        switch (option) {
        case 'n': timeout_ms = 0; break;
        case 'w':
            timeout_ms = parse_seconds(optarg);
            if (timeout_ms < 0)
                return wrong_usage("not a number of seconds: ", optarg);
            break;
        case 'E':
            not_obtained = strtol(optarg, &end, 10);
            if (end == optarg || *end != '\0' || not_obtained < 0 || not_obtained > 255)
                return wrong_usage("not an exit code (0 to 255): ", optarg);
            break;
        case 'q': quiet = true; break;
        case 'h': fputs(HELP, stdout); return EXIT_SUCCESS;
        case 'V': printf("lockrun (lockfolder) %s\n", lf_version()); return EXIT_SUCCESS;
        default: return wrong_usage("this is not understood", "");
        }
    }
    const char *path = argv[optind];
    if (path == NULL)
        return wrong_usage("which folder?", "");
    char **command = argv + optind + 1;
    if (*command != NULL && strcmp(*command, "--") == 0)
        command++;
    if (*command == NULL)
        return wrong_usage("which command?", "");

    if (lf_open(path, LF_OPEN_DEFAULT, &folder) != LF_OK) {
        complain(NULL);
        return LOCK_FAILED;
    }
    handle_signals();
    lf_status locked = timeout_ms == 0 ? lf_lock(folder) : lf_lock_wait(folder, timeout_ms);

    /* The child is to inherit no handler, and the parent to miss no signal, so none is delivered from here to run(). */
    sigset_t all, mask;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &mask);
    alarm(0);
    int result;
    if (caught != 0) {
        result = 128 + caught;
    } else if (locked == LF_OK) {
        result = run(command, &mask);
        if (lf_unlock(folder) != LF_OK) {
            complain(folder);
            result = LOCK_FAILED;
        }
    } else if (locked == LF_BUSY || locked == LF_TIMEOUT) {
        if (!quiet)
            complain(folder);
        result = (int)not_obtained;
    } else {
        complain(folder);
        result = LOCK_FAILED;
    }
    lf_close(folder); /* unlocks, where a signal came just as we got the lock */
    return caught != 0 ? die_by(caught) : result;
}
