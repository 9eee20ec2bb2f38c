/*
 * lockfolder: a mutex between processes that lives in a folder.
 *
 *     lf_folder *folder;
 *     if (lf_open("/var/lib/app/lock", LF_OPEN_DEFAULT, &folder) != LF_OK) ...
 *     if (lf_lock_wait(folder, -1) == LF_OK) {
 *         ... work that nobody else may do meanwhile ...
 *         if (lf_unlock(folder) != LF_OK) ...
 *     }
 *     lf_close(folder);
 *
 * A claimant is a handle; its bid is the file that it posts in the folder. A claimant takes the lock when its bid is
 * the only live one, and holds it until that bid is deleted. A bid is stale if its owner, the process that posted it,
 * is provably gone. Any other bid counts as live.
 *
 * Rules for all functions:
 *
 * - Status. A function that can fail returns an lf_status: zero is done, above zero is an outcome to expect, below
 *   zero is an error. After any other status than LF_OK and LF_PENDING, lf_error_message on the same handle says why.
 *   Results are written on LF_OK only, except the pointers that lf_open and lf_bids give: these are NULL after a
 *   failure.
 * - Pointers. Each function checks for NULL (LF_ERR_INVALID). Any other pointer must be valid. What the library gives
 *   is freed by the library: a handle by lf_close, a list by lf_bid_list_free. Static strings are never freed.
 * - Threads. Any thread may call any function on one handle at any time; lf_close comes last. Two handles exclude
 *   each other, also in one process: threads that should exclude each other open a handle each.
 * - Fork. In a child, each function that returns a status returns LF_ERR_FORKED for an inherited handle, and lf_close
 *   only frees memory. The parent's lock is unharmed. lf_error_message and lf_error_code still work: they give that
 *   failure and 0. A child opens its own handle.
 * - Exec. Unlock first, or fork and wait. The descriptors are close-on-exec, and the kernel's proof that the owner of
 *   the bid is alive ends with them.
 * - Signals. No function fails with EINTR. The library installs no signal handler, timer or atexit function. A signal
 *   handler may call lf_cancel and nothing else. It must not leave a call by longjmp(3): the handle is busy for ever
 *   then, and only lf_close works.
 * - Cancellation. pthread_cancel never takes effect inside a call. The request stays pending, and the thread ends at
 *   its next cancellation point after the call. The wait itself continues. Call lf_cancel repeatedly until the thread
 *   has ended. If the call took the lock, the lock is held then: unlock it in a clean-up handler. A thread with
 *   PTHREAD_CANCEL_ASYNCHRONOUS must not call any function here (pthread_setcanceltype(3)).
 * - Stack. A call needs at most 32 KiB, whatever is in the folder. This includes what the thread's own start takes.
 * - Descriptors. A handle keeps a few open. A program that closes them (close_range, closefrom) breaks the handle:
 *   the numbers may by then belong to other files, which the library would then lock or close. Call
 *   lf_close first, or fork and close them in the child. A child that shares its parent's table of descriptors (clone
 *   with CLONE_FILES, vfork) must not call lf_close on an inherited handle: that would close the parent's
 *   descriptors, and end the proof that the parent is alive. A child that shares its parent's memory (CLONE_VM,
 *   vfork) must not use an inherited handle at all: the library can't detect that it is in a child. Threads that use
 *   one handle must share one table of descriptors (no unshare with CLONE_FILES between them).
 * - Memory. If the system gives no memory, the process ends as by abort(3). After the first lock of a handle, lf_lock
 *   and lf_unlock of a free lock allocate nothing.
 * - Panics. No panic leaves the library: the call returns LF_ERR_INTERNAL.
 *
 * Each function has a man page. All that a program may rely on is in share/doc/lockfolder/contract.md, below the prefix
 * of the installation (in the source: docs/contract.md).
 */

#ifndef LOCKFOLDER_H
#define LOCKFOLDER_H

/* Made by cbindgen from src/ffi (`make header`); not to be edited by hand. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Stands before each function whose result must not be ignored: the compiler warns where a program ignores it. It is
 * empty if the compiler has no such warning. A program can define it before it includes this header, also as nothing.
 */
#ifndef LF_MUST_USE
#if defined(__cplusplus) && __cplusplus >= 201703L
#define LF_MUST_USE [[nodiscard]]
#elif defined(__GNUC__)
#define LF_MUST_USE __attribute__((__warn_unused_result__))
#else
#define LF_MUST_USE
#endif
#endif

/**
 * Whether this header has version `major`.`minor` or a later one. `#if` can use it.
 */
#define LF_VERSION_CHECK(major, minor) \
    (LF_VERSION_MAJOR > (major) || (LF_VERSION_MAJOR == (major) && LF_VERSION_MINOR >= (minor)))

/**
 * Version of this header: major.
 */
#define LF_VERSION_MAJOR 0

/**
 * Version of this header: minor.
 */
#define LF_VERSION_MINOR 1

/**
 * Version of this header: patch.
 */
#define LF_VERSION_PATCH 0

/**
 * For `lf_open`: no options.
 */
#define LF_OPEN_DEFAULT 0

/**
 * For `lf_open`: do not make the folder if it is missing.
 */
#define LF_OPEN_NO_CREATE 1

/**
 * For `lf_open`: refuse a folder that the effective user does not own, or that group or others can write
 * (`LF_ERR_UNSAFE`). Each lock checks this again, also for the sub-folder `.lockfolder` and what is in it.
 */
#define LF_OPEN_PRIVATE 2

/**
 * For `lf_open`: use the folder although other hosts or mounts can write to it and its filesystem is not known to
 * show every bid in a listing. Correct only if all claimants use this one mount or its caches are off. Otherwise two
 * can hold the lock at once.
 */
#define LF_OPEN_TRUST_FILESYSTEM 4

/**
 * For `lf_open`: no thread of the library renews a lease (see `lf_set_lease`). The program calls `lf_renew`, at least
 * every sixth of the lease.
 */
#define LF_OPEN_NO_THREAD 8

/**
 * For `lf_set_slots`: any number of claimants may hold the lock together, as readers do.
 */
#define LF_SLOTS_ANY 0

/**
 * A snapshot of a folder's bids, ordered by name. Opaque: made by `lf_bids`, freed by `lf_bid_list_free`. It never
 * changes, so any thread may read it. It stays valid after its handle was closed.
 */
typedef struct lf_bid_list lf_bid_list;

/**
 * One claimant on one lock folder. Opaque: made by `lf_open`, freed by `lf_close`.
 *
 * Any thread may call any function on one handle at any time; `lf_close` comes last.
 */
typedef struct lf_folder lf_folder;

/**
 * The result of a call. Zero: done. Above zero: an outcome to expect. Below zero: an error. `lf_error_message` says
 * more.
 */
typedef int32_t lf_status;

/**
 * The state of a bid: what is known of its owner.
 */
typedef int32_t lf_bid_state;

/**
 * One bid. Read it only through the pointer of `lf_bid_list_get`, and never copy or allocate one: later versions add
 * fields at its end. Everything in it belongs to the list.
 */
typedef struct lf_bid {
    /**
     * File name in the lock folder.
     */
    const char *name;
    /**
     * The owner's host name, UTF-8; NULL if the bid does not say. It is what the bid says: any user of the folder may
     * have written any characters, so escape it before you print it.
     */
    const char *host;
    /**
     * The owner's command name, UTF-8; NULL if the bid does not say. Escape it too.
     */
    const char *command;
    /**
     * The owner's PID, in its own PID namespace; 0 if the bid can't be read.
     */
    int64_t pid;
    /**
     * When the owner's process started, Unix seconds; -1 if unknown.
     */
    int64_t created;
    /**
     * Milliseconds since the bid was posted, by the wall clock; never below 0.
     */
    int64_t age_ms;
    /**
     * One of `LF_BID_…`.
     */
    lf_bid_state state;
} lf_bid;

/**
 * Done.
 */
#define LF_OK 0

/**
 * Another claimant holds the lock or bids for it, or another thread's lock call on this handle is in progress.
 */
#define LF_BUSY 1

/**
 * The time given to `lf_lock_wait` is over.
 */
#define LF_TIMEOUT 2

/**
 * `lf_cancel` ended the wait.
 */
#define LF_CANCELLED 3

/**
 * The wait that `lf_wait_begin` began goes on: poll `lf_wait_fd`, and then call `lf_wait_step`.
 */
#define LF_PENDING 4

/**
 * A bad argument: NULL, an empty path, an unknown flag.
 */
#define LF_ERR_INVALID -1

/**
 * This handle does not hold the lock.
 */
#define LF_ERR_NOT_HELD -2

/**
 * This handle holds the lock already. Also after the bid was lost, until `lf_unlock` has reported it. To know, ask
 * `lf_holds`.
 */
#define LF_ERR_ALREADY_HELD -3

/**
 * The lock was held, and the bid is gone: somebody deleted it. Others may have held the lock meanwhile.
 */
#define LF_ERR_LOST -4

/**
 * The handle belongs to the parent process.
 */
#define LF_ERR_FORKED -5

/**
 * The system refused; `lf_error_code` has its `errno`.
 */
#define LF_ERR_IO -6

/**
 * The wrong users have access. `LF_OPEN_PRIVATE` is set, and the folder, or what the library keeps in it, has
 * another owner, or group or others can write to it. Or, from `lf_fence`, whatever the flags: a user who can't
 * delete others' files in the folder could delete tokens.
 */
#define LF_ERR_UNSAFE -7

/**
 * This filesystem or system can't guarantee that only one process holds the lock. Or the call has no meaning where the
 * lock is, as on etcd.
 */
#define LF_ERR_UNSUPPORTED -8

/**
 * An internal error in the library.
 */
#define LF_ERR_INTERNAL -9

/**
 * The bid of this handle.
 */
#define LF_BID_OWN 0

/**
 * Its owner is alive.
 */
#define LF_BID_LIVE 1

/**
 * Its owner is provably gone.
 */
#define LF_BID_STALE 2

/**
 * Its owner can't be judged from here: it is on another host or in another container, or we may not read the bid. It
 * counts as live.
 */
#define LF_BID_UNKNOWN 3

/**
 * It is named like a bid but is cut off, or is not a bid. It counts as live. (A cut-off one counts as stale after
 * the grace of `lf_set_malformed_grace`.)
 */
#define LF_BID_MALFORMED 4

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Gives the version of the library that is loaded, as "MAJOR.MINOR.PATCH".
 *
 * The header that a program was compiled with has `LF_VERSION_MAJOR`, `LF_VERSION_MINOR` and `LF_VERSION_PATCH`. The
 * string is static: it is valid as long as the library is loaded, and is never freed.
 */
const char *lf_version(void);

/**
 * Gives the name of a status, such as "LF_BUSY".
 *
 * It is "LF_UNKNOWN" for a value that is not a valid status. The string is static: it is valid as long as the
 * library is loaded, and is never freed.
 */
const char *lf_status_name(lf_status status);

/**
 * Opens a lock folder, and makes it if it is missing. It locks nothing.
 *
 * It makes one level only, with mode 0777 less the umask, or 0700 with `LF_OPEN_PRIVATE`.
 *
 * A `path` that begins with `etcd://` or `etcds://` is a URL, `etcd://HOST:PORT[,HOST:PORT]/PREFIX`: the lock is on
 * etcd, with the same calls. Only a library built with etcd can do that (`make ETCD=1`): see docs/etcd.md.
 *
 * `path` is bytes on Unix and UTF-8 on Windows. It is resolved now, so a later chdir changes nothing. Each lock uses
 * the folder that is at the resolved path at that time. `flags` is a sum of `LF_OPEN_…`.
 *
 * On success `*out` is a handle that `lf_close` frees. After a failure it is NULL, and `lf_error_message` and
 * `lf_error_code` say why: call them on the same thread, with NULL for the handle. Threads that should exclude each
 * other open a handle each.
 *
 * Returns `LF_OK`; `LF_ERR_INVALID`: a NULL, an empty path, an unknown flag; `LF_ERR_IO`: `ENOENT`, `EACCES`,
 * `ENOTDIR`…; `LF_ERR_UNSAFE`: `LF_OPEN_PRIVATE` is set, and the folder has another owner, or group or others can
 * write to it; `LF_ERR_UNSUPPORTED`: the filesystem is not known to show every bid in a listing, /proc can't be read,
 * or the path is a URL of etcd and this library was built without it; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_open(const char *path,
                  uint32_t flags,
                  struct lf_folder **out);

/**
 * Closes a handle, and unlocks first if the lock is held.
 *
 * It frees the handle. NULL is allowed. No other thread may be using the handle. It can't report an error of the
 * unlock; call `lf_unlock` first to see it.
 *
 * In a forked child it frees the memory and leaves the folder alone: the parent keeps its lock.
 */
void lf_close(struct lf_folder *folder);

/**
 * Takes the lock if it is free.
 *
 * It makes one round of check-bid-check, and deletes stale bids on its way. It never waits until another claimant
 * unlocks (if two bid at the same moment, it takes a few milliseconds at most to decide). For about 100 ms it may go
 * ahead of callers that wait in `lf_lock_wait`. Then it gives the first waiter a few milliseconds to take the lock,
 * and returns `LF_BUSY` if that waiter takes it.
 *
 * A failed attempt leaves no bid of its own. If the bid can't be deleted, the message names it.
 * `LF_ERR_ALREADY_HELD` changes nothing: a lock that is held stays held.
 *
 * Returns `LF_OK`: the lock is held until `lf_unlock` or `lf_close`; `LF_BUSY`: `lf_error_message` says who has it;
 * `LF_ERR_ALREADY_HELD`: this handle holds the lock; also after the bid was lost, until `lf_unlock` has reported it;
 * `LF_ERR_IO`; `LF_ERR_UNSAFE`: `LF_OPEN_PRIVATE` is set, and the folder, or what the library keeps in it, is not
 * private now; `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and `lf_open` would refuse the new one, or
 * a listing does not show our own bid, or /proc can't be read; `LF_ERR_INVALID`: also where another number of slots is
 * in use (see `lf_set_slots`); `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_lock(struct lf_folder *folder);

/**
 * Waits for the lock, for a limited time or for ever.
 *
 * `timeout_ms` is in milliseconds, on the monotonic clock. A value below 0 means for ever. With 0 it acts like
 * `lf_lock`, but returns `LF_TIMEOUT` instead of `LF_BUSY`. Callers that wait are served first come, first served.
 * Signals do not end the wait.
 *
 * A failed attempt leaves no bid of its own. If the bid can't be deleted, the message names it.
 * `LF_ERR_ALREADY_HELD` changes nothing: a lock that is held stays held.
 *
 * Returns `LF_OK`: the lock is held until `lf_unlock` or `lf_close`; `LF_TIMEOUT`: `lf_error_message` says who had
 * it; `LF_CANCELLED`: see `lf_cancel`; `LF_BUSY`: another thread's lock call on this handle is in progress;
 * `LF_ERR_ALREADY_HELD`: this handle holds the lock; also after the bid was lost, until `lf_unlock` has reported it;
 * `LF_ERR_IO`; `LF_ERR_UNSAFE`: `LF_OPEN_PRIVATE` is set, and the folder, or what the library keeps in it, is not
 * private now; `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and `lf_open` would refuse the new one, or
 * a listing does not show our own bid, or /proc can't be read; `LF_ERR_INVALID`: also where another number of slots is
 * in use (see `lf_set_slots`); `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_lock_wait(struct lf_folder *folder,
                       int64_t timeout_ms);

/**
 * Makes a wait in progress on this handle return `LF_CANCELLED`.
 *
 * A wait that this call found in progress never returns `LF_OK` or `LF_TIMEOUT`: if it has just taken the lock, it
 * gives the lock back. It can still return an error. Without a wait in progress the call does nothing, and a later
 * wait is not affected. It returns `LF_OK` in both cases.
 *
 * To end a wait for certain, also one that is about to begin: set your own flag, which the waiting thread checks
 * before it waits. Then call `lf_cancel` repeatedly until that thread has finished. A signal handler can't loop: let
 * it set the flag, call `lf_cancel`, and start a timer (alarm(2)) whose handler does the same. The man page
 * lf_cancel(3) has an example.
 *
 * Other threads and signal handlers may call it: it is async-signal-safe and leaves `errno` alone. It does not
 * change what `lf_error_message` says.
 *
 * Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_FORKED`.
 */
lf_status lf_cancel(struct lf_folder *folder);

/**
 * Gives the lock back: deletes the bid.
 *
 * It goes by the name of the bid. It does not notice if the folder, or the file of the bid, was replaced while the
 * lock was held. If that can happen, call `lf_holds` first.
 *
 * Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: somebody deleted the bid, or its lease is over (see
 * `lf_set_lease`). Others may have held the lock meanwhile, and this handle no longer holds it; `LF_ERR_IO`: the bid
 * could not be deleted, this handle still holds the lock, and you can try again (with a lease, the lock counts as lost
 * from then on); `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
lf_status lf_unlock(struct lf_folder *folder);

/**
 * Checks that this handle holds the lock.
 *
 * Returns `LF_OK`: it does, and the bid is still in the folder; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: it did, but the
 * bid, or the folder itself, is gone or was replaced, or its lease is over (call `lf_unlock` to clear this state);
 * `LF_ERR_IO`;
 * `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_holds(struct lf_folder *folder);

/**
 * Tells whether another claimant has a bid that is not stale.
 *
 * It changes nothing in the folder. `*in_use` is set on `LF_OK` only.
 *
 * Returns `LF_OK`; `LF_ERR_IO`; `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and
 * `lf_open` would refuse the new one; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_in_use(struct lf_folder *folder,
                    bool *in_use);

/**
 * Deletes every bid whose owner is provably gone.
 *
 * It also deletes other files that these owners left in the sub-folder `.lockfolder`. `*reaped`, set on `LF_OK`
 * only, is the number of bids that it deleted; `reaped` may be NULL. `lf_lock` deletes stale bids too, so this is
 * only for tidiness.
 *
 * Returns `LF_OK`; `LF_ERR_IO`; `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and
 * `lf_open` would refuse the new one; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
lf_status lf_reap_stale(struct lf_folder *folder,
                        size_t *reaped);

/**
 * Gives a fencing token: a number that is larger than every earlier one of this folder.
 *
 * Each call gives a new, larger number, also after crashes and power loss (it is on the disk, by fsync, before the
 * call returns). Hand it to the resource, which refuses any number smaller than the largest that it has seen. `*token`
 * is 1 or more, and is set on `LF_OK` only. If the folder is deleted, the numbers begin again.
 *
 * Where several hold the lock together (`lf_set_slots`), no two get the same number, and each number is larger than
 * those of all that had left before its owner came. The holders of one moment have smaller and larger numbers, so there
 * a smaller number does not show that its owner has lost the lock. On etcd all calls during one lock give one number.
 *
 * In a sticky folder only root and the owner of the folder get tokens. Any other user could delete its own token there,
 * and a later token could be smaller. For users who trust each other, use a folder that is not sticky.
 *
 * Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`; `LF_ERR_UNSAFE`: a user who can't delete others' files in the
 * folder could delete tokens, because the sub-folder's permissions are weaker than the folder's (by owner, mode and
 * access control list; the members of a group are not looked up), or because the folder is sticky and this user is
 * neither root nor its owner; `LF_ERR_IO`;
 * `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_fence(struct lf_folder *folder,
                   uint64_t *token);

/**
 * Sets how many may hold the lock together with this handle.
 *
 * `n` is 1, the default: nobody else, as a writer needs it; more than 1: so many, this one included, as in a semaphore;
 * `LF_SLOTS_ANY`: any number, as readers need it. It holds from the next lock on. A handle of 1 holds the lock alone,
 * whatever the others name, and so does a peer of the Python package. Callers that wait in `lf_lock_wait` are served
 * first come, first served, and those next to each other in line that may hold the lock together get it together. So no
 * stream of readers keeps a writer out. Where there is no line, as on NFS, there is no order, and such a stream can.
 *
 * All handles that share a folder name the same number. If another number (other than 1) is in use there, `lf_lock` and
 * `lf_lock_wait` return `LF_ERR_INVALID`, and `lf_error_message` has both numbers.
 *
 * Returns `LF_OK`; `LF_BUSY`: a lock call on this handle is in progress, or a wait that `lf_wait_begin` began;
 * `LF_ERR_ALREADY_HELD`: not while the lock is held; `LF_ERR_UNSUPPORTED`: the lock is on etcd, and `n` is not 1;
 * `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
lf_status lf_set_slots(struct lf_folder *folder,
                       uint32_t n);

/**
 * Sets after how long a cut-off bid counts as stale.
 *
 * A bid is cut off if its file is empty, has NUL bytes alone, or is the beginning of a JSON object that breaks off. A
 * Python peer may be between its open and its write, so give it seconds. `ms` is in milliseconds. 0, the default,
 * means never. On a local filesystem, a cut-off bid that is older than this boot is stale whatever the grace.
 * A server of files tells the time of a bid by its own clock, so there the grace must also be longer than the clocks
 * differ.
 *
 * The grace has no effect on a file that is named like a bid but is not one (other JSON, no PID in it, larger than 4
 * KiB, not a regular file). That counts as live for ever, and the library never deletes it. `lf_error_message` names
 * it.
 *
 * Returns `LF_OK`; `LF_ERR_UNSUPPORTED`: the lock is on etcd, and `ms` is not 0; `LF_ERR_INVALID`; `LF_ERR_FORKED`;
 * `LF_ERR_INTERNAL`.
 */
lf_status lf_set_malformed_grace(struct lf_folder *folder,
                                 uint32_t ms);

/**
 * Begins a wait for the lock, for a program that has an event loop.
 *
 * It is `lf_lock_wait` in steps: begin, poll `lf_wait_fd` until it is readable, call `lf_wait_step`, and so on until
 * the result is not `LF_PENDING`. No thread is started, and no call takes longer than one round of check-bid-check.
 * Callers of this and of `lf_lock_wait` wait in one line. `timeout_ms` is as for `lf_lock_wait`.
 *
 * Until the wait is over, other lock calls on this handle return `LF_BUSY`. `lf_cancel` ends it: the next step returns
 * `LF_CANCELLED`. `lf_close` ends it too.
 *
 * Returns `LF_PENDING`: the wait has begun; `LF_OK`: the lock is held, and no step follows; `LF_TIMEOUT` if
 * `timeout_ms` is 0; all others as `lf_lock_wait`. After these the wait is over.
 */
LF_MUST_USE
lf_status lf_wait_begin(struct lf_folder *folder,
                        int64_t timeout_ms);

/**
 * Gives the descriptor that is readable when the wait has something to do, also by time.
 *
 * Poll it for reading while a wait is in progress, with any event loop (poll(2), epoll(7), libuv, asyncio). Never
 * read from it or close it. It is the library's, is the same for the whole life of the handle, and is valid until
 * `lf_close`. It can be asked before a wait begins.
 *
 * Returns the descriptor; -1: this system has none (only Linux has: elsewhere call `lf_wait_step` every 10 ms or so,
 * which costs little), no descriptor is free, the handle is NULL, or it belongs to the parent process.
 * `lf_error_message` says why, except for a NULL and where the system has none.
 */
LF_MUST_USE
int lf_wait_fd(struct lf_folder *folder);

/**
 * Takes a step of the wait that `lf_wait_begin` began.
 *
 * Call it when `lf_wait_fd` is readable. If there is nothing to do yet, it returns `LF_PENDING` at once.
 *
 * Returns `LF_OK`: the lock is held until `lf_unlock` or `lf_close`; `LF_PENDING`: the wait goes on; `LF_TIMEOUT`;
 * `LF_CANCELLED`; `LF_ERR_INVALID`: no wait is in progress; all others as `lf_lock_wait`. After all but `LF_PENDING`
 * the wait is over.
 */
LF_MUST_USE
lf_status lf_wait_step(struct lf_folder *folder);

/**
 * Gives up the wait that `lf_wait_begin` began.
 *
 * It leaves the line, and leaves no bid. It does nothing if no wait is in progress: a lock that is held stays held.
 *
 * Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
lf_status lf_wait_end(struct lf_folder *folder);

/**
 * Sets how long the lease of the next lock lasts, where a lease is needed.
 *
 * A lease is needed where other hosts can write to the folder (NFS, GlusterFS: see docs/filesystems.md), because no
 * host sees whether a process of another host lives. A thread of the library renews it while the lock is held. If a
 * host that holds the lock dies, another host gets the lock after the longer one of the two leases. A holder that can't
 * renew its lease has lost the lock after two thirds of it: `lf_holds` is `LF_ERR_LOST`, and `lf_lost_fd` is readable.
 *
 * `ms` is in milliseconds, from 5,000 to 3,600,000. The default is 30,000.
 *
 * Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_ALREADY_HELD`: not while the lock is held; `LF_ERR_FORKED`;
 * `LF_ERR_INTERNAL`.
 */
lf_status lf_set_lease(struct lf_folder *folder,
                       uint32_t ms);

/**
 * Renews the lease now.
 *
 * For programs that open with `LF_OPEN_NO_THREAD`: call it at least every sixth of the lease. It can take as long as
 * the server of the folder takes to answer. Where there is no lease, it does nothing.
 *
 * Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: the lease is over, or another claimant took it over;
 * `LF_ERR_IO`: this try failed and the lock is still held, so try again (`lf_valid_for` says for how long that helps);
 * `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_renew(struct lf_folder *folder);

/**
 * Tells for how long the lock is certainly held.
 *
 * That is without another renewal of the lease. `*ms` is in milliseconds, and is set on `LF_OK` only. -1: for as long
 * as this process lives, because there is no lease. A virtual machine that is paused from outside can't know it, so a
 * program that can be paused between this call and its work uses `lf_fence` too.
 *
 * Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_valid_for(struct lf_folder *folder,
                       int64_t *ms);

/**
 * Gives a descriptor that tells when a lease is lost.
 *
 * It becomes readable when this handle loses a lock because its lease is over or was taken over.
 * Poll it for reading, and never read from it or close it. It is the library's, is the same for the whole life of the
 * handle, and is valid until `lf_close`. After the unlock it is unreadable again. It does not tell that somebody
 * deleted the bid in a folder without leases: `lf_holds` does.
 *
 * Returns the descriptor; -1: this system has none (only Linux has), no descriptor is free, the handle is NULL, or it
 * belongs to the parent process. `lf_error_message` says why, except for a NULL and where the system has none.
 */
LF_MUST_USE
int lf_lost_fd(struct lf_folder *folder);

/**
 * Gives a snapshot of the bids, with the state of each.
 *
 * A bid is an entry whose name is a UUID and `.json`. Other entries are not listed. The call changes nothing in the
 * folder. On `LF_OK`, `*out` is a list that `lf_bid_list_free` frees. After a failure it is NULL.
 *
 * Returns `LF_OK`; `LF_ERR_IO`; `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED`: the folder at the path was replaced, and
 * `lf_open` would refuse the new one; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_bids(struct lf_folder *folder,
                  struct lf_bid_list **out);

/**
 * Gives the number of bids in a list. It is 0 for NULL.
 */
size_t lf_bid_list_len(const struct lf_bid_list *list);

/**
 * Gives the bid at an index of a list.
 *
 * The first index is 0. The result is NULL past the end, and for a NULL list. The bid belongs to the list, and is
 * valid until `lf_bid_list_free`.
 */
const struct lf_bid *lf_bid_list_get(const struct lf_bid_list *list,
                                     size_t index);

/**
 * Frees a list and everything in it. NULL is allowed.
 */
void lf_bid_list_free(struct lf_bid_list *list);

/**
 * Gives the reason for the last failure on this handle, as a sentence for people.
 *
 * It names what a person needs to act: the folder, the file, the PID, command and host of the holder, the system's
 * own error text. It is UTF-8. A failure is any other status than `LF_OK` and `LF_PENDING`. A call that succeeds, or
 * is pending, does not clear the reason. If nothing has failed yet, the text is empty. With NULL for the handle: the
 * reason for this thread's last failed `lf_open`.
 *
 * It copies like snprintf: at most `size` bytes, always terminated, and returns the length of the whole text without
 * its NUL. `buffer` may be NULL if `size` is 0. The reason belongs to the handle, not to the thread.
 */
size_t lf_error_message(const struct lf_folder *folder,
                        char *buffer,
                        size_t size);

/**
 * Gives the system's error code of the last failure on this handle.
 *
 * It is the `errno` (on Windows the `GetLastError` value) behind the text of `lf_error_message`, or 0 if there is
 * none. With NULL for the handle: that of this thread's last failed `lf_open`.
 */
int lf_error_code(const struct lf_folder *folder);

#ifdef __cplusplus
} /* extern "C" */
#endif /* __cplusplus */

#endif  /* LOCKFOLDER_H */
