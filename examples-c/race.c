/* Processes race for a lock folder, and some are killed. A referee watches the race. See `race --help`.
 *
 * Two witnesses that know nothing of the lock give the verdict: the referee (race.h), and the ledger. In the ledger each holder
 * checks what the holder before it wrote. `--sabotage` skips the lock, and shows that both witnesses notice. */
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
#include <unistd.h>

static const char HELP[] =
    "Usage: race [OPTION]... FOLDER\n"
    "Processes compete for the lock FOLDER to update one file, for some seconds. Each\n"
    "checks what the one before wrote. A killed process is replaced.\n"
    "\n"
    "  -p, --processes N           how many (default 8)\n"
    "  -s, --seconds S             how long (default 8)\n"
    "  -k, --kills N               kill N processes a second by SIGKILL, at any moment\n"
    "  -K, --kill-holders PERCENT  kill this share of the holders, during their work\n"
    "  -S, --stops N               stop N processes a second by SIGSTOP, for half a second at most\n"
    "  -c, --containers N          N of the processes are each PID 1 of a container (as root)\n"
    "  -g, --guest COMMAND         one of the processes is COMMAND, which locks in its own way\n"
    "                              (see tests/soak); can be given several times\n"
    "      --wait                  wait for the lock with lf_lock_wait (default)\n"
    "      --try                   call lf_lock again and again instead\n"
    "      --mix                   use both ways in turn\n"
    "      --work MS               holders work for up to MS milliseconds (default 1)\n"
    "      --pause MS              and then pause for up to MS milliseconds (default 0)\n"
    "      --fence N               take a fencing token every N updates (default 50; 0: never)\n"
    "      --grace MS              bids that can't be read are stale after MS milliseconds\n"
    "      --svg FILE              draw a picture of a moment of the race\n"
    "      --sabotage              skip the lock, to see that the race notices\n"
    "  -q, --quiet                 print the verdict only\n"
    "  -h, --help                  this text\n"
    "  -V, --version               the version of the library\n"
    "\n"
    "Exit status: 0 the lock kept its promise, 1 it did not, 2 the race could not be run.\n";

void die(const char *what)
{
    fprintf(stderr, "race: %s: %s\n", what, strerror(errno));
    exit(TROUBLE);
}

static race *share(const race_options *options, int *memory)
{
    *memory = memfd_create("race", MFD_CLOEXEC); /* a file, so that guests can map it too */
    race *race = MAP_FAILED;
    if (*memory >= 0 && ftruncate(*memory, sizeof *race) == 0)
        race = mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED, *memory, 0);
    if (race == MAP_FAILED)
        die("no shared memory");
    race->options = *options;
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

/* The ledger is beside the lock folder, and not inside: there are only bids inside. */
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

/* Reports every entry of a folder. One entry whose name begins with `expected` is allowed. */
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

/* Checks the folder after the race: the lock is free, the fencing tokens grow on, and only known files are left. */
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

/* Prints how many locks each kind of process got. */
static void print_shares(supervisor *s)
{
    unsigned long long ours = 0, contained = 0;
    for (int i = 0; i < s->options->processes - s->options->guests; i++)
        *(is_contained(s->options, i) ? &contained : &ours) += atomic_load(&s->race->places[i].locks);
    printf("            %llu by ours, %llu by ours in containers\n", ours, contained);
    for (int i = 0; i < s->options->guests; i++)
        printf("            %llu by %s\n",
               (unsigned long long)atomic_load(&s->race->places[s->options->processes - s->options->guests + i].locks),
               s->options->guest[i]);
}

static race_result judge(supervisor *s, double seconds)
{
    race *race = s->race;
    ledger_line last = {0};
    unsigned long long updates = count_updates(race), adopted = atomic_load(&race->adopted);
    if (!read_line(s->ledger, DONE_LINE, &last))
        report(race, &race->seen_in_ledger, "the ledger is torn at the end");
    /* The last holder may have died before its report, and no holder came after it. */
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
        if (s->options->containers + s->options->guests > 0)
            print_shares(s);
        printf("killed      %llu, %llu of them inside\n", s->killed, atomic_load(&race->taken_over));
        if (s->options->stops_per_second > 0)
            printf("stopped     %llu, and went on after half a second at most\n", s->stopped);
        printf("standstills %llu times nobody got the lock for %d s\n", s->wedges, WEDGE_S);
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
    enum { WAIT = 256, TRY, MIX, WORK, PAUSE, FENCE, GRACE, SVG, SABOTAGE };
    static const struct option OPTIONS[] = {
        {"processes", required_argument, NULL, 'p'}, {"seconds", required_argument, NULL, 's'},
        {"kills", required_argument, NULL, 'k'}, {"kill-holders", required_argument, NULL, 'K'},
        {"stops", required_argument, NULL, 'S'}, {"containers", required_argument, NULL, 'c'},
        {"guest", required_argument, NULL, 'g'}, {"grace", required_argument, NULL, GRACE},
        {"wait", no_argument, NULL, WAIT}, {"try", no_argument, NULL, TRY}, {"mix", no_argument, NULL, MIX}, {"work", required_argument, NULL, WORK},
        {"pause", required_argument, NULL, PAUSE}, {"fence", required_argument, NULL, FENCE},
        {"svg", required_argument, NULL, SVG}, {"sabotage", no_argument, NULL, SABOTAGE},
        {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0},
    };
    race_options options = {.processes = 8, .seconds = 8, .work_ms = 1, .fence_every = 50};
    int option;
    while ((option = getopt_long(argc, argv, "p:s:k:K:S:c:g:qhV", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'p': options.processes = (int)number(optarg, 1, MAX_PROCESSES); break;
        case 's': options.seconds = number(optarg, 0.1, 86400); break;
        case 'k': options.kills_per_second = number(optarg, 0, 1000); break;
        case 'K': options.kill_holders = number(optarg, 0, 100); break;
        case 'S': options.stops_per_second = number(optarg, 0, 1000); break;
        case 'c': options.containers = (int)number(optarg, 0, MAX_PROCESSES); break;
        case 'g':
            if (options.guests == MAX_PROCESSES)
                die("too many guests");
            options.guest[options.guests++] = optarg;
            break;
        case GRACE: options.grace_ms = (uint32_t)number(optarg, 0, UINT32_MAX); break;
        case WAIT: options.way = BY_WAIT; break;
        case TRY: options.way = BY_TRY; break;
        case MIX: options.way = BY_BOTH; break;
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
        fputs("race: name one folder. Try 'race --help'.\n", stderr);
        exit(TROUBLE);
    }
    if (options.containers + options.guests > options.processes) {
        fputs("race: more containers and guests than processes\n", stderr);
        exit(TROUBLE);
    }
    options.folder = argv[optind];
    return options;
}

int main(int argc, char **argv)
{
    race_options options = parse(argc, argv);
    /* Makes the folder. It is closed before the first fork, because a child would inherit the proof that the owner lives. */
    lf_folder *folder;
    if (lf_open(options.folder, LF_OPEN_DEFAULT, &folder) != LF_OK) {
        char why[1024];
        lf_error_message(NULL, why, sizeof why);
        fprintf(stderr, "race: %s\n", why);
        return TROUBLE;
    }
    lf_close(folder);

    supervisor s = {.options = &options};
    s.race = share(&options, &s.memory);
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
    close(s.memory);
    munmap(s.race, sizeof *s.race);
    return result.good ? GOOD : BAD;
}
