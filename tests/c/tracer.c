/* Runs a program, and kills it, stops it or makes a call fail at a system call between two marks (see sequence.c).
 *
 *     tracer list - - PROGRAM…          prints each counted call: `call N STEP NAME`
 *     tracer kill N - PROGRAM…          kills it as it enters the N-th, which is then not made
 *     tracer stop N - PROGRAM…          holds it there: prints `stopped STEP NAME`, and lets it go on after a line of input
 *     tracer signal N - PROGRAM…        sends it SIGUSR1 right before the N-th, and then leaves it alone
 *     tracer fail N,NAME ERRNO PROGRAM… the N-th, or the next of this name, is not made and returns ERRNO
 *     tracer fail-on N,NAME ERRNO PROG… and so does each later one of its kind
 *     tracer fail-disk N,NAME ERRNO PRO… and so does each later one that looks at a file by its name, or lists a folder
 *
 * It prints `exited STATUS` or `killed SIGNAL` at the end. Linux, x86-64 and aarch64.
 */
#define _GNU_SOURCE 1

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* The names of calls, as faults.rs uses them. Any other call is `other`. */
static const struct {
    long number;
    const char *name;
} names[] = {
    {SYS_openat, "openat"},
    {SYS_openat2, "openat"},
    {SYS_mkdirat, "mkdirat"},
    {SYS_newfstatat, "stat"},
    {SYS_fstat, "stat"},
    {SYS_statx, "stat"},
    {SYS_fstatfs, "fstatfs"},
    {SYS_getdents64, "getdents64"},
    {SYS_lseek, "lseek"},
    {SYS_read, "read"},
    {SYS_pread64, "read"},
    {SYS_write, "write"},
    {SYS_close, "close"},
    {SYS_linkat, "linkat"},
    {SYS_unlinkat, "unlinkat"},
    {SYS_renameat, "renameat"},
    {SYS_renameat2, "renameat"},
    {SYS_readlinkat, "readlink"},
    {SYS_fcntl, "fcntl"},
    {SYS_fgetxattr, "getxattr"},
    {SYS_fsetxattr, "setxattr"},
    {SYS_fremovexattr, "setxattr"},
    {SYS_fchmod, "fchmod"},
    {SYS_fchown, "fchown"},
    {SYS_fsync, "fsync"},
    {SYS_getrandom, "getrandom"},
    {SYS_mmap, "mmap"},
    {SYS_munmap, "munmap"},
    {SYS_madvise, "madvise"},
    {SYS_pidfd_open, "pidfd_open"},
    {SYS_ppoll, "poll"},
    {SYS_eventfd2, "eventfd"},
    {SYS_inotify_init1, "inotify_init"},
    {SYS_inotify_add_watch, "inotify_add_watch"},
    {SYS_inotify_rm_watch, "inotify_rm_watch"},
    {SYS_kill, "kill"},
    {SYS_clock_nanosleep, "sleep"},
    {SYS_prlimit64, "never"},
    {SYS_uname, "never"},
    {SYS_getpid, "never"},
    {SYS_geteuid, "never"},
    {SYS_clock_gettime, "never"},
    {SYS_sched_yield, "never"},
#ifdef SYS_readlink
    {SYS_readlink, "readlink"},
    {SYS_open, "openat"},
    {SYS_stat, "stat"},
    {SYS_lstat, "stat"},
    {SYS_mkdir, "mkdirat"},
    {SYS_link, "linkat"},
    {SYS_unlink, "unlinkat"},
    {SYS_rename, "renameat"},
    {SYS_poll, "poll"},
    {SYS_nanosleep, "sleep"},
#endif
};

static const char *name_of(long number) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].number == number) {
            return names[i].name;
        }
    }
    return "other";
}

static int is_of_the_disk(long number) {
    static const char *const these[] = {"openat", "mkdirat", "stat", "getdents64", "linkat", "unlinkat", "renameat"};
    for (size_t i = 0; i < sizeof these / sizeof *these; i++) {
        if (strcmp(name_of(number), these[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static void die(const char *what) {
    perror(what);
    exit(125);
}

static void ask(enum __ptrace_request request, pid_t pid, void *address, void *data, const char *what) {
    if (ptrace(request, pid, address, data) < 0) {
        die(what);
    }
}

/* At the entry of a call: makes the kernel skip the call. */
static void skip_call(pid_t pid) {
#if defined __x86_64__
    ask(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, regs.orig_rax), (void *)-1L, "skip");
#elif defined __aarch64__
    int none = -1;
    struct iovec where = {&none, sizeof none};
    ask(PTRACE_SETREGSET, pid, (void *)NT_ARM_SYSTEM_CALL, &where, "skip");
#else
#error "how is a system call skipped here?"
#endif
}

/* At the entry of a call: the signal comes first, and the call is made after its handler has returned. */
static void signal_before_call(pid_t pid, int signal_number) {
    int status;
#if defined __x86_64__
    struct user_regs_struct registers, changed;
    ask(PTRACE_GETREGS, pid, NULL, &registers, "registers");
    changed = registers;
    changed.orig_rax = (unsigned long long)-1;
    ask(PTRACE_SETREGS, pid, NULL, &changed, "skip");
    ask(PTRACE_SYSCALL, pid, NULL, NULL, "go on"); /* to the exit of the call that is not made */
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
        die("waitpid");
    }
    registers.rax = registers.orig_rax;
    registers.orig_rax = (unsigned long long)-1;
    registers.rip -= 2; /* the instruction `syscall` */
    ask(PTRACE_SETREGS, pid, NULL, &registers, "rewind");
    ask(PTRACE_DETACH, pid, NULL, (void *)(long)signal_number, "detach");
#else
    (void)pid, (void)signal_number, (void)status;
    fprintf(stderr, "not written for this processor\n");
    exit(125);
#endif
}

/* At the exit of a call: what it returns. */
static void set_result(pid_t pid, long result) {
#if defined __x86_64__
    ask(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, regs.rax), (void *)result, "result");
#elif defined __aarch64__
    struct user_regs_struct registers;
    struct iovec where = {&registers, sizeof registers};
    ask(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &where, "registers");
    registers.regs[0] = (unsigned long)result;
    ask(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &where, "result");
#endif
}

static char step[64]; /* the call of the library that the program is in; empty: none */

static int is_mark(pid_t pid, const struct __ptrace_syscall_info *call) {
    if (call->entry.nr != SYS_write || (int)call->entry.args[0] != -1) {
        return 0;
    }
    size_t length = call->entry.args[2] < sizeof step ? (size_t)call->entry.args[2] : sizeof step - 1;
    struct iovec here = {step, length}, there = {(void *)(uintptr_t)call->entry.args[1], length};
    if (length > 0 && process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)length) {
        die("the name of a step");
    }
    step[length] = 0;
    return 1;
}

int main(int count, char **arguments) {
    if (count < 5) {
        return 2;
    }
    const char *mode = arguments[1];
    long wanted = strcmp(arguments[2], "-") == 0 ? -1 : atol(arguments[2]);
    const char *name = strchr(arguments[2], ',');
    long error = strcmp(arguments[3], "-") == 0 ? 0 : atol(arguments[3]);
    int listing = strcmp(mode, "list") == 0, killing = strcmp(mode, "kill") == 0, signalling = strcmp(mode, "signal") == 0, stopping = strcmp(mode, "stop") == 0;
    int failing_on = strcmp(mode, "fail-on") == 0, disk_fails = strcmp(mode, "fail-disk") == 0, disk_is_gone = 0;

    setvbuf(stdout, NULL, _IOLBF, 1 << 12); /* whole lines, because the program writes to the same pipe */
    pid_t pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        ask(PTRACE_TRACEME, 0, NULL, NULL, "traceme");
        raise(SIGSTOP);
        execvp(arguments[4], &arguments[4]);
        die(arguments[4]);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
        die("waitpid");
    }
    ask(PTRACE_SETOPTIONS, pid, NULL, (void *)(long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC), "options");

    long calls = 0, failing = -1;
    int fail_this = 0, signal_number = 0;
    for (;;) {
        ask(PTRACE_SYSCALL, pid, NULL, (void *)(long)signal_number, "go on");
        signal_number = 0;
        if (waitpid(pid, &status, 0) != pid) {
            die("waitpid");
        }
        if (WIFEXITED(status)) {
            printf("exited %d\n", WEXITSTATUS(status));
            return 0;
        }
        if (WIFSIGNALED(status)) {
            printf("killed %d\n", WTERMSIG(status));
            return 0;
        }
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            signal_number = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
            continue;
        }
        struct __ptrace_syscall_info call;
        ask(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof call, &call, "what call");
        if (call.op == PTRACE_SYSCALL_INFO_EXIT) {
            if (fail_this) {
                set_result(pid, -error);
                fail_this = 0;
            }
            continue;
        }
        long number = (long)call.entry.nr;
        /* Only malloc calls brk. */
        if (is_mark(pid, &call) || step[0] == 0 || number == SYS_brk) {
            continue;
        }
        calls++;
        if (listing) {
            printf("call %ld %s %s\n", calls, step, name_of(number));
        }
        int is_the_one = wanted > 0 && calls >= wanted && (name == NULL || strcmp(name + 1, name_of(number)) == 0);
        if (!is_the_one && number != failing && !(disk_is_gone && is_of_the_disk(number))) {
            continue;
        }
        wanted = -1;
        if (killing) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            printf("killed %d\n", SIGKILL);
            return 0;
        }
        if (signalling) {
            signal_before_call(pid, SIGUSR1);
            if (waitpid(pid, &status, 0) != pid) {
                die("waitpid");
            }
            printf(WIFEXITED(status) ? "exited %d\n" : "killed %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
            return 0;
        }
        if (stopping) {
            char line[16];
            printf("stopped %s %s\n", step, name_of(number));
            if (fgets(line, sizeof line, stdin) == NULL) {
                return 1; /* the program dies with this tracer */
            }
            continue;
        }
        /* A close that fails has closed the descriptor too. */
        if (number != SYS_close) {
            skip_call(pid);
        }
        fail_this = 1;
        failing = failing_on ? number : -1;
        disk_is_gone = disk_fails;
    }
}
