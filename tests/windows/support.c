#include "support.h"

lf_folder *shown;
static volatile LONG order;

void check(const char *file, int line, const char *condition, int holds)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: not so: %s (error %lu)\n", file, line, condition, GetLastError());
        exit(EXIT_FAILURE);
    }
}

void expect(const char *file, int line, const char *call, lf_status wanted, lf_status got)
{
    if (wanted != got) {
        char why[1024];
        message(shown, why, sizeof why);
        fprintf(stderr, "%s:%d: %s is %s and not %s: %s\n", file, line, call, lf_status_name(got),
                lf_status_name(wanted), why);
        exit(EXIT_FAILURE);
    }
}

void message(lf_folder *folder, char *text, size_t size)
{
    lf_error_message(folder, text, size);
}

const char *scratch(void)
{
    static int number;
    char path[64];
    snprintf(path, sizeof path, "scratch-%lu-%d", GetCurrentProcessId(), ++number);
    return _strdup(path); /* for as long as the tests run */
}

lf_folder *open_folder(const char *path, uint32_t flags)
{
    lf_folder *folder;
    shown = NULL;
    EXPECT(LF_OK, lf_open(path, flags, &folder));
    shown = folder;
    return folder;
}

WCHAR *wide(const char *path)
{
    static WCHAR buffers[4][4096];
    static int next;
    WCHAR *buffer = buffers[next++ % 4];
    CHECK(MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, buffer, 4096) > 0);
    return buffer;
}

void put(const char *folder, const char *name, const char *content)
{
    char path[4096];
    snprintf(path, sizeof path, "%s\\%s", folder, name);
    if (content == NULL) {
        CHECK(CreateDirectoryW(wide(path), NULL));
        return;
    }
    DWORD written;
    HANDLE file = CreateFileW(wide(path), GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL);
    CHECK(file != INVALID_HANDLE_VALUE);
    CHECK(WriteFile(file, content, (DWORD)strlen(content), &written, NULL));
    CloseHandle(file);
}

int there(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s\\%s", folder, name);
    return GetFileAttributesW(wide(path)) != INVALID_FILE_ATTRIBUTES;
}

int count(const char *folder, const char *below)
{
    char pattern[4096];
    WIN32_FIND_DATAW found;
    int entries = 0;
    snprintf(pattern, sizeof pattern, "%s\\%s\\*", folder, below);
    HANDLE search = FindFirstFileW(wide(pattern), &found);
    if (search == INVALID_HANDLE_VALUE)
        return -1;
    do
        entries += found.cFileName[0] != L'.';
    while (FindNextFileW(search, &found));
    FindClose(search);
    return entries;
}

holder hold(const char *path)
{
    static int number;
    char program[MAX_PATH], command[3 * MAX_PATH], event_name[64];
    STARTUPINFOA how = {.cb = sizeof how};
    PROCESS_INFORMATION process;
    snprintf(event_name, sizeof event_name, "lockfolder-holds-%lu-%d", GetCurrentProcessId(), ++number);
    HANDLE holds = CreateEventA(NULL, TRUE, FALSE, event_name);
    GetModuleFileNameA(NULL, program, sizeof program);
    snprintf(command, sizeof command, "\"%s\" --hold \"%s\" %s %lu", program, path, event_name,
             GetCurrentProcessId());
    CHECK(CreateProcessA(program, command, NULL, NULL, FALSE, 0, NULL, NULL, &how, &process));
    CloseHandle(process.hThread);
    CHECK(WaitForSingleObject(holds, GUARD_MS) == WAIT_OBJECT_0);
    CloseHandle(holds);
    return (holder){process.hProcess, process.dwProcessId};
}

void kill_holder(holder victim)
{
    CHECK(TerminateProcess(victim.process, 9));
    CHECK(WaitForSingleObject(victim.process, GUARD_MS) == WAIT_OBJECT_0);
}

int be_holder(const char *path, const char *event, DWORD parent_pid)
{
    HANDLE parent = OpenProcess(SYNCHRONIZE, FALSE, parent_pid);
    CHECK(parent != NULL);
    lf_folder *folder = open_folder(path, LF_OPEN_DEFAULT);
    HANDLE holds = OpenEventA(EVENT_MODIFY_STATE, FALSE, event);
    EXPECT(LF_OK, lf_lock_wait(folder, GUARD_MS));
    CHECK(SetEvent(holds));
    WaitForSingleObject(parent, INFINITE); /* whoever started this one kills it, or fails */
    return EXIT_FAILURE;
}

static DWORD WINAPI wait_for_lock(LPVOID argument)
{
    waiter *waiter = argument;
    lf_status status = lf_lock_wait(waiter->folder, waiter->timeout_ms);
    waiter->order = InterlockedIncrement(&order);
    waiter->status = status;
    return 0;
}

void start_waiting(waiter *waiter, lf_folder *folder, int64_t timeout_ms)
{
    waiter->folder = folder;
    waiter->timeout_ms = timeout_ms;
    waiter->thread = CreateThread(NULL, 0, wait_for_lock, waiter, 0, NULL);
    CHECK(waiter->thread != NULL);
}

lf_status end_waiting(waiter *waiter)
{
    CHECK(WaitForSingleObject(waiter->thread, GUARD_MS) == WAIT_OBJECT_0);
    CloseHandle(waiter->thread);
    return waiter->status;
}
