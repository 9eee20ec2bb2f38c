/* Loads the library, uses it and unloads it, many times. Threads that have used it end later.
 *
 *     dlopen LIBRARY FOLDER
 */
#define _GNU_SOURCE 1

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lockfolder.h>

enum { ROUNDS = 20 };

static const char *library, *path;
static pthread_barrier_t barrier;

/* dlsym returns a pointer to data. POSIX allows a program to use it as a pointer to a function. */
#define FIND(handle, name) memcpy(&name, (void *[]){find(handle, "lf_" #name)}, sizeof name)

static void *find(void *handle, const char *name) {
    void *symbol = dlsym(handle, name);
    if (symbol == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    return symbol;
}

static void *load(void) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    return handle;
}

/* Makes the library keep something for the process and for the thread: a lock, and the reason of a failure. */
static void use(void *handle) {
    lf_status (*open)(const char *, uint32_t, lf_folder **);
    lf_status (*lock_wait)(lf_folder *, int64_t);
    size_t (*error_message)(const lf_folder *, char *, size_t);
    void (*close)(lf_folder *);
    FIND(handle, open);
    FIND(handle, lock_wait);
    FIND(handle, error_message);
    FIND(handle, close);
    lf_folder *folder;
    if (open("/nowhere/at/all", LF_OPEN_DEFAULT, &folder) != LF_ERR_IO || error_message(NULL, NULL, 0) == 0) {
        abort();
    }
    if (open(path, LF_OPEN_DEFAULT, &folder) != LF_OK || lock_wait(folder, -1) != LF_OK) {
        abort();
    }
    close(folder);
}

/* Ends after the library was unloaded. */
static void *outlives(void *handle) {
    use(handle);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void *ends_before(void *handle) {
    use(handle);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 3) {
        return 2;
    }
    library = arguments[1];
    path = arguments[2];
    pthread_barrier_init(&barrier, NULL, 2);
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t one, other;
        void *handle = load();
        use(handle);
        pthread_create(&one, NULL, outlives, handle);
        pthread_create(&other, NULL, ends_before, handle);
        pthread_join(other, NULL);
        pthread_barrier_wait(&barrier);
        dlclose(handle);
        pthread_barrier_wait(&barrier);
        pthread_join(one, NULL);
    }
    printf("loaded and unloaded %d times\n", ROUNDS);
    return 0;
}
