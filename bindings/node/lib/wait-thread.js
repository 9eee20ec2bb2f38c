// The thread that waits.js starts. It runs lf_lock_wait, which blocks this thread only.

import { parentPort, workerData as state } from 'node:worker_threads'
import { failure, lf, status } from './native.js'
import { IDLE, ASKED, WAITING } from './wait-state.js'

parentPort.on('message', ({ handle, timeoutMs }) => {
  let outcome = { status: status.LF_CANCELLED, message: 'the wait was cancelled before it began', errno: 0 }
  if (Atomics.compareExchange(state, 0, ASKED, WAITING) === ASKED) {
    const waited = lf.lockWait(handle, timeoutMs)
    outcome = waited === status.LF_OK ? { status: waited } : failure(handle, waited)
  }
  Atomics.store(state, 0, IDLE) // from here on another thread may close the handle
  Atomics.notify(state, 0)
  parentPort.postMessage(outcome)
})
