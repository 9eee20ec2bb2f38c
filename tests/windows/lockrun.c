/* lockrun.exe, beside this program: statuses, arguments, who holds, Ctrl+C, and what a kill leaves. The commands that it
 * runs are this program. */
#include "support.h"

static char self[MAX_PATH], lockrun[MAX_PATH + 16];

/* A process that runs in the background, and its standard error. */
typedef struct {
    HANDLE process, said;
    DWORD pid;
} program;

static program begin(const char *arguments)
{
    char line[4096];
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof inherited, .bInheritHandle = TRUE};
    PROCESS_INFORMATION process;
    HANDLE writer;
    program begun;
    CHECK(CreatePipe(&begun.said, &writer, &inherited, 0));
    CHECK(SetHandleInformation(begun.said, HANDLE_FLAG_INHERIT, 0));
    STARTUPINFOA how = {.cb = sizeof how, .dwFlags = STARTF_USESTDHANDLES, .hStdError = writer,
                        .hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE)};
    snprintf(line, sizeof line, "\"%s\" %s", lockrun, arguments);
    CHECK(CreateProcessA(lockrun, line, NULL, NULL, TRUE, 0, NULL, NULL, &how, &process));
    CloseHandle(process.hThread);
    CloseHandle(writer);
    begun.process = process.hProcess;
    begun.pid = process.dwProcessId;
    return begun;
}

static DWORD end(program begun, char *said, size_t size)
{
    DWORD status, length, all = 0;
    while (all + 1 < size && ReadFile(begun.said, said + all, (DWORD)size - 1 - all, &length, NULL) && length > 0)
        all += length;
    said[all] = '\0';
    CHECK(WaitForSingleObject(begun.process, GUARD_MS) == WAIT_OBJECT_0);
    CHECK(GetExitCodeProcess(begun.process, &status));
    CloseHandle(begun.process);
    CloseHandle(begun.said);
    return status;
}

static DWORD run(const char *before, const char *folder, const char *after, char *said, size_t size)
{
    char arguments[3072];
    snprintf(arguments, sizeof arguments, "%s %s %s", before, folder, after);
    return end(begin(arguments), said, size);
}

static void statuses(void)
{
    static const struct {
        const char *before, *after;
        DWORD status;
    } CASES[] = {
        {"", "-- SELF --exit 0", 0},       {"-n", "SELF --exit 7", 7},
        {"", "SELF --exit 259", 259},      {"-w 5", "no-such-command-anywhere", 127},
        {"", "text", 126},                 {"", "", 64},
        {"", "--", 64},                    {"-w soon", "SELF --exit 0", 64},
        {"-E 256", "SELF --exit 0", 64},   {"--nonsense", "SELF --exit 0", 64},
    };
    const char *path = scratch();
    char after[2 * MAX_PATH], said[4096];
    put(".", path, NULL);
    lf_close(open_folder(path, LF_OPEN_DEFAULT));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const char *own = strstr(CASES[i].after, "SELF");
        if (own != NULL)
            snprintf(after, sizeof after, "%.*s\"%s\"%s", (int)(own - CASES[i].after), CASES[i].after, self, own + 4);
        else if (strcmp(CASES[i].after, "text") == 0)
            snprintf(after, sizeof after, "%s\\text", path);
        else
            snprintf(after, sizeof after, "%s", CASES[i].after);
        if (i == 0)
            put(path, "text", "no program");
        DWORD status = run(CASES[i].before, path, after, said, sizeof said);
        printf("    lockrun %s FOLDER %s: %lu\n", CASES[i].before, CASES[i].after, status);
        CHECK(status == CASES[i].status);
        CHECK((said[0] != '\0') == (status == 126 || status == 127 || status == 64));
    }
    CHECK(run("", "no\\such\\folder", self, said, sizeof said) == 71);
}

/* As C libraries read them: an odd number of backslashes before a quote makes it a part of the argument. */
#define LINE "plain \"a b\" \"\" \"quo\\\"te\" \"end\\\\\" in\\side \"\\\\\\\"\" \"\xc3\xbc \xcf\x89\""
static const char *const ARGUMENTS[] = {"plain", "a b", "", "quo\"te", "end\\", "in\\side", "\\\"",
                                        "\xc3\xbc \xcf\x89"};
enum { ARGUMENT_COUNT = sizeof ARGUMENTS / sizeof *ARGUMENTS };

static int check_arguments(int argc, char **argv)
{
    for (int i = 0; i < argc && i < ARGUMENT_COUNT; i++)
        if (strcmp(argv[i], ARGUMENTS[i]) != 0)
            return 1;
    return argc == ARGUMENT_COUNT ? 0 : 1;
}

static void arguments(void)
{
    char after[1024], said[1024];
    snprintf(after, sizeof after, "\"%s\" --arguments " LINE, self);
    CHECK(run("", scratch(), after, said, sizeof said) == 0);
    snprintf(after, sizeof after, "\"%s\" --arguments " LINE " more", self);
    CHECK(run("", scratch(), after, said, sizeof said) == 1);
}

/* Starts a command that holds until it is ended, and returns once it runs. */
static program hold_by_lockrun(const char *path, HANDLE *command)
{
    static int number;
    char arguments[2 * MAX_PATH], name[64];
    snprintf(name, sizeof name, "lockrun-test-%lu-%d", GetCurrentProcessId(), ++number);
    HANDLE runs = CreateEventA(NULL, TRUE, FALSE, name);
    snprintf(arguments, sizeof arguments, "%s \"%s\" --stay %s %lu", path, self, name, GetCurrentProcessId());
    program holder = begin(arguments);
    CHECK(WaitForSingleObject(runs, GUARD_MS) == WAIT_OBJECT_0);
    CloseHandle(runs);
    /* The command wrote its PID. */
    char text[32];
    DWORD length;
    CHECK(ReadFile(holder.said, text, sizeof text - 1, &length, NULL));
    text[length] = '\0';
    *command = OpenProcess(SYNCHRONIZE | PROCESS_TERMINATE, FALSE, strtoul(text, NULL, 10));
    CHECK(*command != NULL);
    return holder;
}

static int stay(const char *event_name, DWORD test_pid)
{
    HANDLE event = OpenEventA(EVENT_MODIFY_STATE, FALSE, event_name);
    HANDLE test = OpenProcess(SYNCHRONIZE, FALSE, test_pid);
    CHECK(event != NULL && test != NULL);
    fprintf(stderr, "%lu", GetCurrentProcessId());
    fflush(stderr);
    CHECK(SetEvent(event));
    WaitForSingleObject(test, INFINITE);
    return EXIT_FAILURE;
}

static void a_held_lock(void)
{
    const char *path = scratch();
    char said[4096], pid[64], after[2 * MAX_PATH];
    HANDLE command;
    program holder = hold_by_lockrun(path, &command);
    snprintf(pid, sizeof pid, "PID %lu", holder.pid);
    snprintf(after, sizeof after, "\"%s\" --exit 3", self);
    CHECK(run("-n", path, after, said, sizeof said) == 1 && strstr(said, pid) != NULL);
    CHECK(run("-q -w 0.05 -E 9", path, after, said, sizeof said) == 9 && said[0] == '\0');
    /* The command is ended: its status, and the lock is free. */
    CHECK(TerminateProcess(command, 5));
    CHECK(end(holder, said, sizeof said) == 5);
    CHECK(run("-n", path, after, said, sizeof said) == 3);
    CloseHandle(command);
}

static void a_kill_of_lockrun_ends_its_command(void)
{
    const char *path = scratch();
    char said[4096], after[2 * MAX_PATH];
    HANDLE command;
    program holder = hold_by_lockrun(path, &command);
    CHECK(WaitForSingleObject(command, 0) == WAIT_TIMEOUT);
    CHECK(TerminateProcess(holder.process, 9));
    CHECK(end(holder, said, sizeof said) == 9);
    CHECK(WaitForSingleObject(command, GUARD_MS) == WAIT_OBJECT_0);
    snprintf(after, sizeof after, "\"%s\" --exit 3", self);
    CHECK(run("-n", path, after, said, sizeof said) == 3);
    CloseHandle(command);
}

static BOOL WINAPI ignore(DWORD event)
{
    return event == CTRL_C_EVENT;
}

/* For all on this console. In Wine 8 the call fails, and the key itself is pressed. */
static void press_ctrl_c(void)
{
    if (GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0))
        return;
    INPUT_RECORD key = {.EventType = KEY_EVENT,
                        .Event.KeyEvent = {.bKeyDown = TRUE, .wRepeatCount = 1, .wVirtualKeyCode = 'C',
                                           .uChar.UnicodeChar = 3, .dwControlKeyState = LEFT_CTRL_PRESSED}};
    DWORD written;
    HANDLE keyboard = CreateFileA("CONIN$", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                                  OPEN_EXISTING, 0, NULL);
    CHECK(WriteConsoleInputW(keyboard, &key, 1, &written));
    CloseHandle(keyboard);
}

static void ctrl_c_ends_the_wait(void)
{
    const char *path = scratch();
    char said[4096], arguments[2 * MAX_PATH];
    lf_folder *folder = open_folder(path, LF_OPEN_DEFAULT);
    EXPECT(LF_OK, lf_lock(folder));
    CHECK(SetConsoleCtrlHandler(ignore, TRUE));
    snprintf(arguments, sizeof arguments, "%s \"%s\" --exit 3", path, self);
    program waiter = begin(arguments);
    while (count(path, ".lockfolder\\queue") < 1) /* it waits */
        Sleep(1);
    press_ctrl_c();
    CHECK(end(waiter, said, sizeof said) == 0xC000013A && said[0] == '\0');
    CHECK(count(path, ".lockfolder\\queue") <= 0); /* -1: the folder is gone too */
    EXPECT(LF_OK, lf_unlock(folder));
    lf_close(folder);
}

static const struct {
    const char *name;
    void (*run)(void);
} TESTS[] = {{"statuses", statuses},
             {"arguments", arguments},
             {"a held lock", a_held_lock},
             {"a kill of lockrun ends its command", a_kill_of_lockrun_ends_its_command},
             {"Ctrl+C ends the wait", ctrl_c_ends_the_wait}};

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--exit") == 0)
        return atoi(argv[2]);
    if (argc == 4 && strcmp(argv[1], "--stay") == 0)
        return stay(argv[2], strtoul(argv[3], NULL, 10));
    if (argc > 1 && strcmp(argv[1], "--arguments") == 0)
        return check_arguments(argc - 2, argv + 2);
    CHECK(GetModuleFileNameA(NULL, self, sizeof self) < sizeof self);
    snprintf(lockrun, sizeof lockrun, "%s", self);
    strcpy(strrchr(lockrun, '\\') + 1, "lockrun.exe");
    for (size_t i = 0; i < sizeof TESTS / sizeof *TESTS; i++) {
        printf("lockrun: %s\n", TESTS[i].name);
        fflush(stdout);
        TESTS[i].run();
    }
    return EXIT_SUCCESS;
}
