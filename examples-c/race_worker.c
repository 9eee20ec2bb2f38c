/* A competitor. It enters, checks what the holder before it wrote, updates the ledger, and leaves. */
#define _GNU_SOURCE
#include "race.h"

#include <lockfolder.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { LINE_LENGTH = 80 };

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void sleep_ns(int64_t ns)
{
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (ns > 0 && nanosleep(&time, &time) != 0) {
    }
}

void add_event(race *race, place *place, event_kind kind)
{
    unsigned count = atomic_load(&place->event_count);
    place->events[count % MAX_EVENTS] = (event){now_ns() - race->began, kind};
    atomic_store(&place->event_count, count + 1);
}

void report(race *race, atomic_ullong *counter, const char *format, ...)
{
    atomic_fetch_add(counter, 1);
    if (atomic_exchange(&race->reported, true))
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(race->report, sizeof race->report, format, arguments);
    va_end(arguments);
}

unsigned long long count_updates(race *race)
{
    unsigned long long sum = atomic_load(&race->adopted);
    for (int i = 0; i < MAX_PROCESSES; i++)
        sum += atomic_load(&race->places[i].updates);
    return sum;
}

/* FNV-1a. */
static uint32_t checksum(const char *text)
{
    uint32_t sum = 2166136261u;
    for (; *text != '\0'; text++)
        sum = (sum ^ (unsigned char)*text) * 16777619u;
    return sum;
}

static void format_line(char text[static LINE_LENGTH + 1], ledger_line line)
{
    char body[LINE_LENGTH + 1], sum[10];
    snprintf(body, sizeof body, "%-4.4s %llu fence %llu by PID %d", line.word, line.number, line.fence, line.pid);
    snprintf(sum, sizeof sum, "%08x", checksum(body));
    snprintf(text, LINE_LENGTH + 1, "%-*.*s%8.8s\n", LINE_LENGTH - 9, LINE_LENGTH - 9, body, sum);
}

bool write_line(int ledger, int index, ledger_line line)
{
    char text[LINE_LENGTH + 1];
    format_line(text, line);
    return pwrite(ledger, text, LINE_LENGTH, (off_t)index * LINE_LENGTH) == LINE_LENGTH;
}

bool read_line(int ledger, int index, ledger_line *line)
{
    char text[LINE_LENGTH + 1] = "", again[LINE_LENGTH + 1];
    if (pread(ledger, text, LINE_LENGTH, (off_t)index * LINE_LENGTH) != LINE_LENGTH)
        return false;
    if (sscanf(text, "%7s %llu fence %llu by PID %d", line->word, &line->number, &line->fence, &line->pid) != 4)
        return false;
    format_line(again, *line);
    return memcmp(text, again, LINE_LENGTH) == 0;
}

typedef struct {
    race *race;
    const race_options *options;
    place *place;
    int ledger, pid;
    lf_folder *folder;
    uint64_t random;
} competitor;

/* A random number below `limit` (xorshift). */
static int64_t chance(competitor *me, int64_t limit)
{
    me->random ^= me->random << 13;
    me->random ^= me->random >> 7;
    me->random ^= me->random << 17;
    return limit <= 0 ? 0 : (int64_t)(me->random % (uint64_t)limit);
}

static void fail(competitor *me, const char *call, lf_status status)
{
    char why[MAX_REPORT / 2];
    lf_error_message(me->folder, why, sizeof why);
    report(me->race, &me->race->errors, "%s in PID %d: %s: %s", call, me->pid, lf_status_name(status), why);
}

static bool same(ledger_line a, ledger_line b)
{
    return strcmp(a.word, b.word) == 0 && a.number == b.number && a.fence == b.fence && a.pid == b.pid;
}

static void put(competitor *me, int index, ledger_line line)
{
    if (!write_line(me->ledger, index, line))
        report(me->race, &me->race->errors, "PID %d could not write to the ledger: %s", me->pid, strerror(errno));
}

/* Checks the ledger on entry. `after_death`: the holder before died inside, so an update may be half done. Without a death, a
 * half done update means that another process is inside. Returns the last update that is complete. */
static ledger_line check_ledger(competitor *me, bool after_death)
{
    race *race = me->race;
    ledger_line done = {0}, mark = {0};
    if (!read_line(me->ledger, DONE_LINE, &done) || !read_line(me->ledger, MARK_LINE, &mark)) {
        report(race, &race->seen_in_ledger, "PID %d found a torn ledger", me->pid);
        return done;
    }
    unsigned long long reported = count_updates(race);
    if (after_death && done.number == reported + 1) {
        atomic_fetch_add(&race->adopted, 1); /* the process died between the update and its report */
        reported++;
    }
    bool is_interrupted = strcmp(mark.word, "in") == 0;
    if (done.number != reported)
        report(race, &race->seen_in_ledger, "PID %d found update %llu in the ledger, but %llu were reported", me->pid,
               done.number, reported);
    else if (is_interrupted && !after_death)
        report(race, &race->seen_in_ledger, "PID %d entered while PID %d was at update %llu", me->pid, mark.pid,
               mark.number);
    else if (mark.number != done.number && !(is_interrupted && mark.number == done.number + 1))
        report(race, &race->seen_in_ledger, "PID %d found mark %llu beside update %llu", me->pid, mark.number,
               done.number);
    return done;
}

static unsigned long long take_fence(competitor *me, ledger_line done)
{
    uint64_t token = 0;
    lf_status status = lf_fence(me->folder, &token);
    if (status != LF_OK)
        fail(me, "lf_fence", status);
    else if (token <= done.fence)
        report(me->race, &me->race->seen_in_ledger, "PID %d got the fencing token %llu after %llu", me->pid,
               (unsigned long long)token, done.fence);
    return token;
}

/* Inside: marks the update, makes it, and removes the mark. The process may be killed at each step. */
static void update(competitor *me)
{
    race *race = me->race;
    const race_options *options = me->options;
    int knock = pthread_mutex_trylock(&race->referee);
    if (knock == EOWNERDEAD) {
        pthread_mutex_consistent(&race->referee);
        atomic_fetch_add(&race->taken_over, 1);
    } else if (knock != 0) {
        report(race, &race->seen_by_referee, "PID %d entered while PID %d was inside", me->pid,
               atomic_load(&race->holder));
    }
    atomic_store(&race->holder, me->pid);

    ledger_line done = check_ledger(me, knock == EOWNERDEAD);
    ledger_line next = {.word = "done", .number = done.number + 1, .fence = done.fence, .pid = me->pid};
    if (me->folder != NULL && options->fence_every > 0 && next.number % (unsigned)options->fence_every == 0 && !options->sabotage)
        next.fence = take_fence(me, done);
    ledger_line mark = next;
    int64_t longest = options->work_ms * INT64_C(1000000), work = longest / 16 + chance(me, longest - longest / 16);
    int dies_at = (double)chance(me, 100000) < options->kill_holders * 1000 ? (int)chance(me, 4) : -1;

    strcpy(mark.word, "in");
    put(me, MARK_LINE, mark);
    sleep_ns(work / 2);
    if (dies_at == 0)
        raise(SIGKILL);
    put(me, DONE_LINE, next);
    if (dies_at == 1)
        raise(SIGKILL);
    atomic_fetch_add(&me->place->updates, 1);
    sleep_ns(work / 2);
    if (dies_at == 2)
        raise(SIGKILL);

    ledger_line done_now = {0}, mark_now = {0};
    if (!read_line(me->ledger, DONE_LINE, &done_now) || !read_line(me->ledger, MARK_LINE, &mark_now) ||
        !same(done_now, next) || !same(mark_now, mark) || atomic_load(&race->holder) != me->pid)
        report(race, &race->seen_in_ledger, "update %llu of PID %d was written over while it was inside", next.number,
               me->pid);
    strcpy(mark.word, "out");
    put(me, MARK_LINE, mark);
    if (dies_at == 3)
        raise(SIGKILL);

    atomic_store(&race->holder, 0);
    if (knock == 0 || knock == EOWNERDEAD)
        pthread_mutex_unlock(&race->referee);
}

/* Takes the lock in one of the ways. False: an error came, or the race is over. */
static bool enter(competitor *me)
{
    if (me->options->sabotage)
        return true;
    lf_status status;
    bool tries = me->options->way == BY_TRY || (me->options->way == BY_BOTH && chance(me, 2) == 0);
    if (tries) {
        int64_t most = 100000;
        while ((status = lf_lock(me->folder)) == LF_BUSY && !atomic_load(&me->race->stop)) {
            sleep_ns(chance(me, most));
            most = most < 5000000 ? most * 2 : most;
        }
        if (status == LF_BUSY)
            return false;
    } else {
        status = lf_lock_wait(me->folder, -1);
    }
    if (status != LF_OK)
        fail(me, tries ? "lf_lock" : "lf_lock_wait", status);
    return status == LF_OK;
}

static bool leave(competitor *me)
{
    if (me->options->sabotage)
        return true;
    lf_status status = lf_holds(me->folder);
    if (status != LF_OK) {
        fail(me, "lf_holds", status);
        return false;
    }
    status = lf_unlock(me->folder);
    if (status != LF_OK)
        fail(me, "lf_unlock", status);
    return status == LF_OK;
}

int compete(race *race, const race_options *options, int index, int ledger, int pid)
{
    competitor me = {.race = race, .options = options, .place = &race->places[index], .ledger = ledger, .pid = pid};
    me.random = (uint64_t)now_ns() * 2654435761u + (uint64_t)me.pid;
    add_event(race, me.place, BORN);

    lf_status status = lf_open(options->folder, LF_OPEN_NO_CREATE, &me.folder);
    if (status == LF_OK)
        status = lf_set_malformed_grace(me.folder, options->grace_ms);
    if (status != LF_OK) {
        fail(&me, "lf_open", status);
        return 1;
    }
    bool well = true;
    while (well && !atomic_load(&race->stop)) {
        sleep_ns(chance(&me, options->pause_ms * INT64_C(1000000)));
        add_event(race, me.place, WAITS);
        if (!enter(&me)) {
            well = atomic_load(&race->stop);
            break;
        }
        add_event(race, me.place, HOLDS);
        if (!atomic_load(&race->stop)) { /* after the end of the race it only unlocks */
            atomic_fetch_add(&me.place->locks, 1);
            update(&me);
        }
        add_event(race, me.place, LEAVES); /* before the unlock, so that no two holds overlap in the picture */
        well = leave(&me);
    }
    lf_close(me.folder);
    return well ? 0 : 1;
}

void *race_join(const char *place)
{
    static competitor me;
    int memory, index;
    if (place == NULL || sscanf(place, "%d %d %d", &memory, &me.ledger, &index) != 3)
        return NULL;
    me.race = mmap(NULL, sizeof *me.race, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (me.race == MAP_FAILED)
        return NULL;
    me.options = &me.race->options;
    me.place = &me.race->places[index];
    me.pid = (int)getpid();
    me.random = (uint64_t)now_ns() * 2654435761u + (uint64_t)me.pid;
    add_event(me.race, me.place, BORN);
    return &me;
}

bool race_goes_on(void *guest)
{
    return !atomic_load(&((competitor *)guest)->race->stop);
}

void race_update(void *guest)
{
    competitor *me = guest;
    add_event(me->race, me->place, HOLDS);
    atomic_fetch_add(&me->place->locks, 1);
    update(me);
    add_event(me->race, me->place, LEAVES);
}
