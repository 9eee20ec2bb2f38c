/* Claimants that compete for a folder on a network, and tell a referee elsewhere what they believe. The referee
 * (referee.py) says which answers there are.
 *
 *     claimant FOLDER REFEREE NAME [--processes N] [--flags N] [--lease MS] [--how wait|try|both] [--work MS]
 *              [--pause MS] [--kill-every MS] [--broken]
 *
 * They go on until SIGTERM comes. Then each ends its hold. With --kill-every a random process gets SIGKILL again and
 * again, and another takes its place. With --broken nobody locks: this tests the referee.
 */
#define _GNU_SOURCE 1

#include <lockfolder.h>

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PROCESSES = 64, REFEREE_PORT = 7000, STATUS_OF_FAILURE = 1 };

static const char *path, *referee, *name;
static long processes = 1, flags, lease, work_ms = 5, pause_ms = 20, kill_every_ms;
static const char *how = "wait";
static bool broken;
static volatile sig_atomic_t *over; /* shared by all processes */
static int line = -1; /* the connection to the referee */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void finish(int number) {
    (void)number;
    *over = 1;
}

static void rest(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static long up_to(long most) { return most > 0 ? random() % most + 1 : 0; }

static void fail(const char *what) {
    fprintf(stderr, "claimant %s: %s: %s\n", name, what, strerror(errno));
    _exit(STATUS_OF_FAILURE);
}

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...) {
    char text[1024];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text - 1, format, values);
    va_end(values);
    if (length > (int)sizeof text - 2) {
        length = (int)sizeof text - 2;
    }
    for (int i = 0; i < length; i++) {
        text[i] = text[i] == '\n' ? ' ' : text[i];
    }
    text[length++] = '\n';
    for (int sent = 0; sent < length;) {
        ssize_t count = write(line, text + sent, (size_t)(length - sent));
        if (count <= 0) {
            fail("the referee does not listen");
        }
        sent += (int)count;
    }
}

/* Waits for the referee's answer. 'y' is yes. */
static bool answered(void) {
    char answer = 0;
    if (read(line, &answer, 1) != 1) {
        fail("the referee does not answer");
    }
    return answer == 'y';
}

static void call_referee(int number) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(REFEREE_PORT)};
    inet_pton(AF_INET, referee, &address.sin_addr);
    int one = 1;
    line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(line, (struct sockaddr *)&address, sizeof address) != 0) {
        fail("no referee");
    }
    setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    tell("hello %s.%d", name, number);
}

static void tell_error(const lf_folder *folder, const char *call, lf_status status) {
    char message[512] = "";
    lf_error_message(folder, message, sizeof message);
    tell("error %s %s %s", call, lf_status_name(status), message);
}

static lf_status lock(lf_folder *folder) {
    bool wait = strcmp(how, "wait") == 0 || (strcmp(how, "both") == 0 && random() % 2 == 0);
    lf_status status = wait ? lf_lock_wait(folder, 1000 + up_to(4000)) : lf_lock(folder);
    if (status < 0) {
        tell_error(folder, wait ? "lf_lock_wait" : "lf_lock", status);
    }
    return status;
}

/* Ends the hold, and says what it was. Only "ok" claims that we held the lock all the time. */
static void release(lf_folder *folder, bool doubted) {
    for (int tries = 0; tries < 100; tries++) {
        lf_status status = lf_unlock(folder);
        if (status == LF_OK && doubted) {
            tell("error lf_unlock LF_OK after a hold that lf_holds or lf_fence called lost");
        }
        if (status == LF_OK || status == LF_ERR_LOST) {
            tell(status == LF_OK && !doubted ? "ok" : "lost");
            return;
        }
        tell_error(folder, "lf_unlock", status);
        rest(100);
    }
    fail("can't unlock");
}

static void hold(lf_folder *folder) {
    static uint64_t token; /* the broken ones count for themselves */
    bool lost = false;
    if (broken) {
        token++;
    } else {
        lf_status status = lf_fence(folder, &token);
        if (status != LF_OK) {
            tell_error(folder, "lf_fence", status);
            release(folder, status == LF_ERR_LOST);
            return;
        }
    }
    tell("in %llu", (unsigned long long)token);
    if (answered()) {
        rest(up_to(work_ms));
        lf_status status = broken ? LF_OK : lf_holds(folder);
        lost = status == LF_ERR_LOST;
        if (status != LF_OK && !lost) {
            tell_error(folder, "lf_holds", status);
        }
    }
    tell("out");
    answered();
    if (broken) {
        tell("ok");
    } else {
        release(folder, lost);
    }
}

static void claim(int number) {
    lf_folder *folder = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    srandom((unsigned)getpid() ^ (unsigned)(now() * 1e6));
    call_referee(number);
    lf_status status;
    while ((status = lf_open(path, (uint32_t)flags, &folder)) != LF_OK) {
        tell_error(NULL, "lf_open", status);
        if (*over) {
            _exit(0);
        }
        rest(500);
    }
    if (lease > 0 && (status = lf_set_lease(folder, (uint32_t)lease)) != LF_OK) {
        tell_error(folder, "lf_set_lease", status);
    }
    while (!*over) {
        tell("wait");
        status = broken ? LF_OK : lock(folder);
        if (status == LF_OK) {
            hold(folder);
        }
        rest(up_to(status < 0 ? 500 : pause_ms));
    }
    lf_close(folder);
    _exit(0);
}

static pid_t start(int number) {
    pid_t pid = fork();
    if (pid < 0) {
        fail("fork");
    }
    if (pid == 0) {
        claim(number);
    }
    return pid;
}

/* Keeps the processes going until it is over. */
static int supervise(void) {
    pid_t pids[MAX_PROCESSES];
    int living = 0, failures = 0;
    long kills = 0;
    double next_kill = now() + (double)kill_every_ms / 1e3;
    for (; living < processes; living++) {
        pids[living] = start(living);
    }
    while (living > 0) {
        int state;
        for (pid_t pid; (pid = waitpid(-1, &state, WNOHANG)) > 0;) {
            int number = 0;
            while (pids[number] != pid) {
                number++;
            }
            pids[number] = -1;
            failures += WIFEXITED(state) && WEXITSTATUS(state) != 0;
            if (WIFSIGNALED(state) && !*over) {
                pids[number] = start(number);
            } else {
                living--;
            }
        }
        if (kill_every_ms > 0 && now() > next_kill && !*over) {
            pid_t victim = pids[random() % processes];
            if (victim > 0) {
                kill(victim, SIGKILL);
                kills++;
            }
            next_kill = now() + (double)up_to(2 * kill_every_ms) / 1e3;
        }
        rest(20);
    }
    printf("kills %ld failures %d\n", kills, failures);
    return failures > 0 ? STATUS_OF_FAILURE : 0;
}

int main(int count, char **arguments) {
    static const struct option options[] = {
        {"processes", required_argument, NULL, 'p'}, {"flags", required_argument, NULL, 'f'},
        {"lease", required_argument, NULL, 'l'},     {"how", required_argument, NULL, 'h'},
        {"work", required_argument, NULL, 'w'},      {"pause", required_argument, NULL, 'r'},
        {"kill-every", required_argument, NULL, 'k'}, {"broken", no_argument, NULL, 'b'},
        {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;) {
        switch (option) {
            case 'p': processes = atol(optarg); break;
            case 'f': flags = atol(optarg); break;
            case 'l': lease = atol(optarg); break;
            case 'h': how = optarg; break;
            case 'w': work_ms = atol(optarg); break;
            case 'r': pause_ms = atol(optarg); break;
            case 'k': kill_every_ms = atol(optarg); break;
            case 'b': broken = true; break;
            default: return 2;
        }
    }
    if (count - optind != 3 || processes < 1 || processes > MAX_PROCESSES) {
        fprintf(stderr, "usage: claimant FOLDER REFEREE NAME [OPTION]...\n");
        return 2;
    }
    path = arguments[optind];
    referee = arguments[optind + 1];
    name = arguments[optind + 2];
    signal(SIGPIPE, SIG_IGN);
    over = mmap(NULL, sizeof *over, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (over == MAP_FAILED) {
        fail("no memory");
    }
    signal(SIGTERM, finish);
    srandom((unsigned)getpid() ^ (unsigned)(now() * 1e6));
    return supervise();
}
