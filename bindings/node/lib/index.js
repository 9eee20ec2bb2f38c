import { fileURLToPath } from 'node:url'
import { LockFolderError } from './error.js'
import { failure, lf, readBid, status } from './native.js'
import { Wait } from './waits.js'

export { LockFolderError }

const STATES = ['own', 'live', 'stale', 'unknown', 'malformed']
const NO_CREATE = 1
const PRIVATE = 2
const TRUST_FILESYSTEM = 4

/** The version of the C library that is loaded. */
export const version = lf.version()

/** Opens a lock folder, and makes it if it is missing (one level). Locks nothing. */
export function open(path, { create = true, private: isPrivate = false, trustFilesystem = false, malformedGrace = 0 } = {}) {
  const flags = (create ? 0 : NO_CREATE) | (isPrivate ? PRIVATE : 0) | (trustFilesystem ? TRUST_FILESYSTEM : 0)
  const grace = milliseconds('malformedGrace', malformedGrace, 0xffffffff)
  const out = new BigUint64Array(1)
  check(null, lf.open(toCString(path), flags, out))
  const [handle] = out
  if (grace > 0) lf.setMalformedGrace(handle, grace)
  return new Folder(secret, handle)
}

const secret = Symbol('only open() makes a Folder')

/** One claimant on one lock folder. */
export class Folder {
  #handle
  #wait = null

  constructor(key, handle) {
    if (key !== secret) throw new TypeError('a Folder is made by open()')
    this.#handle = handle
  }

  /** Takes the lock if it is free; else throws LF_BUSY, with a message that says who has it. */
  tryLock() {
    this.#call(lf.lock)
    return new Lock(secret, this)
  }

  /** Waits for the lock. */
  async lock({ signal, timeout } = {}) {
    signal?.throwIfAborted()
    const handle = this.#open()
    if (this.#wait) {
      const message = 'this Folder is being locked already; who should exclude each other open one each'
      throw new LockFolderError({ status: status.LF_BUSY, message })
    }
    const timeoutMs = timeout === undefined || timeout === Infinity ? -1 : milliseconds('timeout', timeout)
    const wait = (this.#wait = new Wait(handle, timeoutMs))
    const abort = () => wait.cancel()
    signal?.addEventListener('abort', abort)
    let outcome
    try {
      outcome = await wait.done
    } finally {
      this.#wait = null
      signal?.removeEventListener('abort', abort)
    }
    const lock = outcome.status === status.LF_OK && this.#handle ? new Lock(secret, this) : null
    if (signal?.aborted) {
      lock?.unlock() // whoever aborted expects not to have it
      signal.throwIfAborted()
    }
    if (lock) return lock
    // Closed just after the wait was won: closing has unlocked.
    if (outcome.status === status.LF_OK) throw closed()
    throw new LockFolderError(outcome)
  }

  /** Is any other claimant's bid there that is not stale? Changes nothing. */
  inUse() {
    const out = new Uint8Array(1)
    this.#call(lf.inUse, out)
    return out[0] !== 0
  }

  /** Deletes every bid whose owner is provably gone, and returns their number. */
  reapStale() {
    const out = new BigUint64Array(1)
    this.#call(lf.reapStale, out)
    return Number(out[0])
  }

  /** A snapshot of the bids, by name. */
  bids() {
    const out = new BigUint64Array(1)
    this.#call(lf.bids, out)
    const [list] = out
    try {
      return Array.from({ length: Number(lf.bidListLen(list)) }, (_, index) => {
        const bid = readBid(lf.bidListGet(list, index))
        return {
          name: bid.name,
          host: bid.host,
          command: bid.command,
          pid: Number(bid.pid) || null,
          created: bid.created < 0 ? null : new Date(Number(bid.created) * 1000),
          age: Number(bid.age_ms),
          state: STATES[bid.state] ?? 'unknown'
        }
      })
    } finally {
      lf.bidListFree(list)
    }
  }

  /** Unlocks if the lock is held, ends a wait (it rejects with LF_CANCELLED), and frees the handle. Again: does nothing. */
  close() {
    if (!this.#handle) return
    this.#wait?.cancelNow()
    lf.close(this.#handle)
    this.#handle = null
  }

  /** @internal */
  [secret](call, ...rest) {
    return this.#call(call, ...rest)
  }

  #open() {
    if (!this.#handle) throw closed()
    return this.#handle
  }

  #call(call, ...rest) {
    const handle = this.#open()
    check(handle, call(handle, ...rest))
  }
}

/** The lock, held. */
export class Lock {
  #folder
  #released = false

  constructor(key, folder) {
    if (key !== secret) throw new TypeError('a Lock is made by lock() or tryLock()')
    this.#folder = folder
  }

  /** Gives the lock back. LF_ERR_LOST: somebody had deleted the bid. After another error it is still held. */
  unlock() {
    try {
      this.#call(lf.unlock)
    } catch (error) {
      this.#released ||= error.code === 'LF_ERR_LOST' || error.code === 'LF_ERR_NOT_HELD'
      throw error
    }
    this.#released = true
  }

  /** Is the lock held, and the bid still in the folder? */
  holds() {
    try {
      this.#call(lf.holds)
      return true
    } catch (error) {
      if (error.code === 'LF_ERR_NOT_HELD' || error.code === 'LF_ERR_LOST') return false
      throw error
    }
  }

  /** A fencing token, larger than every token given before in this folder. */
  fence() {
    const out = new BigUint64Array(1)
    this.#call(lf.fence, out)
    return out[0]
  }

  #call(call, ...rest) {
    if (this.#released) {
      throw new LockFolderError({ status: status.LF_ERR_NOT_HELD, message: 'this lock was given back already' })
    }
    this.#folder[secret](call, ...rest)
  }

  #dispose() {
    if (!this.#released) this.unlock()
  }

  static {
    onDispose(Lock, lock => lock.#dispose())
    onDispose(Folder, folder => folder.close())
  }
}

/** For `using` and `await using`, where this Node knows them. */
function onDispose(type, dispose) {
  const define = (symbol, value) => symbol && Object.defineProperty(type.prototype, symbol, { value })
  define(Symbol.dispose, function () {
    dispose(this)
  })
  define(Symbol.asyncDispose, async function () {
    dispose(this)
  })
}

function check(handle, came) {
  if (came !== status.LF_OK) throw new LockFolderError(failure(handle, came))
}

function closed() {
  return new LockFolderError({ status: status.LF_ERR_INVALID, message: 'this Folder is closed' })
}

function milliseconds(name, value, most = Number.MAX_SAFE_INTEGER) {
  if (typeof value !== 'number' || !(value >= 0)) throw new RangeError(`${name} is not a number of milliseconds: ${value}`)
  return Math.min(Math.ceil(value), most)
}

function toCString(path) {
  const bytes = path instanceof URL ? Buffer.from(fileURLToPath(path)) : Buffer.from(path)
  if (bytes.includes(0)) throw new TypeError('the path has a NUL in it')
  return Buffer.concat([bytes, Buffer.alloc(1)])
}
