/* Makes every call on a thread with little stack. A guard page is below the stack. C11, Linux.
 *
 *     stack FOLDER KIB      FOLDER does not exist, and its parent does
 */
#define _GNU_SOURCE 1

#include "check.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#define PAGE 4096

static size_t size;
static lf_folder *folder, *rival;

static void write_bid(int number, const char *content) {
    char path[4096];
    snprintf(path, sizeof path, "%s/01111111-1111-7111-8111-%012d.json", folder_path, number);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(content, file) >= 0 && fclose(file) == 0);
}

/* Makes a bid of a process that can't exist. */
static void write_stale_bids(void) {
    for (int number = 0; number < 300; number++) {
        write_bid(number, "{\"PID\": 4194304, \"CREATED\": 1000000000}");
    }
}

/* Makes a bid as a hostile neighbour would. A reader that recurses as deep as this bid nests needs more stack than it has. */
static void write_nested_bid(void) {
    char content[1024] = "{\"x\": ";
    for (int level = 0; level < 120; level++) {
        strcat(content, "[");
    }
    for (int level = 0; level < 120; level++) {
        strcat(content, "]");
    }
    strcat(content, ", \"PID\": 4194304, \"CREATED\": 1000000000}");
    write_bid(999, content);
}

static void act_open(void) { folder = opened(); }
static void act_open_missing(void) { IS(lf_open("/proc/none/none", LF_OPEN_DEFAULT, &(lf_folder *){NULL}), LF_ERR_IO); }
static void act_open_refused(void) { IS(lf_open("/proc", LF_OPEN_DEFAULT, &(lf_folder *){NULL}), LF_ERR_UNSUPPORTED); }
static void act_lock(void) { IS(lf_lock(folder), LF_OK); }
static void act_lock_busy(void) { IS(lf_lock(folder), LF_BUSY); }
static void act_wait(void) { IS(lf_lock_wait(folder, -1), LF_OK); }
static void act_wait_in_line(void) { IS(lf_lock_wait(folder, 60), LF_TIMEOUT); }
static void act_holds(void) { IS(lf_holds(folder), LF_OK); }
static void act_unlock(void) { IS(lf_unlock(folder), LF_OK); }
static void act_reap(void) { IS(lf_reap_stale(folder, NULL), LF_OK); }
static void act_cancel(void) { IS(lf_cancel(folder), LF_OK); }
static void act_grace(void) { IS(lf_set_malformed_grace(folder, 0), LF_OK); }
static void act_in_use(void) { IS(lf_in_use(folder, &(bool){false}), LF_OK); }
static void act_fence(void) { IS(lf_fence(folder, &(uint64_t){0}), LF_OK); }
static void act_close(void) { lf_close(folder); }

static void act_bids(void) {
    lf_bid_list *list;
    IS(lf_bids(folder, &list), LF_OK);
    CHECK(lf_bid_list_len(list) > 0 && lf_bid_list_get(list, 0)->name != NULL);
    lf_bid_list_free(list);
}

static void act_message(void) {
    char text[8];
    CHECK(says(folder, "lock folder") && lf_error_message(folder, text, sizeof text) > 0);
    lf_error_code(folder);
}

static void *run(void *act) {
    (*(void (**)(void))act)();
    return NULL;
}

static void on_a_small_stack(const char *name, void (*act)(void)) {
    pthread_attr_t attributes;
    pthread_t thread;
    unsigned char *memory = mmap(NULL, PAGE + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(memory != MAP_FAILED && mprotect(memory, PAGE, PROT_NONE) == 0);
    unsigned char *stack = memory + PAGE;
    memset(stack, 0xa5, size);
    printf("%s: ", name);
    fflush(stdout); /* it may be the last output before a crash */
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, size) == 0);
    CHECK(pthread_create(&thread, &attributes, run, &act) == 0 && pthread_join(thread, NULL) == 0);
    size_t untouched = 0;
    while (untouched < size && stack[untouched] == 0xa5) {
        untouched++;
    }
    printf("%zu bytes\n", size - untouched);
    pthread_attr_destroy(&attributes);
    munmap(memory, PAGE + size);
}

#define DO(act) on_a_small_stack(#act, act)

int main(int count, char **arguments) {
    CHECK(count == 3);
    folder_path = arguments[1];
    size = (size_t)atoi(arguments[2]) * 1024;
    DO(act_open);
    DO(act_open_missing);
    DO(act_open_refused);
    write_stale_bids();
    DO(act_lock);
    DO(act_holds);
    DO(act_fence);
    DO(act_fence);
    DO(act_bids);
    DO(act_in_use);
    DO(act_unlock);
    DO(act_wait);
    DO(act_unlock);
    write_stale_bids();
    DO(act_reap);
    rival = opened();
    IS(lf_lock(rival), LF_OK);
    DO(act_lock_busy);
    DO(act_message);
    DO(act_wait_in_line);
    DO(act_message);
    DO(act_cancel);
    DO(act_grace);
    lf_close(rival);
    write_nested_bid();
    DO(act_bids);
    DO(act_lock_busy);
    DO(act_message);
    DO(act_reap);
    DO(act_close);
    puts("it was enough");
    return 0;
}
