// A wait in steps, each of which is a short call on the caller's thread. Between the steps the wait is a descriptor that poller.js polls.

import { failure, lf, status } from './native.js'
import * as poller from './poller.js'

const STEP_MS = 10 // where no descriptor tells when a step is due

const busy = new Set()
let exiting = false

export class Wait {
  #handle
  #settle
  #stopWatching = () => {}

  constructor(handle, timeoutMs) {
    if (exiting) throw new Error('the process is exiting: it can no longer wait for a lock')
    this.#handle = handle
    /** Resolves to { status, message, errno }. Rejects if the descriptor can't be polled. */
    this.done = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    busy.add(this)
    if (this.#go(lf.waitBegin(handle, timeoutMs))) return
    try {
      this.#watch()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Makes `done` resolve, with LF_CANCELLED unless the wait is over already. After that the wait does not use the handle. */
  cancel() {
    if (!busy.has(this)) return
    lf.cancel(this.#handle)
    this.#go(lf.waitStep(this.#handle))
  }

  /** Makes each step when it is due. */
  #watch() {
    const fd = lf.waitFd(this.#handle)
    if (fd < 0) {
      const timer = setInterval(() => this.#go(lf.waitStep(this.#handle)), STEP_MS)
      this.#stopWatching = () => clearInterval(timer)
      return
    }
    const watch = poller.watch(fd, {
      onReady: () => this.#go(lf.waitStep(this.#handle)) || watch.again(),
      onFailure: error => this.#fail(error)
    })
    this.#stopWatching = () => watch.end()
  }

  /** True if the wait is over. */
  #go(came) {
    if (came === status.LF_PENDING) return false
    this.#settle.resolve(came === status.LF_OK ? { status: came } : failure(this.#handle, came))
    this.#end()
    return true
  }

  #fail(error) {
    lf.waitEnd(this.#handle)
    this.#settle.reject(error)
    this.#end()
  }

  #end() {
    busy.delete(this)
    this.#stopWatching()
  }
}

// At its end Node waits for its threads, so the poller must not poll for a wait then.
process.on('exit', () => {
  exiting = true
  for (const wait of busy) wait.cancel()
})
