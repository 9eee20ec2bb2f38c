// The thread that poller.js starts. Each message makes it poll until it is told to stop.

import { parentPort, workerData } from 'node:worker_threads'
import { sys } from './native.js'
import { STOP, WORDS, DATA } from './epoll.js'

const EINTR = 4
const MOST = 64
const { epoll, stop } = workerData
const events = new Uint32Array(MOST * WORDS)

parentPort.on('message', () => {
  while (poll());
})

/** False: it was told to stop. */
function poll() {
  const count = sys.epollWait(epoll, events, MOST, -1)
  if (count < 0) {
    if (sys.errno() === EINTR) return true
    throw new Error(`epoll_wait failed with errno ${sys.errno()}`)
  }
  const ids = Array.from({ length: count }, (_, n) => events[n * WORDS + DATA])
  const ready = ids.filter(id => id !== STOP)
  if (ready.length > 0) parentPort.postMessage(ready)
  if (ready.length === count) return true
  sys.read(stop, new BigUint64Array(1), 8)
  return false
}
