/* lockrun on Windows: console events, and CreateProcess. lockrun.c has the rest. Text is UTF-8: see windows.rc. */
#include <windows.h>

#define ABOUT_SIGNALS \
    "Ctrl+C and Ctrl+Break go to COMMAND too, which may heed them or not; before it\n" \
    "runs, they end the wait and lockrun. If lockrun is terminated, so is COMMAND.\n" \
    "What COMMAND started must not outlive it: the lock is free once it has ended.\n"
#define ABOUT_COMMANDS_STATUS "that of COMMAND, which can have any number"

static SRWLOCK moment = SRWLOCK_INIT; /* taken to act on an event, and to end the time in which they are acted on */
static bool waits, interrupted;

/* In a thread of its own. */
static BOOL WINAPI on_event(DWORD event)
{
    for (;;) {
        AcquireSRWLockExclusive(&moment);
        bool matters = waits;
        if (matters) {
            interrupted = true;
            lf_cancel(folder);
        }
        ReleaseSRWLockExclusive(&moment);
        if (!matters) /* the command was told too */
            break;
        Sleep(10); /* the wait may be about to begin, and then this was too early: cancel again */
    }
    if (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
        Sleep(INFINITE); /* when this returns, the system ends us; the main thread, when all is tidied up */
    return TRUE;
}

static void heed_signals(void)
{
    waits = true;
    SetConsoleCtrlHandler(on_event, TRUE);
}

static bool hold_signals(void)
{
    AcquireSRWLockExclusive(&moment);
    waits = false;
    ReleaseSRWLockExclusive(&moment);
    return interrupted;
}

static int leave(int result)
{
    return interrupted ? (int)0xC000013A /* STATUS_CONTROL_C_EXIT */ : result;
}

/* Writes an argument as every program's C library reads it: in quotes; a backslash before a quote counts only as half of one. */
static char *quote(char *end, const char *argument)
{
    *end++ = '"';
    for (;; argument++) {
        size_t backslashes = strspn(argument, "\\");
        argument += backslashes;
        size_t written = *argument == '"' || *argument == '\0' ? 2 * backslashes : backslashes;
        memset(end, '\\', written);
        end += written;
        if (*argument == '\0')
            break;
        if (*argument == '"')
            *end++ = '\\';
        *end++ = *argument;
    }
    *end++ = '"';
    return end;
}

static char *command_line(char **command)
{
    size_t size = 1;
    for (char **argument = command; *argument != NULL; argument++)
        size += 2 * strlen(*argument) + 3;
    char *line = malloc(size), *end = line;
    if (line == NULL)
        return NULL;
    for (; *command != NULL; command++) {
        end = quote(end, *command);
        *end++ = command[1] != NULL ? ' ' : '\0';
    }
    return line;
}

/* A job that ends all of its processes when its last handle is closed: ours, whatever ends us. What the command starts is
 * not in it, so that it may leave a service behind. NULL: none can be had, and a command can outlive us. */
static HANDLE make_job(void)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {
        .BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK};
    HANDLE job = CreateJobObjectW(NULL, NULL);
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
    return job;
}

static int run(char **command)
{
    STARTUPINFOA how = {.cb = sizeof how};
    PROCESS_INFORMATION child;
    char *line = command_line(command);
    HANDLE job = make_job();
    if (line == NULL || !CreateProcessA(NULL, line, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &how, &child)) {
        DWORD error = line == NULL ? ERROR_NOT_ENOUGH_MEMORY : GetLastError();
        free(line);
        CloseHandle(job);
        fprintf(stderr, "lockrun: cannot run %s: error %lu\n", command[0], error);
        return error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND ? NOT_FOUND : CANNOT_RUN;
    }
    free(line);
    AssignProcessToJobObject(job, child.hProcess);
    ResumeThread(child.hThread);
    CloseHandle(child.hThread);
    DWORD status = CANNOT_RUN;
    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &status);
    CloseHandle(child.hProcess);
    CloseHandle(job);
    return (int)status;
}
