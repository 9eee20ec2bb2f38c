/*
 * lockfolder: a mutex between processes that lives in a folder.
 *
 *     lf_folder *folder;
 *     if (lf_open("/var/lib/app/lock", LF_OPEN_DEFAULT, &folder) != LF_OK) ...
 *     if (lf_lock_wait(folder, -1) == LF_OK) {
 *         ... work that nobody else may do meanwhile ...
 *         lf_unlock(folder);
 *     }
 *     lf_close(folder);
 *
 * What holds for every function:
 *
 * - Status. Functions that can fail return an lf_status: zero is done, above zero an outcome to expect, below zero an
 *   error. After anything but LF_OK, lf_error_message on the same handle says why. Results are written on LF_OK only, but for
 *   the pointers that lf_open and lf_bids give, which are NULL after a failure.
 * - Pointers. NULL is checked for (LF_ERR_INVALID); any other pointer must be valid. What the library gives is freed by the
 *   library: a handle by lf_close, a list by lf_bid_list_free. Static strings are never freed.
 * - Threads. Any thread may call any function on one handle at any time; lf_close comes last. Two handles exclude each
 *   other, in one process too: threads that should exclude each other open a handle each.
 * - Fork. In a child, every call on an inherited handle is LF_ERR_FORKED, and lf_close only frees its memory; the parent's
 *   lock is unharmed. A child opens its own handle.
 * - Exec. Unlock first, or fork and wait: descriptors are close-on-exec, and with them goes the kernel's proof that the
 *   owner of the bid lives.
 * - Signals. EINTR never surfaces; no signal handler, timer or atexit function is installed. Only lf_cancel may be
 *   called from a signal handler.
 * - Cancellation. pthread_cancel never takes effect inside a call: it stays pending, and the thread ends at its next
 *   cancellation point after the call. A wait sleeps on; end it by lf_cancel, again and again until the thread has ended (a
 *   wait that has not begun can't be cancelled). The lock that a call took is held then: a clean-up handler unlocks.
 *   A thread with PTHREAD_CANCEL_ASYNCHRONOUS must not call any function here (pthread_setcanceltype(3)).
 * - Stack. A call needs no more than 32 KiB, whatever is in the folder (what the thread's own start takes is counted).
 * - Descriptors. A handle has a few, and a program that closes them (close_range, closefrom) breaks it: they may be another
 *   file's by then, which the library would write to, lock or close. Call lf_close before, or fork and close in the child.
 *   A child that shares the table of descriptors with its parent (clone with CLONE_FILES, vfork) must not call lf_close on an
 *   inherited handle: that would close the parent's, and with them its proof of life. A child that shares its parent's memory
 *   (CLONE_VM, vfork) must not use an inherited handle at all: there it is not known for a child. Threads that use one
 *   handle share one table of descriptors (no unshare with CLONE_FILES between them).
 * - Panics. None leaves the library: LF_ERR_INTERNAL.
 *
 * What a program may rely on: docs/contract.md.
 */

#ifndef LOCKFOLDER_H
#define LOCKFOLDER_H

/* Made by cbindgen from src/ffi (`make header`); not to be edited by hand. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Before a function whose result must not be ignored: the compiler warns where a program ignores it. It is empty where the compiler
 * has no such warning. A program can define it before it includes this header, also as nothing.
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
#define LF_VERSION_CHECK(major, minor) (LF_VERSION_MAJOR > (major) || (LF_VERSION_MAJOR == (major) && LF_VERSION_MINOR >= (minor)))

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
 * For `lf_open`: nothing special.
 */
#define LF_OPEN_DEFAULT 0

/**
 * For `lf_open`: don't make the folder if it is missing.
 */
#define LF_OPEN_NO_CREATE 1

/**
 * For `lf_open`: refuse a folder that the effective user doesn't own, or that group or others can write (`LF_ERR_UNSAFE`).
 */
#define LF_OPEN_PRIVATE 2

/**
 * For `lf_open`: use the folder although other hosts or mounts can write to it and its filesystem is not known to show
 * every bid in a listing. Right where all claimants use this one mount, or its caches are off; else two can hold at once.
 */
#define LF_OPEN_TRUST_FILESYSTEM 4

/**
 * A snapshot of a folder's bids, ordered by name. Opaque: made by `lf_bids`, freed by `lf_bid_list_free`. It never changes,
 * so any thread may read it; it outlives the handle that it came from.
 */
typedef struct lf_bid_list lf_bid_list;

/**
 * One claimant on one lock folder. Opaque: made by `lf_open`, freed by `lf_close`.
 *
 * Any thread may call any function on one handle at any time; `lf_close` comes last.
 */
typedef struct lf_folder lf_folder;

/**
 * What a call came to. Zero: done. Above zero: an outcome to expect. Below zero: an error, and `lf_error_message`
 * says more.
 */
typedef int32_t lf_status;

/**
 * What is known of the owner of a bid.
 */
typedef int32_t lf_bid_state;

/**
 * One bid. Read it through the pointer of `lf_bid_list_get` alone, and never copy or allocate one: later versions add
 * fields at its end. Everything in it belongs to the list.
 */
typedef struct lf_bid {
    /**
     * File name in the lock folder.
     */
    const char *name;
    /**
     * The owner's host name, UTF-8; NULL where the bid does not say.
     */
    const char *host;
    /**
     * The owner's command name, UTF-8; NULL where the bid does not say.
     */
    const char *command;
    /**
     * The owner's PID, in its own PID namespace; 0 where the bid can't be read.
     */
    int64_t pid;
    /**
     * When the owner's process started, Unix seconds; -1 where unknown.
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
 * Another claimant holds the lock or bids for it; or another thread's lock call on this handle is under way.
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
 * A bad argument: NULL, an empty path, an unknown flag.
 */
#define LF_ERR_INVALID -1

/**
 * The lock is not held by this handle.
 */
#define LF_ERR_NOT_HELD -2

/**
 * The lock is held by this handle already.
 */
#define LF_ERR_ALREADY_HELD -3

/**
 * The lock was held, and the bid is gone: somebody deleted it. Others may have been in meanwhile.
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
 * `LF_OPEN_PRIVATE` was asked, and others can write to the folder.
 */
#define LF_ERR_UNSAFE -7

/**
 * This filesystem or system can't carry the lock's promise.
 */
#define LF_ERR_UNSUPPORTED -8

/**
 * A bug of ours, caught.
 */
#define LF_ERR_INTERNAL -9

/**
 * The bid of the handle that was asked.
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
 * Its owner can't be judged from here: another host or container, or we may not read it. Counts as live.
 */
#define LF_BID_UNKNOWN 3

/**
 * It has the name of a bid, but it is cut off, or no bid at all. Counts as live; one that is cut off, until the grace of
 * `lf_set_malformed_grace` is over.
 */
#define LF_BID_MALFORMED 4

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * The version of the library that is loaded, as "MAJOR.MINOR.PATCH". The header that a program was compiled with has
 * `LF_VERSION_MAJOR`, `LF_VERSION_MINOR` and `LF_VERSION_PATCH`.
 *
 * Static: valid as long as the library is loaded, and never to be freed.
 */
const char *lf_version(void);

/**
 * The name of a status, such as "LF_BUSY"; "LF_UNKNOWN" for a value that is none.
 *
 * Static: valid as long as the library is loaded, and never to be freed.
 */
const char *lf_status_name(lf_status status);

/**
 * Opens a lock folder, and makes it if it is missing (one level). Locks nothing.
 *
 * `path` is bytes on Unix and UTF-8 on Windows. It is resolved now, so a later chdir changes nothing; each lock then uses
 * the folder that is at the resolved path at that time. `flags` is a sum of `LF_OPEN_…`.
 *
 * On success `*out` is a handle that `lf_close` frees; on failure it is NULL. Open one for each thread that should exclude
 * others. Why it failed: `lf_error_message` and `lf_error_code` with NULL for the handle, on the same thread.
 *
 * Returns `LF_OK`; `LF_ERR_INVALID` (a NULL, an empty path, an unknown flag); `LF_ERR_IO` (`ENOENT`, `EACCES`, `ENOTDIR`…);
 * `LF_ERR_UNSAFE` (`LF_OPEN_PRIVATE`); `LF_ERR_UNSUPPORTED` (a filesystem not known to carry the lock, or no /proc);
 * `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_open(const char *path,
                  uint32_t flags,
                  struct lf_folder **out);

/**
 * Unlocks if the lock is held, and frees the handle. NULL is fine. No other thread may be using the handle.
 *
 * In a forked child it frees the memory and leaves the folder alone: the parent keeps its lock.
 */
void lf_close(struct lf_folder *folder);

/**
 * Takes the lock if it is free: one round of check-bid-check. Reaps stale bids on its way. Never waits for another's
 * critical section (where two bid at the same moment, it takes a few milliseconds at most to decide). It may overtake those who wait
 * in `lf_lock_wait`, but not for more than about 100 ms: then it leaves the lock, for a few milliseconds at most, to the first of
 * them, and returns `LF_BUSY` if that one comes.
 *
 * Returns `LF_OK`: the lock is held until `lf_unlock` or `lf_close`; `LF_BUSY`: `lf_error_message` says who has it;
 * `LF_ERR_ALREADY_HELD`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_IO`, and `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED` if another
 * folder is at the path than before, or a listing misses our own bid; `LF_ERR_INTERNAL`. After anything but `LF_OK` no
 * bid of ours is left in the folder, or else the message names it.
 */
LF_MUST_USE
lf_status lf_lock(struct lf_folder *folder);

/**
 * Waits for the lock, `timeout_ms` milliseconds at most: below 0 for ever; 0 is `lf_lock`, but with `LF_TIMEOUT` for `LF_BUSY`.
 * Signals don't end it. The time is taken from the monotonic clock.
 *
 * Returns what `lf_lock` returns (`LF_BUSY` only while another thread's lock call on this handle is under way), and
 * `LF_TIMEOUT`: `lf_error_message` says who had it; `LF_CANCELLED`: see `lf_cancel`.
 */
LF_MUST_USE
lf_status lf_lock_wait(struct lf_folder *folder,
                       int64_t timeout_ms);

/**
 * Makes a wait in progress on this handle return `LF_CANCELLED`. Without a wait in progress it does nothing, and a later
 * wait is not affected.
 *
 * To end a wait for certain, also one that is about to begin: set a flag of your own, at which the waiting thread looks before it
 * waits, and call this again and again until that thread says that it is done.
 *
 * Callable from another thread and from a signal handler: it is async-signal-safe and leaves `errno` alone.
 *
 * Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_FORKED`. It does not change what `lf_error_message` says.
 */
lf_status lf_cancel(struct lf_folder *folder);

/**
 * Gives the lock back: deletes the bid. It looks at the bid's name alone: whether another folder took the place of ours while
 * we held, or another file that of our bid, `lf_holds` says, so ask it first where that can happen.
 *
 * Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: somebody had deleted the bid, others may have been in, and the handle no
 * longer holds; `LF_ERR_IO`: the bid could not be deleted, the handle still holds, and you can try again;
 * `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
lf_status lf_unlock(struct lf_folder *folder);

/**
 * Does this handle hold the lock?
 *
 * Returns `LF_OK`: yes, and the bid is still in the folder; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`: it was held, but the bid, or the
 * folder itself, is gone (`lf_unlock` then ends it); `LF_ERR_IO`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_holds(struct lf_folder *folder);

/**
 * Is any other claimant's bid there that is not stale? Changes nothing in the folder. `*in_use` is set on `LF_OK` only.
 *
 * Returns `LF_OK`; `LF_ERR_IO`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_UNSAFE` or `LF_ERR_UNSUPPORTED` if another folder
 * is at the path than before; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_in_use(struct lf_folder *folder,
                    bool *in_use);

/**
 * Deletes every bid whose owner is provably gone, and what else such owners left in the sub-folder `.lockfolder`. `*reaped`,
 * set on `LF_OK` only, is the number of bids deleted; `reaped` may be NULL. `lf_lock` does this too, so it is only for
 * tidiness.
 *
 * Returns as `lf_in_use`.
 */
lf_status lf_reap_stale(struct lf_folder *folder,
                        size_t *reaped);

/**
 * A fencing token: larger than every token given before in this folder, also across crashes and power loss (it is on the
 * disk, by fsync, before it is given out). Hand it to the resource, which refuses any smaller one than it has seen.
 * `*token`, from 1 upwards, is set on `LF_OK` only. Deleting the folder starts the count anew.
 *
 * Returns `LF_OK`; `LF_ERR_NOT_HELD`; `LF_ERR_LOST`; `LF_ERR_UNSAFE`: a user could delete tokens in the
 * sub-folder who could not delete others' files in the folder (as far as mode bits tell); `LF_ERR_IO`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
LF_MUST_USE
lf_status lf_fence(struct lf_folder *folder,
                   uint64_t *token);

/**
 * After how many milliseconds a bid that is *cut off* counts as stale; 0, the default: never. Cut off means: the file is
 * empty, or it is the beginning of a JSON object that breaks off. It may be a Python peer's between its open and its write,
 * so give it seconds. On a local filesystem, one that is older than this boot is stale whatever the grace.
 *
 * It has no effect on a file that has the name of a bid and is none (other JSON, no PID in it, larger than 4 KiB, not a regular
 * file): that counts as live for ever, and the library never deletes it. `lf_error_message` names it.
 *
 * Returns `LF_OK`; `LF_ERR_INVALID`; `LF_ERR_FORKED`; `LF_ERR_INTERNAL`.
 */
lf_status lf_set_malformed_grace(struct lf_folder *folder,
                                 uint32_t ms);

/**
 * A snapshot of the bids, with the state of each. A bid is an entry whose name is a UUID and `.json`; what has another name is
 * not listed. Changes nothing in the folder. On `LF_OK`, `*out` is a list that
 * `lf_bid_list_free` frees; else it is NULL.
 *
 * Returns as `lf_in_use`.
 */
LF_MUST_USE
lf_status lf_bids(struct lf_folder *folder,
                  struct lf_bid_list **out);

/**
 * How many bids are in the list; 0 for NULL.
 */
size_t lf_bid_list_len(const struct lf_bid_list *list);

/**
 * The bid at `index`, from 0; NULL past the end, and for a NULL list. It belongs to the list, and is valid until
 * `lf_bid_list_free`.
 */
const struct lf_bid *lf_bid_list_get(const struct lf_bid_list *list,
                                     size_t index);

/**
 * Frees a list and everything in it. NULL is fine.
 */
void lf_bid_list_free(struct lf_bid_list *list);

/**
 * Why the last call on this handle that did not return `LF_OK` did not, as a sentence that a person can act on: the folder, the
 * file, the PID, command and host of the holder, the system's own error text. UTF-8. NULL for the handle: why this
 * thread's last failed `lf_open` failed. Nothing failed yet: the empty string.
 *
 * Copies like snprintf: at most `size` bytes, always terminated, and returns the length of the whole text without its NUL.
 * `buffer` may be NULL if `size` is 0. Bound to the handle, not to the thread.
 */
size_t lf_error_message(const struct lf_folder *folder,
                        char *buffer,
                        size_t size);

/**
 * The `errno` (on Windows the `GetLastError` value) behind that failure, or 0 if there is none. NULL as in
 * `lf_error_message`.
 */
int lf_error_code(const struct lf_folder *folder);

#ifdef __cplusplus
} /* extern "C" */
#endif /* __cplusplus */

#endif  /* LOCKFOLDER_H */
