/* Tests the C interface itself, in the header and the library: each name, value and type, each NULL, and the copy of a message.
 * contract.c tests what the calls do. C99, C11 and C++17.
 *
 *     interface FOLDER     FOLDER does not exist, and its parent does
 */
#include "check.h"

/* ---- values: known to the compiler ---- */

#define STATIC(name, what) typedef char static_assertion_##name[(what) ? 1 : -1]

STATIC(ok, LF_OK == 0);
STATIC(busy, LF_BUSY == 1);
STATIC(timeout, LF_TIMEOUT == 2);
STATIC(cancelled, LF_CANCELLED == 3);
STATIC(invalid, LF_ERR_INVALID == -1);
STATIC(not_held, LF_ERR_NOT_HELD == -2);
STATIC(already_held, LF_ERR_ALREADY_HELD == -3);
STATIC(lost, LF_ERR_LOST == -4);
STATIC(forked, LF_ERR_FORKED == -5);
STATIC(io, LF_ERR_IO == -6);
STATIC(unsafe, LF_ERR_UNSAFE == -7);
STATIC(unsupported, LF_ERR_UNSUPPORTED == -8);
STATIC(internal, LF_ERR_INTERNAL == -9);
STATIC(open_default, LF_OPEN_DEFAULT == 0);
STATIC(open_no_create, LF_OPEN_NO_CREATE == 1);
STATIC(open_private, LF_OPEN_PRIVATE == 2);
STATIC(open_trust, LF_OPEN_TRUST_FILESYSTEM == 4);
STATIC(bid_own, LF_BID_OWN == 0);
STATIC(bid_live, LF_BID_LIVE == 1);
STATIC(bid_stale, LF_BID_STALE == 2);
STATIC(bid_unknown, LF_BID_UNKNOWN == 3);
STATIC(bid_malformed, LF_BID_MALFORMED == 4);
STATIC(version, LF_VERSION_MAJOR >= 0 && LF_VERSION_MINOR >= 0 && LF_VERSION_PATCH >= 0);
STATIC(version_check_same, LF_VERSION_CHECK(LF_VERSION_MAJOR, LF_VERSION_MINOR));
STATIC(version_check_older_minor, LF_VERSION_CHECK(LF_VERSION_MAJOR, LF_VERSION_MINOR - 1));
STATIC(version_check_older_major, LF_VERSION_CHECK(LF_VERSION_MAJOR - 1, LF_VERSION_MINOR + 1));
STATIC(version_check_later_minor, !LF_VERSION_CHECK(LF_VERSION_MAJOR, LF_VERSION_MINOR + 1));
STATIC(version_check_later_major, !LF_VERSION_CHECK(LF_VERSION_MAJOR + 1, 0));

#if !LF_VERSION_CHECK(0, 1) || LF_VERSION_CHECK(LF_VERSION_MAJOR, LF_VERSION_MINOR + 1)
#error "the preprocessor can't use LF_VERSION_CHECK"
#endif

/* The constants work where only a literal may stand, and in the preprocessor. */
#if LF_ERR_INTERNAL != -9 || LF_BUSY != 1 || LF_BID_MALFORMED != 4 || LF_OPEN_TRUST_FILESYSTEM != 4 || LF_VERSION_MAJOR < 0
#error "constants are not literals"
#endif

static const struct {
    lf_status status;
    const char *name;
} statuses[] = {
    {LF_OK, "LF_OK"},
    {LF_BUSY, "LF_BUSY"},
    {LF_TIMEOUT, "LF_TIMEOUT"},
    {LF_CANCELLED, "LF_CANCELLED"},
    {LF_ERR_INVALID, "LF_ERR_INVALID"},
    {LF_ERR_NOT_HELD, "LF_ERR_NOT_HELD"},
    {LF_ERR_ALREADY_HELD, "LF_ERR_ALREADY_HELD"},
    {LF_ERR_LOST, "LF_ERR_LOST"},
    {LF_ERR_FORKED, "LF_ERR_FORKED"},
    {LF_ERR_IO, "LF_ERR_IO"},
    {LF_ERR_UNSAFE, "LF_ERR_UNSAFE"},
    {LF_ERR_UNSUPPORTED, "LF_ERR_UNSUPPORTED"},
    {LF_ERR_INTERNAL, "LF_ERR_INTERNAL"},
    {LF_PENDING, "LF_PENDING"},
    {5, "LF_UNKNOWN"},
    {-10, "LF_UNKNOWN"},
    {INT32_MAX, "LF_UNKNOWN"},
    {INT32_MIN, "LF_UNKNOWN"},
};

static void names_and_version(void) {
    char version[64];
    size_t i;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        CHECK(strcmp(lf_status_name(statuses[i].status), statuses[i].name) == 0);
    }
    snprintf(version, sizeof version, "%d.%d.%d", LF_VERSION_MAJOR, LF_VERSION_MINOR, LF_VERSION_PATCH);
    CHECK(strcmp(lf_version(), version) == 0);
}

/* ---- types: an assignment that is not of the same type does not compile ---- */

static void signatures(void) {
    lf_status (*open_)(const char *, uint32_t, lf_folder **) = lf_open;
    void (*close_)(lf_folder *) = lf_close;
    lf_status (*lock)(lf_folder *) = lf_lock;
    lf_status (*lock_wait)(lf_folder *, int64_t) = lf_lock_wait;
    lf_status (*cancel)(lf_folder *) = lf_cancel;
    lf_status (*unlock)(lf_folder *) = lf_unlock;
    lf_status (*holds)(lf_folder *) = lf_holds;
    lf_status (*in_use)(lf_folder *, bool *) = lf_in_use;
    lf_status (*reap_stale)(lf_folder *, size_t *) = lf_reap_stale;
    lf_status (*bids)(lf_folder *, lf_bid_list **) = lf_bids;
    size_t (*len)(const lf_bid_list *) = lf_bid_list_len;
    const lf_bid *(*get)(const lf_bid_list *, size_t) = lf_bid_list_get;
    void (*list_free)(lf_bid_list *) = lf_bid_list_free;
    lf_status (*fence)(lf_folder *, uint64_t *) = lf_fence;
    lf_status (*grace)(lf_folder *, uint32_t) = lf_set_malformed_grace;
    const char *(*status_name)(lf_status) = lf_status_name;
    size_t (*error_message)(const lf_folder *, char *, size_t) = lf_error_message;
    int (*error_code)(const lf_folder *) = lf_error_code;
    const char *(*version)(void) = lf_version;
    lf_status status = 0;
    int32_t *is_int32 = &status;
    CHECK(open_ && close_ && lock && lock_wait && cancel && unlock && holds && in_use && reap_stale && bids && len && get);
    CHECK(list_free && fence && grace && status_name && error_message && error_code && version && is_int32);
}

/* ---- pointers ---- */

static void null_is_checked(void) {
    lf_folder *out = SET, *folder;
    lf_bid_list *list = (lf_bid_list *)SET;
    uint64_t token = 77;
    size_t reaped = 77;
    bool in_use = true;

    IS(lf_open(NULL, LF_OPEN_DEFAULT, &out), LF_ERR_INVALID);
    CHECK(out == NULL && lf_error_message(NULL, NULL, 0) > 0);
    IS(lf_open(folder_path, LF_OPEN_DEFAULT, NULL), LF_ERR_INVALID);
    IS(lf_open(NULL, LF_OPEN_DEFAULT, NULL), LF_ERR_INVALID);
    lf_close(NULL);
    IS(lf_lock(NULL), LF_ERR_INVALID);
    IS(lf_lock_wait(NULL, 0), LF_ERR_INVALID);
    IS(lf_lock_wait(NULL, -1), LF_ERR_INVALID);
    IS(lf_cancel(NULL), LF_ERR_INVALID);
    IS(lf_unlock(NULL), LF_ERR_INVALID);
    IS(lf_holds(NULL), LF_ERR_INVALID);
    IS(lf_in_use(NULL, &in_use), LF_ERR_INVALID);
    IS(lf_in_use(NULL, NULL), LF_ERR_INVALID);
    IS(lf_reap_stale(NULL, &reaped), LF_ERR_INVALID);
    IS(lf_reap_stale(NULL, NULL), LF_ERR_INVALID);
    IS(lf_bids(NULL, &list), LF_ERR_INVALID);
    CHECK(list == NULL);
    IS(lf_bids(NULL, NULL), LF_ERR_INVALID);
    CHECK(lf_bid_list_len(NULL) == 0);
    CHECK(lf_bid_list_get(NULL, 0) == NULL);
    lf_bid_list_free(NULL);
    IS(lf_fence(NULL, &token), LF_ERR_INVALID);
    IS(lf_fence(NULL, NULL), LF_ERR_INVALID);
    IS(lf_set_malformed_grace(NULL, 1), LF_ERR_INVALID);
    CHECK(lf_error_code(NULL) == 0);

    folder = opened();
    IS(lf_in_use(folder, NULL), LF_ERR_INVALID);
    IS(lf_bids(folder, NULL), LF_ERR_INVALID);
    IS(lf_reap_stale(folder, NULL), LF_OK);
    IS(lf_lock(folder), LF_OK);
    IS(lf_fence(folder, NULL), LF_ERR_INVALID);
    CHECK(says(folder, "NULL") && lf_error_code(folder) == 0);
    CHECK(lf_error_message(folder, NULL, 0) > 0);
    CHECK(lf_error_message(folder, NULL, 100) > 0);
    lf_close(folder);
}

/* ---- messages: snprintf(3) ---- */

static void messages(void) {
    lf_folder *folder = opened();
    char whole[2048], part[2048];
    size_t length, size;
    IS(lf_unlock(folder), LF_ERR_NOT_HELD);
    length = lf_error_message(folder, whole, sizeof whole);
    CHECK(length > 10 && length < sizeof whole && strlen(whole) == length);
    for (size = 0; size <= length + 2; size++) {
        memset(part, '#', sizeof part);
        CHECK(lf_error_message(folder, part, size) == length);
        CHECK(part[size] == '#'); /* the copy writes nothing behind the buffer */
        if (size > 0) {
            size_t fits = size - 1 < length ? size - 1 : length;
            CHECK(strlen(part) == fits && strncmp(part, whole, fits) == 0);
        }
    }
    IS(lf_lock(folder), LF_OK); /* a success leaves the message of the last failure as it is */
    CHECK(lf_error_message(folder, part, sizeof part) == length && strcmp(part, whole) == 0);
    lf_close(folder);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    folder_path = arguments[1];
    signatures();
    names_and_version();
    null_is_checked();
    messages();
    puts("the contract is kept");
    return 0;
}
