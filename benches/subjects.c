/* The locks that are measured and are written in C. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef WITH_LIBLOCKFILE
#include <lockfile.h>
#endif
#include <lockfolder.h>

#include "subject.h"

/* One struct serves all the simple ones: a descriptor, and paths. */
struct simple {
    int fd, hidden, told;
    unsigned long count;
    char name[48];
    char path[PATH_MAX];
};

static struct simple *simple_new(const char *folder, const char *file)
{
    struct simple *s = calloc(1, sizeof *s);
    s->fd = s->hidden = s->told = -1;
    snprintf(s->path, sizeof s->path, "%s/%s", folder, file);
    return s;
}

static void simple_close(void *h)
{
    struct simple *s = h;
    if (s->fd >= 0)
        close(s->fd);
    if (s->hidden >= 0)
        close(s->hidden);
    if (s->told >= 0)
        close(s->told);
    free(s);
}

/* ---- the floor: the bare system calls of check-bid-check, on kept descriptors; nothing is judged, nothing checked ---- */

struct entry { /* getdents64(2) */
    uint64_t number;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* The number of bids in the folder. */
static int list(int fd)
{
    char buffer[8192];
    int bids = 0;
    long n;
    lseek(fd, 0, SEEK_SET);
    while ((n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n;) {
            const struct entry *e = (const void *)(buffer + at);
            size_t length = strlen(e->name);
            bids += length > 5 && memcmp(e->name + length - 5, ".json", 5) == 0;
            at += e->length;
        }
    return n < 0 ? -1 : bids;
}

static void *floor_open(const char *folder)
{
    struct simple *s = simple_new(folder, "");
    s->fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mkdirat(s->fd, ".lockfolder", 0777);
    s->hidden = openat(s->fd, ".lockfolder", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int claim = openat(s->hidden, "claim", O_WRONLY | O_CREAT, 0644);
    if (claim < 0)
        return NULL;
    dprintf(claim, "{\"PID\": %d, \"CREATED\": 1700000000}\n", (int)getpid());
    close(claim);
    return s;
}

static int floor_try(void *h)
{
    struct simple *s = h;
    if (list(s->fd) != 0)
        return BUSY;
    /* The name has the length of a GUID's. */
    snprintf(s->name, sizeof s->name, "%08lx-0000-7000-8000-000000000000.json", ++s->count);
    if (linkat(s->hidden, "claim", s->fd, s->name, 0) != 0)
        return FAILED;
    return list(s->fd) == 1 ? HELD : FAILED;
}

static int floor_unlock(void *h)
{
    struct simple *s = h;
    return unlinkat(s->fd, s->name, 0) == 0 ? HELD : FAILED;
}

/* Tries again as soon as the kernel reports that a name has left the folder. */
static int floor_wait(void *h)
{
    static int news = -1;
    struct simple *s = h;
    char path[64], events[4096];
    int done = floor_try(h);
    if (done == BUSY && news < 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd);
        news = inotify_init1(IN_CLOEXEC);
        if (inotify_add_watch(news, path, IN_DELETE) < 0)
            return FAILED;
        done = floor_try(h);
    }
    while (done == BUSY) {
        if (read(news, events, sizeof events) < 0)
            return FAILED;
        done = floor_try(h);
    }
    return done;
}

/* ---- the floor of a hand-over in line: the holder tells by a FIFO, then unlinks; the waiter, told, links and lists until it is alone.
 * Each unlock but the last must have a waiter. ---- */

static void *told_open(const char *folder)
{
    struct simple *s = floor_open(folder);
    if (s == NULL || (mkfifoat(s->hidden, "told", 0600) != 0 && errno != EEXIST))
        return NULL;
    s->told = openat(s->hidden, "told", O_RDWR | O_CLOEXEC);
    return s->told < 0 ? NULL : s;
}

static int told_wait(void *h)
{
    struct simple *s = h;
    char byte;
    int done = floor_try(h);
    if (done != BUSY)
        return done;
    if (read(s->told, &byte, 1) != 1)
        return FAILED;
    snprintf(s->name, sizeof s->name, "%08lx-0000-7000-8000-%012d.json", ++s->count, (int)getpid());
    if (linkat(s->hidden, "claim", s->fd, s->name, 0) != 0)
        return FAILED;
    while (list(s->fd) != 1)
        ;
    return HELD;
}

static int told_unlock(void *h)
{
    struct simple *s = h;
    return write(s->told, "", 1) == 1 ? floor_unlock(h) : FAILED;
}

/* ---- the floor of reaping: open, read and unlink each bid ---- */

static int reap_loop(void *h)
{
    struct simple *s = h;
    char buffer[8192], content[4096];
    long n;
    lseek(s->fd, 0, SEEK_SET);
    while ((n = syscall(SYS_getdents64, s->fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n;) {
            const struct entry *e = (const void *)(buffer + at);
            at += e->length;
            if (!strstr(e->name, ".json"))
                continue;
            int fd = openat(s->fd, e->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
            if (fd < 0 || read(fd, content, sizeof content) <= 0)
                return FAILED;
            close(fd);
            if (unlinkat(s->fd, e->name, 0) != 0)
                return FAILED;
        }
    return HELD;
}

static int nothing(void *h)
{
    (void)h;
    return HELD;
}

/* ---- flock(2) and OFD locks (fcntl(2)) on a file that stays open ---- */

static void *file_open(const char *folder)
{
    struct simple *s = simple_new(folder, "file");
    s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    return s->fd < 0 ? NULL : s;
}

static int outcome(int result)
{
    return result == 0 ? HELD : errno == EWOULDBLOCK || errno == EACCES || errno == EEXIST ? BUSY : FAILED;
}

static int flock_try(void *h) { return outcome(flock(((struct simple *)h)->fd, LOCK_EX | LOCK_NB)); }
static int flock_wait(void *h) { return outcome(flock(((struct simple *)h)->fd, LOCK_EX)); }
static int flock_unlock(void *h) { return outcome(flock(((struct simple *)h)->fd, LOCK_UN)); }

static int ofd(void *h, int command, short type)
{
    struct flock whole = {.l_type = type, .l_whence = SEEK_SET};
    return outcome(fcntl(((struct simple *)h)->fd, command, &whole));
}

static int ofd_try(void *h) { return ofd(h, F_OFD_SETLK, F_WRLCK); }
static int ofd_wait(void *h) { return ofd(h, F_OFD_SETLKW, F_WRLCK); }
static int ofd_unlock(void *h) { return ofd(h, F_OFD_SETLK, F_UNLCK); }

/* ---- the classic lock file, and a folder as a lock ---- */

static void *path_open(const char *folder) { return simple_new(folder, "held"); }

static int excl_try(void *h)
{
    int fd = open(((struct simple *)h)->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? outcome(-1) : outcome(close(fd));
}

static int excl_unlock(void *h) { return outcome(unlink(((struct simple *)h)->path)); }
static int mkdir_try(void *h) { return outcome(mkdir(((struct simple *)h)->path, 0755)); }
static int mkdir_unlock(void *h) { return outcome(rmdir(((struct simple *)h)->path)); }

/* ---- liblockfile ---- */

#ifdef WITH_LIBLOCKFILE
static int liblockfile_try(void *h)
{
    switch (lockfile_create(((struct simple *)h)->path, 0, L_PID)) {
    case L_SUCCESS:
        return HELD;
    case L_MAXTRYS:
    case L_ORPHANED:
        return BUSY;
    default:
        return FAILED;
    }
}

static int liblockfile_unlock(void *h) { return lockfile_remove(((struct simple *)h)->path) == 0 ? HELD : FAILED; }
#endif

/* ---- ours ---- */

static void *ours_open(const char *folder)
{
    lf_folder *handle;
    return lf_open(folder, LF_OPEN_DEFAULT, &handle) == LF_OK ? handle : NULL;
}

static int ours(lf_status status) { return status == LF_OK ? HELD : status == LF_BUSY ? BUSY : FAILED; }
static int ours_try(void *h) { return ours(lf_lock(h)); }
static int ours_wait(void *h) { return ours(lf_lock_wait(h, -1)); }
static int ours_unlock(void *h) { return ours(lf_unlock(h)); }
static void ours_close(void *h) { lf_close(h); }

/* ---- one handle for all threads of a process, and a mutex around it. The handle keeps the lock while other threads wait for the
 * mutex, for RUN locks at most; then the line outside has its turn. ---- */

enum { RUN = 16 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_long wanted;
static lf_folder *handle_of_all;
static long users, run;

static void *mutex_open(const char *folder)
{
    pthread_mutex_lock(&mutex);
    if (users++ == 0)
        handle_of_all = ours_open(folder);
    pthread_mutex_unlock(&mutex);
    return handle_of_all ? &mutex : NULL;
}

static int one_wait(void *h)
{
    atomic_fetch_add(&wanted, 1);
    pthread_mutex_lock(h);
    atomic_fetch_sub(&wanted, 1);
    int done = run > 0 ? HELD : ours_wait(handle_of_all);
    if (done != HELD)
        pthread_mutex_unlock(h);
    return done;
}

static int one_unlock(void *h)
{
    int done = HELD;
    if (++run >= RUN || atomic_load(&wanted) == 0) {
        run = 0;
        done = ours_unlock(handle_of_all);
    }
    pthread_mutex_unlock(h);
    return done;
}

static int one_try(void *h) { return one_wait(h); }
static int mutex_lock(void *h) { return pthread_mutex_lock(h) == 0 ? HELD : FAILED; }
static int mutex_unlock(void *h) { return pthread_mutex_unlock(h) == 0 ? HELD : FAILED; }

static void one_close(void *h)
{
    pthread_mutex_lock(h);
    if (--users == 0)
        ours_close(handle_of_all);
    pthread_mutex_unlock(h);
}

const struct subject subjects[] = {
    {"floor", floor_open, floor_try, floor_wait, floor_unlock, simple_close},
    {"floor-told", told_open, floor_try, told_wait, told_unlock, simple_close},
    {"reap-loop", floor_open, reap_loop, NULL, nothing, simple_close},
    {"flock", file_open, flock_try, flock_wait, flock_unlock, simple_close},
    {"ofd", file_open, ofd_try, ofd_wait, ofd_unlock, simple_close},
    {"excl", path_open, excl_try, NULL, excl_unlock, simple_close},
    {"mkdir", path_open, mkdir_try, NULL, mkdir_unlock, simple_close},
#ifdef WITH_LIBLOCKFILE
    {"liblockfile", path_open, liblockfile_try, NULL, liblockfile_unlock, simple_close},
#endif
    {"one-handle", mutex_open, one_try, one_wait, one_unlock, one_close},
    {"mutex", mutex_open, mutex_lock, mutex_lock, mutex_unlock, one_close},
    {"ours", ours_open, ours_try, ours_wait, ours_unlock, ours_close},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};
