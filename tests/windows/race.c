/* Processes race for a lock folder and are killed on the way: what examples-c/race.c, a POSIX program, is elsewhere.
 *
 * Each worker waits for the lock or tries it, and then says in shared memory that it is in. Whoever finds somebody there that
 * still lives has seen a violation. No process handle is closed before the end, so no PID is used twice.
 */
#include <lockfolder.h>

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static const char HELP[] =
    "Usage: race [OPTION]... FOLDER\n"
    "Processes compete for the lock FOLDER; whoever is killed is replaced.\n"
    "\n"
    "  -p, --processes N  how many (default 8)\n"
    "  -n, --deaths N     end after N kills, every other one of a holder (default 40)\n"
    "      --sabotage     skip the lock and kill nobody, to see that it is noticed\n"
    "  -h, --help         this text\n"
    "  -V, --version      the version of the library\n"
    "\n"
    "Exit status: 0 the lock kept its promise, 1 it did not, 2 the race could not be run.\n";

enum { GOOD = 0, BAD = 1, TROUBLE = 2 };
enum { NONE, WANTED, FOUND };
enum { MAX_WORKERS = 64, MAX_PROCESSES = 4096, GUARD_MS = 120 * 1000 };

typedef struct {
    volatile LONG inside; /* the PID of who is in, or 0 */
    volatile LONG entries, violations, troubles, stop;
    LONG sabotage; /* workers skip the lock */
    volatile LONG victim; /* WANTED: whoever comes in is to be killed there. FOUND: it is in, and stays */
} shared_state;

static char shared_name[64];
static HANDLE parent; /* of a worker, which does not outlive it */

static void die(const char *what)
{
    fprintf(stderr, "race: %s: error %lu\n", what, GetLastError());
    exit(TROUBLE);
}

static shared_state *share(void)
{
    HANDLE mapping =
        CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, sizeof(shared_state), shared_name);
    shared_state *state = mapping == NULL ? NULL : MapViewOfFile(mapping, FILE_MAP_ALL_ACCESS, 0, 0, sizeof *state);
    if (state == NULL)
        die("cannot share memory");
    return state;
}

static int is_alive(DWORD pid)
{
    HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, pid);
    if (process == NULL)
        return 0;
    int alive = WaitForSingleObject(process, 0) == WAIT_TIMEOUT;
    CloseHandle(process);
    return alive;
}

/* ---- the workers ---- */

static void complain(shared_state *state, lf_folder *folder, const char *what)
{
    char why[1024];
    lf_error_message(folder, why, sizeof why);
    InterlockedIncrement(&state->troubles);
    fprintf(stderr, "worker %lu: %s: %s\n", GetCurrentProcessId(), what, why);
}

static void critical_section(shared_state *state)
{
    LONG me = (LONG)GetCurrentProcessId();
    LONG other = InterlockedExchange(&state->inside, me);
    if (other != 0 && is_alive((DWORD)other)) {
        InterlockedIncrement(&state->violations);
        fprintf(stderr, "VIOLATION: %ld came in while %ld was there\n", me, other);
    }
    if (InterlockedCompareExchange(&state->victim, FOUND, WANTED) == WANTED)
        WaitForSingleObject(parent, INFINITE); /* it is killed here */
    Sleep((DWORD)rand() % 3);
    if (InterlockedCompareExchange(&state->inside, 0, me) != me) {
        InterlockedIncrement(&state->violations);
        fprintf(stderr, "VIOLATION: somebody came in while %ld was there\n", me);
    }
    InterlockedIncrement(&state->entries);
}

static int worker(const char *path, DWORD parent_pid)
{
    parent = OpenProcess(SYNCHRONIZE, FALSE, parent_pid);
    shared_state *state = share();
    lf_folder *folder;
    srand(GetCurrentProcessId());
    if (lf_open(path, LF_OPEN_DEFAULT, &folder) != LF_OK) {
        complain(state, NULL, "cannot open");
        return EXIT_FAILURE;
    }
    while (!state->stop && WaitForSingleObject(parent, 0) == WAIT_TIMEOUT) {
        if (state->sabotage) {
            critical_section(state);
            continue;
        }
        lf_status status = rand() % 4 == 0 ? lf_lock(folder) : lf_lock_wait(folder, rand() % 4 == 0 ? 5 : 10 * 1000);
        if (status == LF_OK) {
            critical_section(state);
            if (lf_unlock(folder) != LF_OK)
                complain(state, folder, "cannot unlock");
        } else if (status != LF_BUSY && status != LF_TIMEOUT) {
            complain(state, folder, "cannot lock");
        }
    }
    lf_close(folder);
    return EXIT_SUCCESS;
}

/* ---- the parent ---- */

static HANDLE started[MAX_PROCESSES];
static int start_count;

static int start(const char *path)
{
    char program[MAX_PATH], command[3 * MAX_PATH];
    STARTUPINFOA how = {.cb = sizeof how};
    PROCESS_INFORMATION process;
    GetModuleFileNameA(NULL, program, sizeof program);
    snprintf(command, sizeof command, "\"%s\" --worker \"%s\" %s %lu", program, path, shared_name,
             GetCurrentProcessId());
    if (start_count == MAX_PROCESSES || !CreateProcessA(program, command, NULL, NULL, FALSE, 0, NULL, NULL, &how, &process))
        die("cannot start a worker");
    CloseHandle(process.hThread);
    started[start_count] = process.hProcess;
    return start_count++;
}

/* Somebody gets in, or the folder is wedged. */
static int await_entries(shared_state *state, LONG more)
{
    LONG goal = state->entries + more;
    for (int waited = 0; state->entries < goal; waited += 10) {
        if (waited > GUARD_MS) {
            fprintf(stderr, "WEDGED: nobody gets the lock any more\n");
            return 0;
        }
        Sleep(10);
    }
    return 1;
}

static int tidy(const char *path)
{
    lf_folder *folder;
    lf_bid_list *bids = NULL;
    int ok = lf_open(path, LF_OPEN_NO_CREATE, &folder) == LF_OK && lf_lock_wait(folder, GUARD_MS) == LF_OK &&
             lf_reap_stale(folder, NULL) == LF_OK && lf_bids(folder, &bids) == LF_OK && lf_bid_list_len(bids) == 1 &&
             lf_bid_list_get(bids, 0)->state == LF_BID_OWN && lf_unlock(folder) == LF_OK;
    lf_bid_list_free(bids);
    if (!ok) {
        char why[1024];
        lf_error_message(folder, why, sizeof why);
        fprintf(stderr, "the folder is not as it should be: %s\n", why);
    }
    lf_close(folder);
    return ok;
}

static int number(const char *text, int least, int most)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < least || value > most) {
        fprintf(stderr, "race: %s is not a number from %d to %d\n", text, least, most);
        exit(TROUBLE);
    }
    return (int)value;
}

/* Kills as many as it is told, and counts those who were inside. False: wedged. */
static bool race(shared_state *state, const char *path, int workers, int deaths, int *holders)
{
    int running[MAX_WORKERS];
    bool ok = true;
    for (int i = 0; i < workers; i++)
        running[i] = start(path);
    for (int kill = 0; ok && kill < deaths; kill++) {
        ok = await_entries(state, 5);
        int victim = rand() % workers;
        if (kill % 2 == 0) { /* every other time the one that is in; else anybody, wherever it is */
            state->victim = WANTED;
            for (int waited = 0; ok && state->victim != FOUND; waited++) {
                ok = waited < GUARD_MS;
                Sleep(1);
            }
            for (int i = 0; i < workers; i++)
                if (GetProcessId(started[running[i]]) == (DWORD)state->inside)
                    victim = i;
            state->victim = NONE;
        }
        TerminateProcess(started[running[victim]], 9);
        WaitForSingleObject(started[running[victim]], INFINITE);
        *holders += (DWORD)state->inside == GetProcessId(started[running[victim]]);
        running[victim] = start(path);
    }
    ok = ok && await_entries(state, 5 * workers);
    for (int waited = 0; state->sabotage && state->violations == 0 && waited < GUARD_MS; waited += 10)
        Sleep(10); /* until two have met */
    state->stop = 1;
    for (int i = 0; i < workers; i++) {
        if (WaitForSingleObject(started[running[i]], GUARD_MS) != WAIT_OBJECT_0) {
            fprintf(stderr, "WEDGED: a worker does not end\n");
            TerminateProcess(started[running[i]], 9);
            ok = false;
        }
    }
    return ok;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--worker") == 0) {
        snprintf(shared_name, sizeof shared_name, "%s", argv[3]);
        return worker(argv[2], strtoul(argv[4], NULL, 10));
    }
    enum { SABOTAGE = 256 };
    static const struct option OPTIONS[] = {
        {"processes", required_argument, NULL, 'p'}, {"deaths", required_argument, NULL, 'n'},
        {"sabotage", no_argument, NULL, SABOTAGE}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'}, {0},
    };
    int workers = 8, deaths = 40, option;
    bool sabotage = false;
    while ((option = getopt_long(argc, argv, "p:n:hV", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'p': workers = number(optarg, 1, MAX_WORKERS); break;
        case 'n': deaths = number(optarg, 0, MAX_PROCESSES - MAX_WORKERS); break;
        case SABOTAGE: sabotage = true; deaths = 0; break;
        case 'h': fputs(HELP, stdout); return GOOD;
        case 'V': printf("race (lockfolder) %s\n", lf_version()); return GOOD;
        default: fputs("Try 'race --help'.\n", stderr); return TROUBLE;
        }
    }
    if (argc - optind != 1) {
        fputs("race: one folder, please. Try 'race --help'.\n", stderr);
        return TROUBLE;
    }
    const char *path = argv[optind];
    snprintf(shared_name, sizeof shared_name, "lockfolder-race-%lu", GetCurrentProcessId());
    shared_state *state = share();
    state->sabotage = sabotage;
    srand(GetCurrentProcessId());
    int holders = 0;
    bool good = race(state, path, workers, deaths, &holders) && tidy(path) && holders >= deaths / 2 &&
                state->violations == 0 && state->troubles == 0;
    printf("entries     %ld by %d processes\n", state->entries, workers);
    printf("killed      %d, %d of them inside\n", deaths, holders);
    printf("violations  %ld\n", state->violations);
    printf("errors      %ld\n", state->troubles);
    printf("verdict     %s\n", state->violations > 0 ? "VIOLATED: two were inside at once"
                               : !good              ? "FAILED: nobody met anybody inside, but not all went well"
                                                    : "good: never two inside at once, the folder is free");
    return good ? GOOD : BAD;
}
