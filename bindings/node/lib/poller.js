// Tells when a descriptor of the library is readable. Node has nothing that polls a descriptor and does not read from it. So one thread
// polls the descriptors of all waits, with epoll(7). It sleeps in the kernel, and it does so only while there are waits: at its end Node
// waits for its threads.

import { Worker } from 'node:worker_threads'
import { sys } from './native.js'
import { STOP, WORDS, DATA } from './epoll.js'

const EPOLL_CLOEXEC = 0o2000000
const EFD_FLAGS = 0o2000000 | 0o4000 | 1 // close-on-exec, non-blocking; a read takes 1 from the number
const ADD = 1
const REMOVE = 2
const CHANGE = 3
const READABLE = 1
const ONCE = 1 << 30 // until `again`: the thread must not tell the same thing over and over

let poller = null

/** Calls `onReady` when the descriptor is readable, once. `again()` makes it call again, `end()` ends the watch.
 *  Calls `onFailure` if the thread that polls has failed. */
export function watch(fd, { onReady, onFailure }) {
  poller ??= new Poller()
  return poller.watch(fd, { onReady, onFailure })
}

class Poller {
  #watches = new Map()
  #lastId = STOP
  #epoll = checked('epoll_create1', sys.epollCreate(EPOLL_CLOEXEC))
  #stop = checked('eventfd', sys.eventfd(0, EFD_FLAGS))
  #thread

  constructor() {
    this.#control(ADD, this.#stop, READABLE, STOP)
    const workerData = { epoll: this.#epoll, stop: this.#stop }
    this.#thread = new Worker(new URL('./poll-thread.js', import.meta.url), { workerData, execArgv: [] })
    this.#thread.unref()
    this.#thread.on('message', ids => {
      for (const id of ids) this.#watches.get(id)?.onReady()
    })
    this.#thread.on('error', error => this.#fail(error))
    this.#thread.on('exit', code => this.#fail(new Error(`the thread that polls has ended with code ${code}`)))
  }

  watch(fd, watch) {
    const id = ++this.#lastId
    this.#control(ADD, fd, READABLE | ONCE, id)
    this.#watches.set(id, watch)
    if (this.#watches.size === 1) {
      this.#thread.ref() // a wait keeps the program running
      this.#thread.postMessage('poll')
    }
    return {
      again: () => this.#control(CHANGE, fd, READABLE | ONCE, id),
      end: () => this.#watches.delete(id) && this.#end(fd)
    }
  }

  #end(fd) {
    this.#control(REMOVE, fd, 0, 0)
    if (this.#watches.size > 0) return
    this.#thread.unref()
    sys.write(this.#stop, new BigUint64Array([1n]), 8)
  }

  #control(operation, fd, events, id) {
    const event = new Uint32Array(WORDS)
    event[0] = events
    event[DATA] = id
    checked('epoll_ctl', sys.epollControl(this.#epoll, operation, fd, event))
  }

  #fail(error) {
    if (poller !== this) return
    poller = null // the next wait has a new thread
    const watches = [...this.#watches.values()]
    this.#watches.clear()
    sys.close(this.#epoll)
    sys.close(this.#stop)
    for (const { onFailure } of watches) onFailure(error)
  }
}

function checked(call, result) {
  if (result < 0) throw new Error(`${call} failed with errno ${sys.errno()}`)
  return result
}
