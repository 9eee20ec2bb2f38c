/* What the parts of race share: race.c judges, race_supervise.c starts, kills and stops the
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
    double kills_per_second; /* of anybody, by the supervisor */
    double kill_holders;     /* per cent of holders that are killed in the middle of their work */
    enum { BY_WAIT, BY_TRY, BY_BOTH } way; /* lf_lock_wait, lf_lock again and again, now this and now that */
    double stops_per_second; /* of anybody, by the supervisor */
    int containers;          /* so many of the processes, the first, are each in a PID namespace of its own */
    int guests;              /* so many, the last, are commands that use what is below for guests */
    const char *guest[64];   /* MAX_PROCESSES */
    uint32_t grace_ms;       /* lf_set_malformed_grace */
    int work_ms;             /* a holder works so long at most */
    int pause_ms;            /* and stays away so long at most */
    int fence_every;         /* so many updates; 0: never */
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
    /* A ring of the last events. Written by the process, and by the supervisor once that is dead. */
    atomic_uint event_count;
    event events[MAX_EVENTS];
} place;

/* In shared memory. */
typedef struct {
    int64_t began;
    atomic_bool stop;
    race_options options; /* for guests, who can't follow its pointers */
    /* Owned by whoever is inside. It is robust: the kernel itself says when an owner died, before anybody can see that
     * the process is gone. So a trylock that finds it busy proves that somebody alive is inside. */
    pthread_mutex_t referee;
    atomic_int holder;
    atomic_ullong taken_over; /* entered after somebody died inside */
    atomic_ullong adopted;    /* updates of those who died before they could report them */
    atomic_ullong seen_by_referee, seen_in_ledger, errors;
    atomic_bool reported;
    char report[MAX_REPORT]; /* the first thing that went wrong */
    place places[MAX_PROCESSES];
} race;

/* The ledger is the file that all compete to update: two lines of one length, so that a write is one step. */
enum { DONE_LINE, MARK_LINE };
typedef struct {
    char word[8]; /* "done"; "in", "out" */
    unsigned long long number, fence;
    int pid;
} ledger_line;

bool write_line(int ledger, int index, ledger_line line);
bool read_line(int ledger, int index, ledger_line *line); /* false: torn, or not what write_line writes */

int64_t now_ns(void);
void sleep_ns(int64_t ns);
unsigned long long count_updates(race *race);
void add_event(race *race, place *place, event_kind kind);
/* Counts, and keeps the text if it is the first. */
void report(race *race, atomic_ullong *counter, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Competes until told to stop; returns the exit status. `pid` is what the supervisor calls it. */
int compete(race *race, const race_options *options, int index, int ledger, int pid);

/* For guests: programs in any language that enter in their own way, and have all that is done inside done by the same code
 * as everybody else (race_worker.c as a shared library). The place is what the variable RACE_PLACE says. */
void *race_join(const char *place);
bool race_goes_on(void *guest);
void race_update(void *guest);

/* The supervisor, one process. */
enum { GOOD = 0, BAD = 1, TROUBLE = 2, GRACE_S = 60, WEDGE_S = 60 };
typedef struct {
    race *race;
    const race_options *options;
    pid_t pids[MAX_PROCESSES];
    int64_t stopped_until[MAX_PROCESSES]; /* 0: it is not stopped */
    unsigned long long killed, stopped, wedges;
    char scratch[4096], ledger_path[4200];
    int ledger, memory;
    sigset_t inherited_mask, awaited;
} supervisor;

void die(const char *what);
bool is_contained(const race_options *options, int index);
unsigned long long count_locks(race *race);
unsigned long long count_violations(race *race);
/* Runs the race and returns how long it took. */
double supervise(supervisor *s);

typedef struct {
    double seconds;
    unsigned long long locks, killed, violations;
    bool good;
} race_result;
/* False: errno says why. */
bool draw(race *race, const race_options *options, const race_result *result);

#endif
