/* Lists the bids in a lock folder. See `lockls --help`. */
#define _GNU_SOURCE /* getopt_long */
#include <lockfolder.h>

#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN_USE = 0, FREE = 1, TROUBLE = 2 };

static const char HELP[] =
    "Usage: lockls [OPTION]... FOLDER\n"
    "Lists the bids in the lock folder FOLDER: of the holder, and of claimants.\n"
    "\n"
    "  -r, --reap     first delete the bids of dead processes, and print how many\n"
    "  -q, --quiet    print nothing, and only set the exit status\n"
    "  -h, --help     this text\n"
    "  -V, --version  the version of the library\n"
    "\n"
    "STATE is live, stale (the process is gone, and the next lock deletes the bid),\n"
    "unknown (another host or container: counts as live) or malformed (it is cut\n"
    "off, or is not a bid: counts as live). AGE is the time since the bid was\n"
    "posted. In text that others wrote, what is not printable ASCII is shown as\n"
    "\\xNN.\n"
    "\n"
    "Exit status: 0 a bid is there, 1 no bid is there (stale bids don't count),\n"
    "2 wrong usage, or the folder is missing or can't be read.\n";

enum { STATE, PID, COMMAND, HOST, AGE, NAME, COLUMNS };
typedef struct {
    char *cells[COLUMNS];
} row;

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("lockls: out of memory\n", stderr);
        exit(TROUBLE);
    }
    return memory;
}

/* A copy that is safe to print on a terminal. "-" for NULL. */
static char *escape(const char *text)
{
    if (text == NULL)
        text = "-";
    char *copy = allocate(4 * strlen(text) + 1), *end = copy;
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '\\')
            end += sprintf(end, "\\\\");
        else if (byte < 0x20 || byte > 0x7e)
            end += sprintf(end, "\\x%02x", byte);
        else
            *end++ = (char)byte;
    }
    return copy;
}

static const char *state_name(lf_bid_state state)
{
    switch (state) {
    case LF_BID_OWN: return "own";
    case LF_BID_LIVE: return "live";
    case LF_BID_STALE: return "stale";
    case LF_BID_MALFORMED: return "malformed";
    default: return "unknown";
    }
}

static void describe_age(char *text, size_t size, int64_t ms)
{
    int64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(text, size, "%" PRId64 "ms", ms);
    else if (s < 60)
        snprintf(text, size, "%" PRId64 ".%" PRId64 "s", s, ms % 1000 / 100);
    else if (s < 60 * 60)
        snprintf(text, size, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else if (s < 24 * 60 * 60)
        snprintf(text, size, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(text, size, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
}

static row describe(const lf_bid *bid)
{
    char pid[32] = "-", age[64];
    if (bid->pid > 0)
        snprintf(pid, sizeof pid, "%" PRId64, bid->pid);
    describe_age(age, sizeof age, bid->age_ms);
    return (row){{escape(state_name(bid->state)), escape(pid), escape(bid->command), escape(bid->host), escape(age),
                  escape(bid->name)}};
}

static void print_table(const lf_bid_list *bids)
{
    static const char *const TITLES[COLUMNS] = {"STATE", "PID", "COMMAND", "HOST", "AGE", "NAME"};
    size_t count = lf_bid_list_len(bids), width[COLUMNS] = {0};
    row *rows = allocate((count + 1) * sizeof *rows);
    for (int column = 0; column < COLUMNS; column++)
        rows[0].cells[column] = escape(TITLES[column]);
    for (size_t i = 0; i < count; i++)
        rows[i + 1] = describe(lf_bid_list_get(bids, i));
    for (size_t i = 0; i <= count; i++)
        for (int column = 0; column < COLUMNS; column++)
            if (strlen(rows[i].cells[column]) > width[column])
                width[column] = strlen(rows[i].cells[column]);

    for (size_t i = 0; i <= count; i++) {
        for (int column = 0; column < NAME; column++)
            printf(column == PID || column == AGE ? "%*s  " : "%-*s  ", (int)width[column], rows[i].cells[column]);
        puts(rows[i].cells[NAME]);
        for (int column = 0; column < COLUMNS; column++)
            free(rows[i].cells[column]);
    }
    free(rows);
}

static int complain(const lf_folder *folder)
{
    char why[2048];
    lf_error_message(folder, why, sizeof why);
    fprintf(stderr, "lockls: %s\n", why);
    return TROUBLE;
}

static int list(lf_folder *folder, bool reap, bool quiet)
{
    if (reap) {
        size_t reaped;
        if (lf_reap_stale(folder, &reaped) != LF_OK)
            return complain(folder);
        if (!quiet)
            printf("reaped %zu stale %s\n", reaped, reaped == 1 ? "bid" : "bids");
    }
    lf_bid_list *bids;
    if (lf_bids(folder, &bids) != LF_OK)
        return complain(folder);
    int result = FREE;
    for (size_t i = 0; i < lf_bid_list_len(bids); i++)
        if (lf_bid_list_get(bids, i)->state != LF_BID_STALE)
            result = IN_USE;
    if (!quiet && lf_bid_list_len(bids) > 0)
        print_table(bids);
    lf_bid_list_free(bids);
    return result;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"reap", no_argument, NULL, 'r'}, {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0},
    };
    bool reap = false, quiet = false;
    int option;
    while ((option = getopt_long(argc, argv, "rqhV", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'r': reap = true; break;
        case 'q': quiet = true; break;
        case 'h': fputs(HELP, stdout); return 0;
        case 'V': printf("lockls (lockfolder) %s\n", lf_version()); return 0;
        default: fputs("Try 'lockls --help'.\n", stderr); return TROUBLE;
        }
    }
    if (argc - optind != 1) {
        fputs("lockls: name one folder. Try 'lockls --help'.\n", stderr);
        return TROUBLE;
    }
    lf_folder *folder;
    if (lf_open(argv[optind], LF_OPEN_NO_CREATE, &folder) != LF_OK)
        return complain(NULL);
    int result = list(folder, reap, quiet);
    lf_close(folder);
    if (fflush(stdout) != 0) { /* a full disk, a closed pipe */
        perror("lockls");
        return TROUBLE;
    }
    return result;
}
