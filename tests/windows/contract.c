/* The contract (docs/contract.md), on Windows: statuses, paths, bids, stale and malformed ones, loss, open handles of others, waiting.
 *
 *     contract            every test, in the current folder
 *     contract TEST...    these
 */
#include "support.h"

/* The name of a bid that is made by hand. */
#define BY_HAND "eeeeeeee-0000-4000-8000-000000000000.json"

static void statuses(void)
{
    lf_folder *folder = (lf_folder *)1;
    char text[1024];
    EXPECT(LF_ERR_INVALID, lf_open(NULL, 0, &folder));
    CHECK(folder == NULL);
    EXPECT(LF_ERR_INVALID, lf_open("", 0, &folder));
    EXPECT(LF_ERR_INVALID, lf_open("x", 1u << 30, &folder));
    EXPECT(LF_ERR_INVALID, lf_open("not UTF-8: \xff", 0, &folder));
    EXPECT(LF_ERR_INVALID, lf_lock(NULL));
    EXPECT(LF_ERR_IO, lf_open("no\\such\\folder", 0, &folder));
    CHECK(lf_error_code(NULL) == ERROR_PATH_NOT_FOUND);
    CHECK(lf_error_message(NULL, text, sizeof text) > strlen("no\\such\\folder"));
    CHECK(strstr(text, "no\\such\\folder") != NULL);
    EXPECT(LF_ERR_IO, lf_open("missing", LF_OPEN_NO_CREATE, &folder));
    CHECK(lf_error_code(NULL) == ERROR_FILE_NOT_FOUND);

    const char *path = scratch();
    folder = open_folder(path, LF_OPEN_DEFAULT);
    lf_folder *other = open_folder(path, LF_OPEN_DEFAULT);
    EXPECT(LF_ERR_NOT_HELD, lf_unlock(folder));
    EXPECT(LF_ERR_NOT_HELD, lf_holds(folder));
    EXPECT(LF_OK, lf_lock(folder));
    EXPECT(LF_OK, lf_holds(folder));
    EXPECT(LF_ERR_ALREADY_HELD, lf_lock(folder));
    EXPECT(LF_BUSY, lf_lock(other));
    EXPECT(LF_TIMEOUT, lf_lock_wait(other, 0));
    EXPECT(LF_TIMEOUT, lf_lock_wait(other, 20));
    uint64_t first, second;
    EXPECT(LF_OK, lf_fence(folder, &first));
    EXPECT(LF_OK, lf_fence(folder, &second));
    CHECK(first >= 1 && second > first);
    EXPECT(LF_OK, lf_unlock(folder));
    EXPECT(LF_OK, lf_lock(other));
    EXPECT(LF_OK, lf_fence(other, &first));
    CHECK(first > second);
    lf_close(other); /* unlocks */
    EXPECT(LF_OK, lf_lock(folder));
    lf_close(folder);
    CHECK(count(path, ".lockfolder") <= 1); /* the fence counter alone */
    CHECK(strcmp(lf_version(), "") != 0);
}

static void paths(void)
{
    /* A folder of 250 and one of 200 characters: longer than MAX_PATH; and not ASCII. */
    WCHAR here[MAX_PATH], whole[2048];
    char relative[2048], part[256];
    const char *top = scratch();
    CHECK(GetCurrentDirectoryW(MAX_PATH, here) > 0);
    put(".", top, NULL);
    memset(part, 'p', 200);
    part[200] = '\0';
    snprintf(relative, sizeof relative, "%s\\%s", top, part);
    swprintf(whole, 2048, L"\\\\?\\%ls\\%hs", here, relative);
    CHECK(CreateDirectoryW(whole, NULL));
    snprintf(relative, sizeof relative, "%s/%s/\xc3\xbc\xe2\x82\xac %s", top, part, part);
    lf_folder *folder = open_folder(relative, LF_OPEN_DEFAULT);
    lf_folder *other = open_folder(relative, LF_OPEN_NO_CREATE);
    CHECK(SetCurrentDirectoryW(L"C:\\")); /* it was resolved when it was opened */
    EXPECT(LF_OK, lf_lock(folder));
    EXPECT(LF_BUSY, lf_lock(other));
    EXPECT(LF_OK, lf_unlock(folder));
    CHECK(SetCurrentDirectoryW(here));
    lf_close(folder);
    lf_close(other);

    /* Another folder at the path: the next lock is there. */
    const char *path = scratch(), *elsewhere = scratch();
    folder = open_folder(path, LF_OPEN_DEFAULT);
    EXPECT(LF_OK, lf_lock(folder));
    EXPECT(LF_OK, lf_unlock(folder));
    CHECK(MoveFileW(wide(path), wide(elsewhere)));
    EXPECT(LF_ERR_IO, lf_lock(folder));
    CHECK(lf_error_code(folder) == ERROR_FILE_NOT_FOUND);
    put(".", path, NULL);
    EXPECT(LF_OK, lf_lock(folder));
    CHECK(count(path, "") == 1 && count(elsewhere, "") == 0);
    lf_close(folder);
    CHECK(!there(path, ".lockfolder\\x"));
}

static void bids(void)
{
    const char *path = scratch();
    lf_folder *folder = open_folder(path, LF_OPEN_DEFAULT);
    holder other = hold(path);
    lf_bid_list *list;
    bool in_use = false;
    char text[1024], pid[32], name[48];
    EXPECT(LF_BUSY, lf_lock(folder));
    message(folder, text, sizeof text);
    snprintf(pid, sizeof pid, "PID %lu", other.pid);
    CHECK(strstr(text, pid) != NULL && strstr(text, "contract.exe") != NULL);
    EXPECT(LF_OK, lf_in_use(folder, &in_use));
    CHECK(in_use);
    EXPECT(LF_OK, lf_bids(folder, &list));
    CHECK(lf_bid_list_len(list) == 1 && lf_bid_list_get(list, 1) == NULL);
    const lf_bid *bid = lf_bid_list_get(list, 0);
    CHECK(bid->state == LF_BID_LIVE && bid->pid == (int64_t)other.pid && bid->age_ms >= 0);
    CHECK(strcmp(bid->command, "contract.exe") == 0 && strlen(bid->name) == 41 && bid->host != NULL);

    /* What psutil's int(create_time()) says. */
    FILETIME created, unused;
    CHECK(GetProcessTimes(other.process, &created, &unused, &unused, &unused));
    int64_t ticks = (int64_t)created.dwHighDateTime << 32 | created.dwLowDateTime;
    CHECK(bid->created == (ticks - 116444736000000000) / 10000000);
    int64_t live_created = bid->created;
    lf_bid_list_free(list);

    /* It is dead, although we have a handle on it. */
    kill_holder(other);
    EXPECT(LF_OK, lf_bids(folder, &list));
    CHECK(lf_bid_list_len(list) == 1 && lf_bid_list_get(list, 0)->state == LF_BID_STALE);
    lf_bid_list_free(list);
    EXPECT(LF_OK, lf_lock(folder));
    EXPECT(LF_OK, lf_unlock(folder));
    CHECK(count(path, "") == 0);

    /* Those of Python peers: by PID and CREATED; of another boot; of another process with the same PID. */
    holder peer = hold(scratch());
    static const struct {
        const char *format;
        int offset;
        lf_bid_state state;
    } CASES[] = {
        {"{\"PID\": %lu, \"CREATED\": %lld}", 0, LF_BID_LIVE},
        {"{\"PID\": %lu, \"CREATED\": %lld}", 2, LF_BID_LIVE},
        {"{\"PID\": %lu, \"CREATED\": %lld}", 30, LF_BID_STALE},
        {"{\"PID\": %lu, \"CREATED\": %lld, \"BOOT\": \"another\"}", 0, LF_BID_STALE},
        {"{\"PID\": %lu, \"CREATED\": %lld, \"START\": 7}", 0, LF_BID_STALE},
    };
    CHECK(GetProcessTimes(peer.process, &created, &unused, &unused, &unused));
    ticks = (int64_t)created.dwHighDateTime << 32 | created.dwLowDateTime;
    live_created = (ticks - 116444736000000000) / 10000000;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        snprintf(text, sizeof text, CASES[i].format, peer.pid, (long long)(live_created + CASES[i].offset));
        snprintf(name, sizeof name, "eeeeeeee-0000-4000-8000-%012d.json", (int)i);
        put(path, name, text);
        EXPECT(LF_OK, lf_bids(folder, &list));
        CHECK(lf_bid_list_len(list) == 1);
        printf("    %s: state %d\n", text, lf_bid_list_get(list, 0)->state);
        CHECK(lf_bid_list_get(list, 0)->state == CASES[i].state);
        lf_bid_list_free(list);
        EXPECT(CASES[i].state == LF_BID_STALE ? LF_OK : LF_BUSY, lf_lock(folder));
        if (CASES[i].state == LF_BID_STALE)
            EXPECT(LF_OK, lf_unlock(folder));
        else
            CHECK(DeleteFileW(wide(strcat(strcat(strcpy(text, path), "\\"), name))));
        CHECK(!there(path, name));
    }
    kill_holder(peer);
    lf_close(folder);
}

static void malformed(void)
{
    static const struct {
        const char *content; /* NULL: a folder */
        bool is_cut_off;
    } CASES[] = {
        {"", true}, {"{", true}, {"{\"PID\": ", true}, {"[]", false},
        {"{\"PID\": \"x\"}", false}, {"{}", false}, {NULL, false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const char *path = scratch();
        lf_folder *folder = open_folder(path, LF_OPEN_DEFAULT);
        lf_bid_list *list;
        put(path, BY_HAND, CASES[i].content);
        put(path, "package.json", ""); /* somebody else's */
        EXPECT(LF_BUSY, lf_lock(folder));
        EXPECT(LF_OK, lf_bids(folder, &list));
        CHECK(lf_bid_list_len(list) == 1 && lf_bid_list_get(list, 0)->state == LF_BID_MALFORMED);
        lf_bid_list_free(list);
        EXPECT(LF_OK, lf_set_malformed_grace(folder, 1));
        Sleep(20);
        EXPECT(CASES[i].is_cut_off ? LF_OK : LF_BUSY, lf_lock(folder));
        CHECK(there(path, BY_HAND) == !CASES[i].is_cut_off && there(path, "package.json"));
        lf_close(folder);
    }
}

static void find_bid(const char *path, char *name)
{
    lf_folder *folder;
    lf_bid_list *list;
    EXPECT(LF_OK, lf_open(path, LF_OPEN_NO_CREATE, &folder));
    EXPECT(LF_OK, lf_bids(folder, &list));
    CHECK(lf_bid_list_len(list) == 1);
    sprintf(name, "%s\\%s", path, lf_bid_list_get(list, 0)->name);
    lf_bid_list_free(list);
    lf_close(folder);
}

static void loss(void)
{
    const char *path = scratch();
    char bid[256];
    lf_folder *folder = open_folder(path, LF_OPEN_DEFAULT);
    EXPECT(LF_OK, lf_lock(folder));
    find_bid(path, bid);
    CHECK(MoveFileW(wide(bid), wide("taken away")));
    EXPECT(LF_ERR_LOST, lf_holds(folder));
    EXPECT(LF_ERR_LOST, lf_unlock(folder));
    EXPECT(LF_ERR_NOT_HELD, lf_unlock(folder));
    EXPECT(LF_OK, lf_lock(folder));
    find_bid(path, bid);
    CHECK(DeleteFileW(wide(bid)));
    /* Windows 10 and later delete the name at once. Before that, and in Wine, it stays until the owner closes its file, so
     * everybody still sees the bid, and nothing is lost. */
    lf_folder *other = open_folder(path, LF_OPEN_DEFAULT);
    int lost = GetFileAttributesW(wide(bid)) == INVALID_FILE_ATTRIBUTES;
    printf("    a deleted bid is %s\n", lost ? "gone" : "there until its owner lets go of it");
    EXPECT(lost ? LF_OK : LF_BUSY, lf_lock(other));
    EXPECT(lost ? LF_ERR_LOST : LF_OK, lf_holds(folder));
    EXPECT(lost ? LF_ERR_LOST : LF_OK, lf_unlock(folder));
    lf_close(other);
    lf_close(folder);
}

static DWORD WINAPI close_later(LPVOID handle)
{
    Sleep(100);
    CloseHandle(handle);
    return 0;
}

/* Others have our bid open while we take it back. */
static void open_handles(void)
{
    const char *path = scratch();
    char bid[256];
    lf_folder *folder = open_folder(path, LF_OPEN_DEFAULT);
    /* One that shares everything: everybody goes on. */
    EXPECT(LF_OK, lf_lock(folder));
    find_bid(path, bid);
    HANDLE reader = CreateFileW(wide(bid), GENERIC_READ, 7, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(reader != INVALID_HANDLE_VALUE);
    EXPECT(LF_OK, lf_unlock(folder));
    lf_folder *other = open_folder(path, LF_OPEN_DEFAULT);
    EXPECT(LF_OK, lf_lock(other));
    EXPECT(LF_BUSY, lf_lock(folder));
    EXPECT(LF_OK, lf_unlock(other));
    CloseHandle(reader);
    /* One that does not share deletes, as Python's open(): the delete is tried again, for a second. (Of some rounds in one at
     * least: the machine may be busy, and the other close later.) */
    lf_status unlocked = LF_ERR_IO;
    for (int round = 0; unlocked != LF_OK && round < 20; round++) {
        EXPECT(LF_OK, lf_lock(folder));
        find_bid(path, bid);
        reader = CreateFileW(wide(bid), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
        CHECK(reader != INVALID_HANDLE_VALUE);
        HANDLE thread = CreateThread(NULL, 0, close_later, reader, 0, NULL);
        unlocked = lf_unlock(folder);
        CHECK(WaitForSingleObject(thread, GUARD_MS) == WAIT_OBJECT_0);
        CloseHandle(thread);
        if (unlocked != LF_OK)
            EXPECT(LF_OK, lf_unlock(folder));
    }
    CHECK(unlocked == LF_OK);
    /* One that never closes it: an error, the lock stays held, and can be given back later. */
    EXPECT(LF_OK, lf_lock(folder));
    find_bid(path, bid);
    reader = CreateFileW(wide(bid), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    EXPECT(LF_ERR_IO, lf_unlock(folder));
    CHECK(lf_error_code(folder) == ERROR_SHARING_VIOLATION);
    EXPECT(LF_OK, lf_holds(folder));
    CloseHandle(reader);
    EXPECT(LF_OK, lf_unlock(folder));
    /* One that shares nothing: its bid can't be read, so it counts as live. */
    put(path, BY_HAND, "{\"PID\": 4}");
    reader = CreateFileW(wide(strcat(strcpy(bid, path), "\\" BY_HAND)), GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(reader != INVALID_HANDLE_VALUE);
    EXPECT(LF_BUSY, lf_lock(folder));
    CloseHandle(reader);
    lf_close(folder);
    lf_close(other);
}

static void waiting(void)
{
    const char *path = scratch();
    lf_folder *folder = open_folder(path, LF_OPEN_DEFAULT), *third = open_folder(path, LF_OPEN_DEFAULT);
    waiter first, second;
    /* The holder dies. */
    holder other = hold(path);
    start_waiting(&first, folder, -1);
    Sleep(50);
    kill_holder(other);
    EXPECT(LF_OK, end_waiting(&first));
    /* Cancelled, from another thread; before it waits this does nothing. */
    start_waiting(&second, third, -1);
    while (WaitForSingleObject(second.thread, 10) == WAIT_TIMEOUT)
        EXPECT(LF_OK, lf_cancel(third));
    EXPECT(LF_CANCELLED, end_waiting(&second));
    EXPECT(LF_TIMEOUT, lf_lock_wait(third, 30));
    EXPECT(LF_OK, lf_unlock(folder));

    /* First come, first served, among processes and threads. */
    EXPECT(LF_OK, lf_lock(folder));
    lf_folder *fourth = open_folder(path, LF_OPEN_DEFAULT);
    start_waiting(&first, third, GUARD_MS);
    while (count(path, ".lockfolder\\queue") < 1)
        Sleep(1);
    start_waiting(&second, fourth, GUARD_MS);
    while (count(path, ".lockfolder\\queue") < 2)
        Sleep(1);
    EXPECT(LF_OK, lf_unlock(folder));
    EXPECT(LF_OK, end_waiting(&first));
    CHECK(WaitForSingleObject(second.thread, 0) == WAIT_TIMEOUT);
    EXPECT(LF_OK, lf_unlock(third));
    EXPECT(LF_OK, end_waiting(&second));
    CHECK(first.order < second.order);
    lf_close(fourth);
    lf_close(third);
    lf_close(folder);
    CHECK(count(path, ".lockfolder") == 0 && count(path, "") == 0);
}

static void private_folder(void)
{
    const char *path = scratch();
    lf_folder *folder = open_folder(path, LF_OPEN_PRIVATE);
    EXPECT(LF_OK, lf_lock(folder));
    lf_close(folder);
    /* scripts/test-windows makes it, writable by everybody. */
    EXPECT(LF_ERR_UNSAFE, lf_open("public", LF_OPEN_PRIVATE, &folder));
    lf_close(open_folder("public", LF_OPEN_DEFAULT));
}

static const struct {
    const char *name;
    void (*run)(void);
} TESTS[] = {{"statuses", statuses},         {"paths", paths},     {"bids", bids},
             {"malformed", malformed},       {"loss", loss},       {"open_handles", open_handles},
             {"private_folder", private_folder}, {"waiting", waiting}};

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--hold") == 0)
        return be_holder(argv[2], argv[3], strtoul(argv[4], NULL, 10));
    for (size_t i = 0; i < sizeof TESTS / sizeof *TESTS; i++) {
        int wanted = argc == 1;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], TESTS[i].name) == 0;
        if (!wanted)
            continue;
        printf("contract: %s\n", TESTS[i].name);
        fflush(stdout);
        shown = NULL;
        TESTS[i].run();
    }
    return EXIT_SUCCESS;
}
