/* Shared by the programs that test the contract (docs/contract.md). A check that fails prints what is wrong, and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <lockfolder.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what) ((what) ? (void)0 : failed(#what, __FILE__, __LINE__))
#define IS(call, status) is((call), (status), #call, __FILE__, __LINE__)

static void failed(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    exit(1);
}

static void is(lf_status got, lf_status expected, const char *call, const char *file, int line) {
    if (got != expected) {
        fprintf(stderr, "%s:%d: %s is %s, not %s\n", file, line, call, lf_status_name(got), lf_status_name(expected));
        exit(1);
    }
}

/* The folder that the program was given. */
static const char *folder_path;

static lf_folder *opened(void) {
    lf_folder *folder = NULL;
    IS(lf_open(folder_path, LF_OPEN_DEFAULT, &folder), LF_OK);
    CHECK(folder != NULL);
    return folder;
}

static bool says(const lf_folder *folder, const char *text) {
    char message[2048];
    size_t length = lf_error_message(folder, message, sizeof message);
    CHECK(length < sizeof message && length == strlen(message));
    if (strstr(message, text) == NULL) {
        fprintf(stderr, "the message is: %s\n", message);
        return false;
    }
    return true;
}

static lf_folder *const SET = (lf_folder *)&folder_path; /* neither NULL nor a handle: a call must overwrite it */

#endif
