/* A lock as the benchmark sees it: a table of functions. The same harness drives all locks. */
#ifndef SUBJECT_H
#define SUBJECT_H

enum { HELD = 0, BUSY = 1, FAILED = -1 };

struct subject {
    const char *name;
    void *(*open)(const char *folder);
    int (*try_lock)(void *);
    int (*wait)(void *); /* NULL: it has none; the harness tries again after about a millisecond */
    int (*unlock)(void *);
    void (*close)(void *);
};

/* Ends with a NULL name. */
extern const struct subject subjects[];

#endif
