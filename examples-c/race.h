/* Shared by the parts of race. race.c gives the verdict, race_supervise.c starts, kills and stops the
 * competitors, race_worker.c competes, race_svg.c draws. */
#ifndef RACE_H
#define RACE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

typedef struct {
    const char *folder;
    int processes;
    double seconds;
    double kills_per_second; /* the supervisor kills any process */
    double kill_holders;     /* per cent of the holders that are killed during their work */
    enum { BY_WAIT, BY_TRY, BY_BOTH } way; /* lf_lock_wait, lf_lock until it succeeds, both in turn */
    double stops_per_second; /* the supervisor stops any process */
    int containers;          /* the first processes, this many, have a PID namespace each */
    int guests;              /* the last processes, this many, are commands that use the functions for guests below */
    const char *guest[64];   /* MAX_PROCESSES */
    uint32_t grace_ms;       /* lf_set_malformed_grace */
    int work_ms;             /* a holder works for this long at most */
    int pause_ms;            /* and then pauses for this long at most */
    int fence_every;         /* a token after this many updates; 0: never */
    bool sabotage;           /* skip the lock */
    bool quiet;
    const char *svg;
} race_options;

typedef enum { BORN, WAITS, HOLDS, LEAVES, DIED } event_kind;

typedef struct {
    int64_t at; /* nanoseconds since the race began */
    event_kind kind;
} event;

enum { MAX_PROCESSES = 64, MAX_EVENTS = 4096, MAX_REPORT = 600 };

/* One place in the race. When its process is killed, a new one takes the place. */
typedef struct {
    atomic_ullong locks, updates;
    /* A ring of the last events. The process writes it, and after its death the supervisor. */
    atomic_uint event_count;
    event events[MAX_EVENTS];
} place;

/* This is in shared memory. */
typedef struct {
    int64_t began;
    atomic_bool stop;
    race_options options; /* for guests, which can't use its pointers */
    /* The process that is inside owns this mutex. It is robust: the kernel marks it when its owner dies, before any process
     * can see that the owner is gone. So a trylock that finds it busy proves that a live process is inside. */
    pthread_mutex_t referee;
    atomic_int holder;
    atomic_ullong taken_over; /* entries after a holder died inside */
    atomic_ullong adopted;    /* updates whose process died before it reported them */
    atomic_ullong seen_by_referee, seen_in_ledger, errors;
    atomic_bool reported;
    char report[MAX_REPORT]; /* the first thing that went wrong */
    place places[MAX_PROCESSES];
} race;

/* The ledger is the file that all processes update. Its two lines have a fixed length, so that a write is one step. */
enum { DONE_LINE, MARK_LINE };
typedef struct {
    char word[8]; /* "done"; "in", "out" */
    unsigned long long number, fence;
    int pid;
} ledger_line;

bool write_line(int ledger, int index, ledger_line line);
bool read_line(int ledger, int index, ledger_line *line); /* false: the line is torn, or write_line did not write it */

int64_t now_ns(void);
void sleep_ns(int64_t ns);
unsigned long long count_updates(race *race);
void add_event(race *race, place *place, event_kind kind);
/* Counts a fault, and keeps the text of the first one. */
void report(race *race, atomic_ullong *counter, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Competes until `stop`, and returns the exit status. `pid` is the PID in the namespace of the supervisor. */
int compete(race *race, const race_options *options, int index, int ledger, int pid);

/* For guests: programs in any language that lock in their own way. While they hold the lock they call the same code as all others
 * (race_worker.c as a shared library). `place` is the value of the variable RACE_PLACE. */
void *race_join(const char *place);
bool race_goes_on(void *guest);
void race_update(void *guest);

/* The supervisor is one process. */
enum { GOOD = 0, BAD = 1, TROUBLE = 2, GRACE_S = 60, WEDGE_S = 60 };
typedef struct {
    race *race;
    const race_options *options;
    pid_t pids[MAX_PROCESSES];
    int64_t stopped_until[MAX_PROCESSES]; /* 0: the process is not stopped */
    unsigned long long killed, stopped, wedges;
    char scratch[4096], ledger_path[4200];
    int ledger, memory;
    sigset_t inherited_mask, awaited;
} supervisor;

void die(const char *what);
bool is_contained(const race_options *options, int index);
unsigned long long count_locks(race *race);
unsigned long long count_violations(race *race);
/* Runs the race, and returns the time that it took, in seconds. */
double supervise(supervisor *s);

typedef struct {
    double seconds;
    unsigned long long locks, killed, violations;
    bool good;
} race_result;
/* False: errno says why. */
bool draw(race *race, const race_options *options, const race_result *result);

#endif
