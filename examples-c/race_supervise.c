/* Starts the competitors, kills and stops some of them, and replaces the dead. */
#define _GNU_SOURCE
#include "race.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

bool is_contained(const race_options *options, int index)
{
    return index < options->containers;
}

/* Forks. In a container, the child is PID 1 of a new namespace. */
static pid_t fork_into(bool container)
{
    if (!container)
        return fork();
    int home = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (home < 0 || unshare(CLONE_NEWPID) != 0) /* this applies to the children of this process only */
        die("no PID namespace (only as root)");
    pid_t pid = fork();
    if (pid != 0 && setns(home, CLONE_NEWPID) != 0)
        die("setns");
    close(home);
    return pid;
}

/* In a container: mounts its /proc. Returns the PID of this process in the namespace of the supervisor. */
static int settle(void)
{
    char outside[32] = "";
    if (readlink("/proc/self", outside, sizeof outside - 1) <= 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)
        die("no mount namespace");
    return atoi(outside);
}

static void run_guest(supervisor *s, int index, const char *command)
{
    char place[64], run[4200];
    snprintf(place, sizeof place, "%d %d %d", s->memory, s->ledger, index);
    snprintf(run, sizeof run, "exec %s \"$0\"", command);
    fcntl(s->memory, F_SETFD, 0);
    fcntl(s->ledger, F_SETFD, 0);
    setenv("RACE_PLACE", place, 1);
    execl("/bin/sh", "sh", "-c", run, s->options->folder, (char *)NULL);
    die("/bin/sh");
}

static void start(supervisor *s, int index)
{
    bool contained = is_contained(s->options, index);
    int guest = index - (s->options->processes - s->options->guests);
    pid_t parent = getpid(), pid = fork_into(contained);
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* no process races on after the supervisor is gone */
        if (getppid() != (contained ? 0 : parent))
            _exit(TROUBLE);
        sigprocmask(SIG_SETMASK, &s->inherited_mask, NULL);
        if (guest >= 0)
            run_guest(s, index, s->options->guest[guest]);
        race_options options = *s->options;
        if (contained)
            options.kill_holders = 0; /* a PID 1 can't kill itself */
        _exit(compete(s->race, &options, index, s->ledger, contained ? settle() : (int)getpid()));
    }
    s->pids[index] = pid;
    s->stopped_until[index] = 0;
}

/* Reaps the dead, and replaces them while the race goes on. Returns the number of processes that are left. */
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

unsigned long long count_locks(race *race)
{
    unsigned long long sum = 0;
    for (int i = 0; i < MAX_PROCESSES; i++)
        sum += atomic_load(&race->places[i].locks);
    return sum;
}

unsigned long long count_violations(race *race)
{
    return atomic_load(&race->seen_by_referee) + atomic_load(&race->seen_in_ledger);
}

static void show_progress(supervisor *s, double elapsed, double rate, bool on_terminal)
{
    int holder = atomic_load(&s->race->holder);
    char who[32] = "nobody";
    if (holder != 0)
        snprintf(who, sizeof who, "PID %d", holder);
    /* One line of a terminal. A process that enters after a death inside has reaped the bid of the dead, or another has. */
    fprintf(stderr, "%s%5.1f s %6.0f locks/s  %-11s holds  %llu killed, %llu stale bids reaped%s%s", on_terminal ? "\r" : "",
            elapsed, rate, who, s->killed, atomic_load(&s->race->taken_over),
            count_violations(s->race) > 0 ? "  VIOLATED" : "", on_terminal ? "\033[K" : "\n");
}

static void disturb(supervisor *s, bool kills)
{
    int index = (int)(random() % s->options->processes);
    pid_t victim = s->pids[index]; /* this PID is still the child's: only this process reaps its children */
    if (victim <= 0)
        return;
    if (kills) {
        kill(victim, SIGKILL);
    } else if (s->stopped_until[index] == 0 && kill(victim, SIGSTOP) == 0) {
        s->stopped++;
        s->stopped_until[index] = now_ns() + random() % 500000000;
    }
}

/* Continues the stopped processes whose time is over, and all of them if `all`. */
static void go_on(supervisor *s, bool all)
{
    for (int i = 0; i < s->options->processes; i++) {
        if (s->stopped_until[i] != 0 && s->pids[i] > 0 && (all || now_ns() >= s->stopped_until[i])) {
            kill(s->pids[i], SIGCONT);
            s->stopped_until[i] = 0;
        }
    }
}

/* Each holder holds for a short time. If no process gets the lock for a long time, the folder is wedged. */
static void watch_for_wedge(supervisor *s, unsigned long long locks, double elapsed)
{
    static unsigned long long last;
    static double since;
    if (locks != last) {
        last = locks;
        since = elapsed;
    } else if (elapsed - since > WEDGE_S) {
        s->wedges++;
        report(s->race, &s->race->errors, "nobody got the lock for %d s", WEDGE_S);
        since = elapsed;
    }
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

double supervise(supervisor *s)
{
    const race_options *options = s->options;
    bool on_terminal = isatty(STDERR_FILENO);
    double interval = on_terminal ? 0.2 : 1, elapsed = 0, shown = 0;
    double rate[] = {options->stops_per_second, options->kills_per_second}, next[] = {0, 0};
    unsigned long long shown_locks = 0;
    srandom((unsigned)getpid());
    for (int i = 0; i < options->processes; i++)
        start(s, i);
    /* On a slow machine the race goes on until a process had the lock, or the folder is wedged. */
    while ((elapsed < options->seconds || (count_updates(s->race) == 0 && s->wedges == 0)) && !atomic_load(&s->race->stop)) {
        double wake = shown + interval < options->seconds ? shown + interval : options->seconds;
        if (elapsed >= options->seconds)
            wake = elapsed + interval;
        for (int kills = 0; kills < 2; kills++) {
            if (rate[kills] <= 0)
                continue;
            if (elapsed >= next[kills]) {
                disturb(s, kills);
                next[kills] += 1 / rate[kills];
            }
            wake = next[kills] < wake ? next[kills] : wake;
        }
        if (options->stops_per_second > 0 && wake > elapsed + 0.02)
            wake = elapsed + 0.02;
        elapsed = wait_a_moment(s, wake - elapsed);
        reap(s);
        go_on(s, false);
        if (elapsed >= shown + interval) {
            unsigned long long locks = count_locks(s->race);
            watch_for_wedge(s, locks, elapsed);
            if (!options->quiet)
                show_progress(s, elapsed, (double)(locks - shown_locks) / (elapsed - shown), on_terminal);
            shown = elapsed;
            shown_locks = locks;
        }
    }
    atomic_store(&s->race->stop, true);
    go_on(s, true);
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
