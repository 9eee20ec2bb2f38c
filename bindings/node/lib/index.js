import { fileURLToPath } from 'node:url'
import { LockFolderError } from './error.js'
import { failure, lf, readBid, status } from './native.js'
import { Wait } from './waits.js'

export { LockFolderError }

const STATES = ['own', 'live', 'stale', 'unknown', 'malformed']
const NO_CREATE = 1
const PRIVATE = 2
const TRUST_FILESYSTEM = 4
const NO_THREAD = 8
const ANY_NUMBER_OF_SLOTS = 0
const LOOK_MS = 1000

/** The version of the C library that is loaded. */
export const version = lf.version()

/** Opens a lock folder, and makes the folder if it is missing (one level). Locks nothing. */
export function open(path, options = {}) {
  const { create = true, private: isPrivate = false, trustFilesystem = false, malformedGrace = 0, lease, noThread = false } = options
  const slots = numberOfSlots(options)
  const flags =
    (create ? 0 : NO_CREATE) | (isPrivate ? PRIVATE : 0) | (trustFilesystem ? TRUST_FILESYSTEM : 0) | (noThread ? NO_THREAD : 0)
  const grace = milliseconds('malformedGrace', malformedGrace, 0xffffffff)
  const leaseMs = lease === undefined ? null : milliseconds('lease', lease, 0xffffffff)
  const out = new BigUint64Array(1)
  check(null, lf.open(toCString(path), flags, out))
  const [handle] = out
  try {
    if (grace > 0) check(handle, lf.setMalformedGrace(handle, grace))
    if (leaseMs !== null) check(handle, lf.setLease(handle, leaseMs))
    if (slots !== 1) check(handle, lf.setSlots(handle, slots))
  } catch (error) {
    lf.close(handle)
    throw error
  }
  return new Folder(secret, handle)
}

const secret = Symbol('only open() makes a Folder')

/** One claimant on one lock folder. Two exclude each other, also in one process. */
export class Folder {
  #handle
  #wait = null

  constructor(key, handle) {
    if (key !== secret) throw new TypeError('a Folder is made by open()')
    this.#handle = handle
  }

  /** Takes the lock if it is free. Otherwise throws LF_BUSY, and the message names the holder. */
  tryLock() {
    this.#call(lf.lock)
    return new Lock(secret, this)
  }

  /** Waits for the lock, in turn, and never blocks the event loop. */
  async lock({ signal, timeout } = {}) {
    const timeoutMs = timeout === undefined || timeout === Infinity ? -1 : milliseconds('timeout', timeout)
    let wait, outcome, lock
    const abort = () => wait?.cancel()
    // The signal may be any object, and each of its methods may throw. After an error the lock must not be held.
    try {
      try {
        signal?.addEventListener('abort', abort)
        signal?.throwIfAborted()
        wait = this.#begin(timeoutMs)
        outcome = await wait.done
        if (outcome.status === status.LF_OK && this.#handle) lock = new Lock(secret, this)
      } finally {
        if (wait) this.#wait = null
        signal?.removeEventListener?.('abort', abort)
      }
      signal?.throwIfAborted()
    } catch (error) {
      lock?.unlock()
      throw error
    }
    if (lock) return lock
    // close() came just after the wait was won, and has unlocked.
    if (outcome.status === status.LF_OK) throw closed()
    throw new LockFolderError(outcome)
  }

  #begin(timeoutMs) {
    const handle = this.#open()
    if (this.#wait) {
      const message = 'this Folder is being locked already; parts of a program that should exclude each other open a Folder each'
      throw new LockFolderError({ status: status.LF_BUSY, message })
    }
    return (this.#wait = new Wait(handle, timeoutMs))
  }

  /** True if a bid of another claimant is there that is not stale. Changes nothing. */
  inUse() {
    const out = new Uint8Array(1)
    this.#call(lf.inUse, out)
    return out[0] !== 0
  }

  /** Deletes every bid whose owner is provably gone, and returns the number of these bids. */
  reapStale() {
    const out = new BigUint64Array(1)
    this.#call(lf.reapStale, out)
    return Number(out[0])
  }

  /** A snapshot of the bids, in order of their names. */
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

  /** Unlocks if the lock is held, ends a wait (it rejects with LF_CANCELLED), and frees the handle. A second close() does nothing. */
  close() {
    if (!this.#handle) return
    this.#wait?.cancel()
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

/** A lock that is held. */
export class Lock {
  #folder
  #released = false
  #loss = null
  #timer

  constructor(key, folder) {
    if (key !== secret) throw new TypeError('a Lock is made by lock() or tryLock()')
    this.#folder = folder
  }

  /** Gives the lock back. LF_ERR_LOST: its lease was over, or somebody had deleted the bid. After any other error the lock is still held. */
  unlock() {
    try {
      this.#call(lf.unlock)
    } catch (error) {
      if (error.code === 'LF_ERR_LOST' || error.code === 'LF_ERR_NOT_HELD') this.#end()
      if (error.code === 'LF_ERR_LOST') {
        this.#loss ??= new AbortController() // a program may ask for `lost` only now
        this.#loss.abort(error)
      }
      throw error
    }
    this.#end()
  }

  #end() {
    this.#released = true
    clearTimeout(this.#timer)
  }

  /** Aborts when the lease of the lock is lost, or unlock() finds that the lock was lost. */
  get lost() {
    if (!this.#loss) {
      this.#loss = new AbortController()
      this.#watch()
    }
    return this.#loss.signal
  }

  // A descriptor that must not be read can't be watched from Node. So this looks when the time is over that it was told, and each second.
  #watch() {
    try {
      const left = this.validFor()
      if (left !== null) this.#timer = setTimeout(() => this.#watch(), Math.min(left, LOOK_MS)).unref()
    } catch (error) {
      if (error.code === 'LF_ERR_LOST') this.#loss.abort(error)
    }
  }

  /** For how many milliseconds the lock is certainly held without another renewal. null: it has no lease. */
  validFor() {
    const out = new BigInt64Array(1)
    this.#call(lf.validFor, out)
    return out[0] < 0 ? null : Number(out[0])
  }

  /** Renews the lease now. */
  renew() {
    this.#call(lf.renew)
  }

  /** True if the lock is held, its bid is still in the folder, and its lease is not over. */
  holds() {
    try {
      this.#call(lf.holds)
      return true
    } catch (error) {
      if (error.code === 'LF_ERR_NOT_HELD' || error.code === 'LF_ERR_LOST') return false
      throw error
    }
  }

  /** A fencing token. It is larger than every earlier token of this folder. */
  fence() {
    const out = new BigUint64Array(1)
    this.#call(lf.fence, out)
    return out[0]
  }

  #call(call, ...rest) {
    if (this.#released) {
      throw new LockFolderError({ status: status.LF_ERR_NOT_HELD, message: 'this lock was given back before' })
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

/** Makes `using` and `await using` work, in a Node that has them. */
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

function numberOfSlots({ slots = 1, shared = false }) {
  if (!Number.isInteger(slots) || slots < 1 || slots > 0xffffffff) throw new RangeError(`slots is not a number of claimants from 1 on: ${slots}`)
  if (!shared) return slots
  if (slots !== 1) throw new TypeError('a shared lock has any number of slots: pass shared or slots, and not both')
  return ANY_NUMBER_OF_SLOTS
}

function toCString(path) {
  const bytes = path instanceof URL ? Buffer.from(fileURLToPath(path)) : Buffer.from(path)
  if (bytes.includes(0)) throw new TypeError('the path has a NUL in it')
  return Buffer.concat([bytes, Buffer.alloc(1)])
}
