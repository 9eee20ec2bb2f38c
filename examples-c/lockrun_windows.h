/* lockrun on Windows: console events, and CreateProcess. lockrun.c has the rest. Text is UTF-8, see windows.rc. */
#include <windows.h>

#define ABOUT_SIGNALS \
    "Ctrl+C and Ctrl+Break go to COMMAND too, and it may ignore them. Before COMMAND\n" \
    "runs, they end the wait and lockrun. If lockrun is terminated, so is COMMAND.\n" \
    "Processes that COMMAND starts must not outlive it: its end frees the lock.\n"
#define ABOUT_COMMANDS_STATUS "that of COMMAND, which can be any number"

static SRWLOCK moment = SRWLOCK_INIT; /* held while an event is handled, and to end the time in which events are handled */
static bool waits, interrupted;

/* Windows calls this in another thread. */
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
        if (!matters) /* the command gets the event too */
            break;
        Sleep(10); /* cancel again: a cancellation before the wait begins has no effect */
    }
    if (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
        Sleep(INFINITE); /* the return of this function would end the process; the main thread ends it after its clean-up */
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

/* Writes an argument so that the C library of a program reads it back: in quotes, with the backslashes before a quote doubled. */
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

/* A job that ends its processes when its last handle is closed. lockrun has that handle, so any end of lockrun ends the command. The
 * processes that the command starts are not in the job: it may start a service. NULL: no job, and a command can outlive lockrun. */
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
