/** The version of the C library that is loaded. */
export const version: string

export interface OpenOptions {
  /** Make the folder if it is missing (one level). Default: true. */
  create?: boolean
  /** Refuse a folder that another user owns, or that group or others can write (`LF_ERR_UNSAFE`). */
  private?: boolean
  /** Use the folder although its filesystem may not show every bid. See `LF_OPEN_TRUST_FILESYSTEM`. */
  trustFilesystem?: boolean
  /** After how many milliseconds a bid that is cut off counts as stale. Default: never. */
  malformedGrace?: number
  /** How many milliseconds a lease lasts where one is needed, because other hosts can write to the folder: 5,000 to 3,600,000. Default: 30,000. */
  lease?: number
  /** No thread renews the lease, and the program calls `lock.renew()`. Default: false. */
  noThread?: boolean
  /**
   * Up to so many hold the lock together, this one included, as with a semaphore. All that use the folder name the same number: if another
   * one is in use there, a lock fails with `LF_ERR_INVALID`. Default: 1.
   */
  slots?: number
  /** Any number of shared ones hold the lock together, as readers do. One without it is a writer, and holds the lock alone. Default: false. */
  shared?: boolean
}

export interface LockOptions {
  /** When it aborts, the wait ends: the promise rejects with `signal.reason`, and the lock is not held. */
  signal?: AbortSignal
  /** Milliseconds until the promise rejects with `LF_TIMEOUT`. Default: no limit. */
  timeout?: number
}

export type BidState = 'own' | 'live' | 'stale' | 'unknown' | 'malformed'

/**
 * One bid of a snapshot. A value is null where the bid does not have it. Any user of the folder may have written any
 * characters into `host` and `command`: escape them before you print them.
 */
export interface Bid {
  readonly name: string
  readonly host: string | null
  readonly command: string | null
  readonly pid: number | null
  /** The time at which the owner's process started. */
  readonly created: Date | null
  /** Milliseconds since the bid was posted. */
  readonly age: number
  readonly state: BidState
}

export type ErrorCode =
  | 'LF_BUSY'
  | 'LF_TIMEOUT'
  | 'LF_CANCELLED'
  | 'LF_ERR_INVALID'
  | 'LF_ERR_NOT_HELD'
  | 'LF_ERR_ALREADY_HELD'
  | 'LF_ERR_LOST'
  | 'LF_ERR_FORKED'
  | 'LF_ERR_IO'
  | 'LF_ERR_UNSAFE'
  | 'LF_ERR_UNSUPPORTED'
  | 'LF_ERR_INTERNAL'

/** A call failed. The message names the folder and the holder. */
export class LockFolderError extends Error {
  private constructor()
  readonly code: ErrorCode
  /** The error number of the system, or 0. */
  readonly errno: number
}

/** Opens a lock folder, and makes the folder if it is missing (one level). Locks nothing. */
export function open(path: string | Buffer | URL, options?: OpenOptions): Folder

/** One claimant on one lock folder. Two exclude each other, also in one process. */
export class Folder implements Disposable, AsyncDisposable {
  private constructor()
  /** Takes the lock if it is free. Otherwise throws `LF_BUSY`, and the message names the holder. */
  tryLock(): Lock
  /** Waits for the lock, in turn, and never blocks the event loop. */
  lock(options?: LockOptions): Promise<Lock>
  /** True if a bid of another claimant is there that is not stale. Changes nothing. */
  inUse(): boolean
  /** Deletes every bid whose owner is provably gone, and returns their number. */
  reapStale(): number
  /** A snapshot of the bids, in order of their names. */
  bids(): Bid[]
  /** Unlocks if the lock is held, ends a wait (it rejects with `LF_CANCELLED`), and frees the handle. A second close() does nothing. */
  close(): void
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

/** A lock that is held. */
export class Lock implements Disposable, AsyncDisposable {
  private constructor()
  /** Gives the lock back. `LF_ERR_LOST`: its lease was over, or somebody had deleted the bid. After any other error the lock is still held. */
  unlock(): void
  /** Aborts when the lease of the lock is lost, within a second, or when `unlock()` finds that the lock was lost. The reason is the `LF_ERR_LOST`. Without a lease it never aborts. It does not keep the program running. */
  readonly lost: AbortSignal
  /** For how many milliseconds the lock is certainly held without another renewal of its lease. null: it has no lease. */
  validFor(): number | null
  /** Renews the lease now. With `noThread` the program does this at least every sixth of the lease. It can take as long as the server of the folder takes. */
  renew(): void
  /** True if the lock is held, its bid is still in the folder, and its lease is not over. */
  holds(): boolean
  /** A fencing token. It is larger than every earlier token of this folder, also after a crash. It costs a sync of the disk. */
  fence(): bigint
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}
