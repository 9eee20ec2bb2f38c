/* Processes race for a lock folder and are killed on the way; a referee watches. `race --help` says more.
 *
 * The verdict rests on two witnesses that know nothing of the lock: the referee (race.h) and the ledger, in which each
 * holder checks what the one before left. `--sabotage` skips the lock, and shows that both would see it. */
#define _GNU_SOURCE
#include "race.h"

#include <lockfolder.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char HELP[] =
    "Usage: race [OPTION]... FOLDER\n"
    "Processes compete for the lock FOLDER to update one file, for some seconds. Each\n"
    "checks what the one before left; whoever is killed is replaced.\n"
    "\n"
    "  -p, --processes N           how many (default 8)\n"
    "  -s, --seconds S             how long (default 8)\n"
    "  -k, --kills N               kill N processes a second by SIGKILL, whatever they do\n"
    "  -K, --kill-holders PERCENT  kill so many of the holders, in the midst of their work\n"
    "      --wait                  wait for the lock with lf_lock_wait (default)\n"
    "      --try                   call lf_lock again and again instead\n"
    "      --work MS               holders work for up to MS milliseconds (default 1)\n"
    "      --pause MS              and then stay away for up to MS milliseconds (default 0)\n"
    "      --fence N               take a fencing token every N updates (default 50; 0: never)\n"
    "      --svg FILE              draw a picture of a moment of the race\n"
    "      --sabotage              skip the lock, to see that it is noticed\n"
    "  -q, --quiet                 print the verdict only\n"
    "  -h, --help                  this text\n"
    "  -V, --version               the version of the library\n"
    "\n"
    "Exit status: 0 the lock kept its promise, 1 it did not, 2 the race could not be run.\n";

enum { GOOD = 0, BAD = 1, TROUBLE = 2, GRACE_S = 60 };

typedef struct {
    race *race;
    const race_options *options;
    pid_t pids[MAX_PROCESSES];
    unsigned long long killed;
    char scratch[4096], ledger_path[4200];
    int ledger;
    sigset_t inherited_mask, awaited;
} supervisor;

static void die(const char *what)
{
    fprintf(stderr, "race: %s: %s\n", what, strerror(errno));
    exit(TROUBLE);
}

static race *share(void)
{
    race *race = mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (race == MAP_FAILED)
        die("no shared memory");
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    if ((errno = pthread_mutex_init(&race->referee, &robust)) != 0)
        die("no robust mutex");
    pthread_mutexattr_destroy(&robust);
    race->began = now_ns();
    return race;
}

/* The ledger lies beside the lock folder: in it, there are only bids. */
static void make_ledger(supervisor *s)
{
    int length = (int)strlen(s->options->folder);
    while (length > 1 && s->options->folder[length - 1] == '/')
        length--;
    snprintf(s->scratch, sizeof s->scratch, "%.*s.race-XXXXXX", length, s->options->folder);
    if (mkdtemp(s->scratch) == NULL)
        die(s->scratch);
    snprintf(s->ledger_path, sizeof s->ledger_path, "%s/ledger", s->scratch);
    s->ledger = open(s->ledger_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->ledger < 0 || !write_line(s->ledger, DONE_LINE, (ledger_line){.word = "done"}) ||
        !write_line(s->ledger, MARK_LINE, (ledger_line){.word = "out"}))
        die(s->ledger_path);
}

static void start(supervisor *s, int index)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody races on when the supervisor is gone */
        if (getppid() != parent)
            _exit(TROUBLE);
        sigprocmask(SIG_SETMASK, &s->inherited_mask, NULL);
        _exit(compete(s->race, s->options, index, s->ledger));
    }
    s->pids[index] = pid;
}

/* Buries the dead, and sends others in their place while the race goes on. Returns how many are left. */
static int reap(supervisor *s)
{
    int status, left = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < s->options->processes; i++) {
            if (s->pids[i] != pid)
                continue;
            s->pids[i] = 0;
            if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
                s->killed++;
                add_event(s->race, &s->race->places[i], DIED);
                if (!atomic_load(&s->race->stop))
                    start(s, i);
            } else if (status != 0) {
                report(s->race, &s->race->errors, "PID %d ended by itself with status %#x", (int)pid, (unsigned)status);
            }
        }
    }
    for (int i = 0; i < s->options->processes; i++)
        left += s->pids[i] != 0;
    return left;
}

static unsigned long long count_locks(race *race)
{
    unsigned long long sum = 0;
    for (int i = 0; i < MAX_PROCESSES; i++)
        sum += atomic_load(&race->places[i].locks);
    return sum;
}

static unsigned long long count_violations(race *race)
{
    return atomic_load(&race->seen_by_referee) + atomic_load(&race->seen_in_ledger);
}

static void show_progress(supervisor *s, double elapsed, double rate, bool on_terminal)
{
    int holder = atomic_load(&s->race->holder);
    char who[32] = "nobody";
    if (holder != 0)
        snprintf(who, sizeof who, "PID %d", holder);
    /* One line of a terminal. Whoever enters after somebody died inside has reaped that one's bid, or found it reaped. */
    fprintf(stderr, "%s%5.1f s %6.0f locks/s  %-11s holds  %llu killed, %llu stale bids reaped%s%s", on_terminal ? "\r" : "",
            elapsed, rate, who, s->killed, atomic_load(&s->race->taken_over),
            count_violations(s->race) > 0 ? "  VIOLATED" : "", on_terminal ? "\033[K" : "\n");
}

static double wait_a_moment(supervisor *s, double seconds)
{
    if (seconds > 0) {
        struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
        int number = sigtimedwait(&s->awaited, NULL, &time);
        if (number == SIGINT || number == SIGTERM)
            atomic_store(&s->race->stop, true);
    }
    return (double)(now_ns() - s->race->began) / 1e9;
}

/* Runs the race and returns how long it took. */
static double supervise(supervisor *s)
{
    const race_options *options = s->options;
    bool on_terminal = isatty(STDERR_FILENO);
    double interval = on_terminal ? 0.2 : 1, elapsed = 0, shown = 0, next_kill = 0;
    unsigned long long shown_locks = 0;
    srandom((unsigned)getpid());
    for (int i = 0; i < options->processes; i++)
        start(s, i);
    while (elapsed < options->seconds && !atomic_load(&s->race->stop)) {
        double wake = shown + interval < options->seconds ? shown + interval : options->seconds;
        if (options->kills_per_second > 0) {
            if (elapsed >= next_kill) {
                pid_t victim = s->pids[random() % options->processes];
                if (victim > 0)
                    kill(victim, SIGKILL); /* it can't be another's PID: nobody else reaps our children */
                next_kill += 1 / options->kills_per_second;
            }
            wake = next_kill < wake ? next_kill : wake;
        }
        elapsed = wait_a_moment(s, wake - elapsed);
        reap(s);
        if (elapsed >= shown + interval) {
            unsigned long long locks = count_locks(s->race);
            if (!options->quiet)
                show_progress(s, elapsed, (double)(locks - shown_locks) / (elapsed - shown), on_terminal);
            shown = elapsed;
            shown_locks = locks;
        }
    }
    atomic_store(&s->race->stop, true);
    if (on_terminal && !options->quiet)
        fputc('\n', stderr);
    double last = elapsed + GRACE_S;
    for (double now = elapsed; reap(s) > 0 && now < last;)
        now = wait_a_moment(s, 0.1);
    for (int i = 0; i < options->processes; i++) {
        if (s->pids[i] == 0)
            continue;
        report(s->race, &s->race->errors, "PID %d was still waiting %d s after the race", (int)s->pids[i], GRACE_S);
        kill(s->pids[i], SIGKILL);
        waitpid(s->pids[i], NULL, 0);
    }
    return elapsed;
}

/* Reports every entry of a folder but those whose name begins with `expected`, of which one may be there. */
static void check_entries(race *race, const char *path, const char *expected)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        report(race, &race->errors, "cannot open %s: %s", path, strerror(errno));
        return;
    }
    int seen = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        bool is_expected = strncmp(entry->d_name, expected, strlen(expected)) == 0 && seen++ == 0;
        if (!is_expected && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            report(race, &race->errors, "%s/%s was left behind", path, entry->d_name);
    }
    closedir(directory);
}

/* Afterwards: the lock is to be had, its fencing tokens go on, and nothing is left that is not explained. */
static void check_folder(supervisor *s, ledger_line last)
{
    race *race = s->race;
    lf_folder *folder;
    lf_status status = lf_open(s->options->folder, LF_OPEN_NO_CREATE, &folder);
    uint64_t token;
    bool in_use = true;
    if (status == LF_OK && (status = lf_lock_wait(folder, 10 * 1000)) == LF_OK &&
        (status = lf_fence(folder, &token)) == LF_OK && (status = lf_unlock(folder)) == LF_OK &&
        (status = lf_reap_stale(folder, NULL)) == LF_OK)
        status = lf_in_use(folder, &in_use);
    if (status != LF_OK) {
        char why[MAX_REPORT / 2];
        lf_error_message(folder, why, sizeof why);
        report(race, &race->errors, "after the race: %s: %s", lf_status_name(status), why);
    } else if (in_use) {
        report(race, &race->errors, "after the race the folder is in use");
    } else if (token <= last.fence) {
        report(race, &race->seen_in_ledger, "the fencing token %llu came after %llu", (unsigned long long)token,
               last.fence);
    }
    lf_close(folder);
    char hidden[4200];
    snprintf(hidden, sizeof hidden, "%s/.lockfolder", s->options->folder);
    check_entries(race, s->options->folder, ".lockfolder");
    check_entries(race, hidden, "fence-");
}

static race_result judge(supervisor *s, double seconds)
{
    race *race = s->race;
    ledger_line last = {0};
    unsigned long long updates = count_updates(race), adopted = atomic_load(&race->adopted);
    if (!read_line(s->ledger, DONE_LINE, &last))
        report(race, &race->seen_in_ledger, "the ledger is torn at the end");
    /* The last to be in there may have died before its report, and nobody came after it. */
    bool died_unreported = pthread_mutex_trylock(&race->referee) == EOWNERDEAD && last.number == updates + 1;
    if (last.number != updates && !died_unreported)
        report(race, &race->seen_in_ledger, "%llu updates are in the ledger, %llu were reported", last.number, updates);
    if (updates == 0)
        report(race, &race->errors, "nobody ever got the lock");
    check_folder(s, last);

    unsigned long long violations = count_violations(race), errors = atomic_load(&race->errors), least = UINT64_MAX, most = 0;
    for (int i = 0; i < s->options->processes; i++) {
        unsigned long long locks = atomic_load(&race->places[i].locks);
        least = locks < least ? locks : least;
        most = locks > most ? locks : most;
    }
    race_result result = {seconds, count_locks(race), s->killed, violations, violations == 0 && errors == 0};
    if (!s->options->quiet) {
        printf("locks       %llu in %.1f s by %d processes (%llu to %llu each)\n", result.locks, seconds,
               s->options->processes, least, most);
        printf("killed      %llu, %llu of them inside\n", s->killed, atomic_load(&race->taken_over));
        printf("updates     %llu in the ledger, %llu reported, of them %llu by the next after a death\n", last.number,
               updates, adopted);
        printf("violations  %llu seen by the referee, %llu in the ledger\n", atomic_load(&race->seen_by_referee),
               atomic_load(&race->seen_in_ledger));
        printf("errors      %llu\n", errors);
    }
    if (!result.good)
        printf("first       %s\n", race->report);
    printf("verdict     %s\n", violations > 0 ? "VIOLATED: two were inside at once"
                               : errors > 0   ? "FAILED: nobody met anybody inside, but not all went well"
                                              : "good: never two inside at once, nothing lost, the folder is free");
    return result;
}

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most)) {
        fprintf(stderr, "race: %s is not a number from %g to %g\n", text, least, most);
        exit(TROUBLE);
    }
    return value;
}

static race_options parse(int argc, char **argv)
{
    enum { WAIT = 256, TRY, WORK, PAUSE, FENCE, SVG, SABOTAGE };
    static const struct option OPTIONS[] = {
        {"processes", required_argument, NULL, 'p'}, {"seconds", required_argument, NULL, 's'},
        {"kills", required_argument, NULL, 'k'}, {"kill-holders", required_argument, NULL, 'K'},
        {"wait", no_argument, NULL, WAIT}, {"try", no_argument, NULL, TRY}, {"work", required_argument, NULL, WORK},
        {"pause", required_argument, NULL, PAUSE}, {"fence", required_argument, NULL, FENCE},
        {"svg", required_argument, NULL, SVG}, {"sabotage", no_argument, NULL, SABOTAGE},
        {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0},
    };
    race_options options = {.processes = 8, .seconds = 8, .work_ms = 1, .fence_every = 50};
    int option;
    while ((option = getopt_long(argc, argv, "p:s:k:K:qhV", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'p': options.processes = (int)number(optarg, 1, MAX_PROCESSES); break;
        case 's': options.seconds = number(optarg, 0.1, 86400); break;
        case 'k': options.kills_per_second = number(optarg, 0, 1000); break;
        case 'K': options.kill_holders = (int)number(optarg, 0, 100); break;
        case WAIT: options.try_lock = false; break;
        case TRY: options.try_lock = true; break;
        case WORK: options.work_ms = (int)number(optarg, 0, 60000); break;
        case PAUSE: options.pause_ms = (int)number(optarg, 0, 60000); break;
        case FENCE: options.fence_every = (int)number(optarg, 0, 1e9); break;
        case SVG: options.svg = optarg; break;
        case SABOTAGE: options.sabotage = true; break;
        case 'q': options.quiet = true; break;
        case 'h': fputs(HELP, stdout); exit(GOOD);
        case 'V': printf("race (lockfolder) %s\n", lf_version()); exit(GOOD);
        default: fputs("Try 'race --help'.\n", stderr); exit(TROUBLE);
        }
    }
    if (argc - optind != 1) {
        fputs("race: one folder, please. Try 'race --help'.\n", stderr);
        exit(TROUBLE);
    }
    options.folder = argv[optind];
    return options;
}

int main(int argc, char **argv)
{
    race_options options = parse(argc, argv);
    /* Makes the folder, and is closed before the first fork: a child would inherit what proves that its owner lives. */
    lf_folder *folder;
    if (lf_open(options.folder, LF_OPEN_DEFAULT, &folder) != LF_OK) {
        char why[1024];
        lf_error_message(NULL, why, sizeof why);
        fprintf(stderr, "race: %s\n", why);
        return TROUBLE;
    }
    lf_close(folder);

    supervisor s = {.race = share(), .options = &options};
    make_ledger(&s);
    sigemptyset(&s.awaited);
    sigaddset(&s.awaited, SIGCHLD);
    sigaddset(&s.awaited, SIGINT);
    sigaddset(&s.awaited, SIGTERM);
    sigprocmask(SIG_BLOCK, &s.awaited, &s.inherited_mask);
    double seconds = supervise(&s);
    race_result result = judge(&s, seconds);
    if (unlink(s.ledger_path) != 0 || rmdir(s.scratch) != 0)
        die(s.scratch);
    if (options.svg != NULL && !draw(s.race, &options, &result))
        die(options.svg);
    close(s.ledger);
    munmap(s.race, sizeof *s.race);
    return result.good ? GOOD : BAD;
}
