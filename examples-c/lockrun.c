/* Runs a command while it holds the lock, as flock(1) does. See `lockrun --help`. */
#define _GNU_SOURCE /* getopt_long */
#include <lockfolder.h>

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_OBTAINED = 1, USAGE = 64, LOCK_FAILED = 71, CANNOT_RUN = 126, NOT_FOUND = 127 };

static lf_folder *folder;

/* The functions that differ by system, in the order of their calls:
 *   heed_signals  from now on a signal that would end this process ends the wait
 *   hold_signals  from now on such a signal is kept until run(). True: a signal has ended the wait
 *   run           runs the command, passes signals on to it, and returns its status
 *   leave         exits with the status, or ends the process by the signal that ended the wait */
#ifdef _WIN32
#include "lockrun_windows.h"
#else
#include "lockrun_posix.h"
#endif

static const char HELP[] =
    "Usage: lockrun [OPTION]... FOLDER [--] COMMAND [ARGUMENT]...\n"
    "Runs COMMAND while it holds the lock of FOLDER. Makes FOLDER if it is missing.\n"
    "\n"
    "  -n, --nonblock        don't wait: fail if another process holds the lock\n"
    "  -w, --wait SECONDS    wait no longer than this (0.5 is half a second)\n"
    "  -E, --exit-code CODE  exit with CODE if the lock was not obtained (default 1)\n"
    "  -q, --quiet           don't name the holder if the lock was not obtained\n"
    "  -h, --help            this text\n"
    "  -V, --version         the version of the library\n"
    "\n"
    ABOUT_SIGNALS
    "\n"
    "Exit status: " ABOUT_COMMANDS_STATUS "; CODE if the lock\n"
    "was not obtained; 64 wrong usage; 71 the folder can't be used, or the lock was\n"
    "lost while COMMAND ran; 126 COMMAND can't be run; 127 COMMAND was not found.\n";

static void complain(const lf_folder *about)
{
    char why[2048];
    lf_error_message(about, why, sizeof why);
    fprintf(stderr, "lockrun: %s\n", why);
}

static int wrong_usage(const char *what, const char *value)
{
    fprintf(stderr, "lockrun: %s%s\nTry 'lockrun --help'.\n", what, value);
    return USAGE;
}

/* The milliseconds, rounded up. -1 if the text is not a number of seconds. */
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
    heed_signals();
    lf_status locked = timeout_ms == 0 ? lf_lock(folder) : lf_lock_wait(folder, timeout_ms);
    int result = EXIT_SUCCESS;
    if (hold_signals()) {
        /* see leave() */
    } else if (locked == LF_OK) {
        result = run(command);
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
    lf_close(folder); /* this unlocks if a signal came just after the lock was taken */
    return leave(result);
}
