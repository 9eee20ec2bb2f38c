/* pthread_cancel takes effect after a call of the library and never inside it. A thread whose cancellation is pending calls each
 * function. C11, Linux.
 *
 *     cancelled FOLDER      FOLDER does not exist, and its parent does
 */
#define _GNU_SOURCE 1

#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* What one thread does while its cancellation is pending, and whether it reached the end of that. */
struct deed {
    const char *name;
    void (*act)(struct deed *);
    lf_folder *folder; /* the clean-up of the thread closes it */
    bool done;
};

static void act_open(struct deed *deed) {
    deed->folder = opened();
}

static void act_failed_open(struct deed *deed) {
    (void)deed;
    IS(lf_open("/dev/null", LF_OPEN_DEFAULT, &(lf_folder *){NULL}), LF_ERR_IO);
    CHECK(lf_error_code(NULL) != 0 && lf_error_message(NULL, NULL, 0) > 0);
}

static void act_close(struct deed *deed) {
    IS(lf_lock(deed->folder), LF_OK);
    lf_close(deed->folder);
    deed->folder = NULL;
}

static void act_lock(struct deed *deed) {
    IS(lf_lock(deed->folder), LF_OK); /* the clean-up of the thread unlocks */
}

static void act_cycle(struct deed *deed) {
    for (int i = 0; i < 3; i++) {
        IS(lf_lock(deed->folder), LF_OK);
        IS(lf_holds(deed->folder), LF_OK);
        IS(lf_unlock(deed->folder), LF_OK);
    }
    IS(lf_unlock(deed->folder), LF_ERR_NOT_HELD);
}

static void act_wait(struct deed *deed) {
    IS(lf_lock_wait(deed->folder, -1), LF_OK);
    IS(lf_unlock(deed->folder), LF_OK);
    IS(lf_lock_wait(deed->folder, 0), LF_OK);
}

static void act_fence(struct deed *deed) {
    uint64_t first = 0, second = 0;
    IS(lf_lock(deed->folder), LF_OK);
    IS(lf_fence(deed->folder, &first), LF_OK);
    IS(lf_fence(deed->folder, &second), LF_OK);
    CHECK(second > first);
}

static void act_look(struct deed *deed) {
    bool in_use = true;
    size_t reaped = 1;
    lf_bid_list *list = NULL;
    IS(lf_lock(deed->folder), LF_OK);
    IS(lf_in_use(deed->folder, &in_use), LF_OK);
    CHECK(!in_use);
    IS(lf_reap_stale(deed->folder, &reaped), LF_OK);
    CHECK(reaped == 0);
    IS(lf_bids(deed->folder, &list), LF_OK);
    CHECK(lf_bid_list_len(list) == 1 && lf_bid_list_get(list, 0)->state == LF_BID_OWN);
    lf_bid_list_free(list);
}

static void act_small(struct deed *deed) {
    char message[8];
    IS(lf_set_malformed_grace(deed->folder, 5000), LF_OK);
    IS(lf_cancel(deed->folder), LF_OK);
    IS(lf_lock(NULL), LF_ERR_INVALID);
    CHECK(lf_error_message(deed->folder, message, sizeof message) == 0 && lf_error_code(deed->folder) == 0);
    CHECK(strcmp(lf_status_name(LF_BUSY), "LF_BUSY") == 0 && lf_version() != NULL);
    lf_close(NULL);
    lf_bid_list_free(NULL);
}

/* The wait ends by its timeout. It has slept, was woken, and has left the line. */
static void act_timed_out(struct deed *deed) {
    IS(lf_lock_wait(deed->folder, 30), LF_TIMEOUT);
    CHECK(says(deed->folder, "time"));
    IS(lf_lock(deed->folder), LF_BUSY);
}

static void act_sleep(struct deed *deed) {
    IS(lf_lock_wait(deed->folder, -1), LF_CANCELLED);
    CHECK(says(deed->folder, "cancelled"));
}

static void act_handed_over(struct deed *deed) {
    IS(lf_lock_wait(deed->folder, -1), LF_OK);
}

static void clean_up(void *argument) {
    struct deed *deed = argument;
    lf_close(deed->folder);
}

static void *cancel_oneself_and_act(void *argument) {
    struct deed *deed = argument;
    pthread_cleanup_push(clean_up, deed);
    CHECK(pthread_cancel(pthread_self()) == 0); /* pending from here on */
    deed->act(deed);
    deed->done = true;
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

static void give_back(void *argument) {
    struct deed *deed = argument;
    lf_unlock(deed->folder);
}

/* The thread that cancels this one has the handle too, and closes it. */
static void *act_when_told(void *argument) {
    struct deed *deed = argument;
    pthread_cleanup_push(give_back, deed);
    deed->act(deed);
    deed->done = true;
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

/* A call leaves the cancel state of the caller as it was. Here the caller has disabled cancellation. */
static void *act_while_disabled(void *argument) {
    struct deed *deed = argument;
    int was = -1;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL) == 0);
    CHECK(pthread_cancel(pthread_self()) == 0);
    deed->act(deed);
    pthread_testcancel();
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &was) == 0 && was == PTHREAD_CANCEL_DISABLE);
    deed->done = true;
    lf_close(deed->folder);
    return NULL;
}

static pthread_t started(void *(*run)(void *), struct deed *deed) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, deed) == 0);
    return thread;
}

static void ended(pthread_t thread, const struct deed *deed, void *expected) {
    void *result = NULL;
    CHECK(pthread_join(thread, &result) == 0);
    if (result != expected || !deed->done) {
        fprintf(stderr, "%s: %s\n", deed->name, deed->done ? "done, and not cancelled after it" : "cancelled inside");
        exit(1);
    }
}

/* The cancelled thread leaves no lock behind: the next claimant gets it. */
static void is_free(void) {
    lf_folder *next = opened();
    bool in_use = true;
    IS(lf_in_use(next, &in_use), LF_OK);
    CHECK(!in_use);
    IS(lf_lock(next), LF_OK);
    lf_close(next);
}

static void pause_a_little(void) {
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

/* Waits until the thread stands in line. Then it sleeps, or will sleep in a moment. */
static void waits_in_line(void) {
    char queue[4096];
    int entries = 0;
    snprintf(queue, sizeof queue, "%s/.lockfolder/queue", folder_path);
    while (entries < 3) {
        DIR *dir = opendir(queue);
        for (entries = 0; dir != NULL && readdir(dir) != NULL;) {
            entries++;
        }
        if (dir != NULL) {
            closedir(dir);
        }
        pause_a_little();
    }
    for (int i = 0; i < 50; i++) {
        pause_a_little();
    }
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*act)(struct deed *);
        bool needs_handle, needs_rival;
    } deeds[] = {
        {"lf_open", act_open, false, false},
        {"lf_open that fails", act_failed_open, false, false},
        {"lf_close", act_close, true, false},
        {"lf_lock", act_lock, true, false},
        {"lf_lock and lf_unlock", act_cycle, true, false},
        {"lf_lock_wait", act_wait, true, false},
        {"lf_lock_wait in line", act_timed_out, true, true},
        {"lf_fence", act_fence, true, false},
        {"lf_in_use, lf_reap_stale, lf_bids", act_look, true, false},
        {"what is small", act_small, true, false},
    };
    void *(*const ways[])(void *) = {cancel_oneself_and_act, act_while_disabled};
    CHECK(count == 2);
    folder_path = arguments[1];

    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
        for (size_t way = 0; way < 2; way++) {
            lf_folder *rival = deeds[i].needs_rival ? opened() : NULL;
            struct deed deed = {deeds[i].name, deeds[i].act, deeds[i].needs_handle ? opened() : NULL, false};
            if (rival != NULL) {
                IS(lf_lock(rival), LF_OK);
            }
            ended(started(ways[way], &deed), &deed, way == 0 ? PTHREAD_CANCELED : NULL);
            lf_close(rival);
            is_free();
        }
    }

    /* The cancellation comes while the wait sleeps. The wait sleeps on until lf_cancel ends it. Then the thread is cancelled. */
    lf_folder *holder = opened();
    IS(lf_lock(holder), LF_OK);
    struct deed sleeper = {"lf_lock_wait asleep", act_sleep, opened(), false};
    pthread_t thread = started(act_when_told, &sleeper);
    waits_in_line();
    CHECK(pthread_cancel(thread) == 0);
    pause_a_little();
    IS(lf_cancel(sleeper.folder), LF_OK);
    ended(thread, &sleeper, PTHREAD_CANCELED);
    lf_close(sleeper.folder);
    IS(lf_holds(holder), LF_OK);

    /* The same, but the wait gets the lock. The call returns that, and the clean-up of the thread gives the lock back. */
    struct deed heir = {"lf_lock_wait that is handed the lock", act_handed_over, opened(), false};
    thread = started(act_when_told, &heir);
    waits_in_line();
    CHECK(pthread_cancel(thread) == 0);
    pause_a_little();
    IS(lf_unlock(holder), LF_OK);
    ended(thread, &heir, PTHREAD_CANCELED);
    is_free();
    lf_close(heir.folder);
    lf_close(holder);
    puts("no call was cut short");
    return 0;
}
