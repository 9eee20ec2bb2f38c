// Each wait has a thread of its own, so that it does not block the event loop. The thread pool of Node is too small for this: a few waits
// would fill it. Then other work that needs the pool could not run, and the holder may need such work before it unlocks.
// Cancelling and unlocking are plain calls on the caller's thread, so no wait delays them.

import { Worker } from 'node:worker_threads'
import { lf } from './native.js'
import { ASKED, WAITING, REVOKED } from './wait-state.js'

const MOST_IDLE = 4
const AGAIN_MS = 10

const idle = []
const busy = new Set()
let exiting = false

/** One call of lf_lock_wait in a thread. */
export class Wait {
  #handle
  #thread
  #again
  /** The thread is done with the handle, which may be freed, and may serve another wait. */
  #over = false

  constructor(handle, timeoutMs) {
    if (exiting) throw new Error('the process is exiting: it can no longer wait for a lock')
    this.#handle = handle
    this.#thread = idle.pop() ?? new Thread()
    busy.add(this)
    /** Resolves to { status, message, errno }. Rejects if the thread fails. */
    this.done = this.#thread.run(handle, timeoutMs).finally(() => {
      this.#over = true
      clearInterval(this.#again)
      busy.delete(this)
      this.#thread.rest()
    })
  }

  /** Makes `done` resolve soon, with LF_CANCELLED unless the wait is over already. */
  cancel() {
    if (this.#over || this.#again || this.#thread.revoke()) return
    const cancel = () => !this.#over && this.#thread.state() === WAITING && lf.cancel(this.#handle)
    cancel()
    // A cancellation before the wait begins has no effect. So it is repeated.
    this.#again = setInterval(cancel, AGAIN_MS)
  }

  /** Cancels, and returns when the thread will not use the handle any more. */
  cancelNow() {
    if (this.#over) return
    if (!this.#thread.revoke()) {
      while (this.#thread.state() === WAITING) {
        lf.cancel(this.#handle)
        this.#thread.sleepWhile(WAITING, AGAIN_MS)
      }
    }
    this.#over = true
  }
}

// At its end Node waits for its threads, so no thread may still wait for a lock then.
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

  /** Makes the thread idle. An idle thread does not keep the program running. */
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

  /** True: the thread has not used the handle and never will. */
  revoke() {
    const was = Atomics.compareExchange(this.#state, 0, ASKED, REVOKED)
    return was === ASKED || was === REVOKED
  }

  sleepWhile(state, ms) {
    Atomics.wait(this.#state, 0, state, ms)
  }
}
