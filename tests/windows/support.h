/* For the tests of the contract on Windows. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <lockfolder.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

enum { GUARD_MS = 120 * 1000 }; /* only against hanging */

/* Ends the program with the line and what the library says, if a call does not return what it should. */
#define EXPECT(status, call) expect(__FILE__, __LINE__, #call, (status), (call))
#define CHECK(condition) check(__FILE__, __LINE__, #condition, (condition))

void check(const char *file, int line, const char *condition, int holds);
void expect(const char *file, int line, const char *call, lf_status wanted, lf_status got);

/* The handle whose message EXPECT shows. */
extern lf_folder *shown;

/* A fresh folder, below the current one: a UTF-8 path. */
const char *scratch(void);
lf_folder *open_folder(const char *path, uint32_t flags);
void message(lf_folder *folder, char *text, size_t size);

/* A file in a folder, by a UTF-8 path; content NULL makes a folder. */
void put(const char *folder, const char *name, const char *content);
int there(const char *folder, const char *name);
WCHAR *wide(const char *path);
/* How many entries a folder below this one has; -1 if it is not there. */
int count(const char *folder, const char *below);

/* Another process that holds the lock of a folder, until it is killed. */
typedef struct {
    HANDLE process;
    DWORD pid;
} holder;
holder hold(const char *path);
void kill_holder(holder victim); /* keeps the handle open */
int be_holder(const char *path, const char *event, DWORD parent_pid);

/* Another thread that waits for a lock. */
typedef struct {
    lf_folder *folder;
    int64_t timeout_ms;
    HANDLE thread;
    volatile LONG status, order;
} waiter;
void start_waiting(waiter *waiter, lf_folder *folder, int64_t timeout_ms);
lf_status end_waiting(waiter *waiter);

#endif
