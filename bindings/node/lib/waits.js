// Waiting without blocking the event loop, and without the thread pool of Node: a few waits would fill that, and then
// whatever else needs it, perhaps the work that ends with an unlock, could never run. Each wait has a thread of its own.
// Cancelling and unlocking are plain calls on the caller's thread, so they never stand in a queue behind a wait.

import { Worker } from 'node:worker_threads'
import { lf } from './native.js'
import { ASKED, WAITING, REVOKED } from './wait-state.js'

const MOST_IDLE = 4
const AGAIN_MS = 10

const idle = []
const busy = new Set()
let exiting = false

/** One lf_lock_wait in a thread. */
export class Wait {
  #handle
  #thread
  #again

  constructor(handle, timeoutMs) {
    if (exiting) throw new Error('the process is exiting: too late to wait for a lock')
    this.#handle = handle
    this.#thread = idle.pop() ?? new Thread()
    busy.add(this)
    /** Resolves to { status, message, errno }; rejects if the thread fails. */
    this.done = this.#thread.run(handle, timeoutMs).finally(() => {
      clearInterval(this.#again)
      busy.delete(this)
      this.#thread.rest()
    })
  }

  /** Makes `done` resolve soon: with LF_CANCELLED, unless it is over already. */
  cancel() {
    if (this.#again || this.#thread.revoke()) return
    lf.cancel(this.#handle)
    // A cancellation without a wait is forgotten, and this one may be just about to begin.
    this.#again = setInterval(() => this.#thread.state() === WAITING && lf.cancel(this.#handle), AGAIN_MS)
  }

  /** Cancels, and returns when the thread has left the handle alone for good. */
  cancelNow() {
    if (this.#thread.revoke()) return
    while (this.#thread.state() === WAITING) {
      lf.cancel(this.#handle)
      this.#thread.sleepWhile(WAITING, AGAIN_MS)
    }
  }
}

// When Node ends it waits for its threads, so they must not wait for a lock then.
process.on('exit', () => {
  exiting = true
  for (const wait of busy) wait.cancelNow()
})

class Thread {
  #state = new Int32Array(new SharedArrayBuffer(4))
  #worker = new Worker(new URL('./wait-thread.js', import.meta.url), { workerData: this.#state, execArgv: [] })
  #settle
  #failed = false

  constructor() {
    this.#worker.on('message', outcome => this.#settle.resolve(outcome))
    this.#worker.on('error', error => {
      this.#failed = true
      this.#settle?.reject(error)
    })
    this.#worker.on('exit', code => {
      this.#failed = true
      this.#settle?.reject(new Error(`the thread of a wait has ended with code ${code}`))
    })
  }

  run(handle, timeoutMs) {
    this.#worker.ref()
    Atomics.store(this.#state, 0, ASKED)
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#worker.postMessage({ handle, timeoutMs })
    })
  }

  /** An idle thread doesn't keep the program running. */
  rest() {
    this.#settle = undefined
    if (this.#failed) return
    if (idle.length < MOST_IDLE) {
      this.#worker.unref()
      idle.push(this)
    } else {
      this.#failed = true
      this.#worker.terminate()
    }
  }

  state() {
    return Atomics.load(this.#state, 0)
  }

  /** True: the thread has not touched the handle and never will. */
  revoke() {
    const was = Atomics.compareExchange(this.#state, 0, ASKED, REVOKED)
    return was === ASKED || was === REVOKED
  }

  sleepWhile(state, ms) {
    Atomics.wait(this.#state, 0, state, ms)
  }
}
