import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once, setMaxListeners } from 'node:events'
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { open } from 'lockfolder'
import { holder } from './holder.js'
import { Worker } from 'node:worker_threads'
import { folderPath, guard, opened, tickets } from './support.js'

test('a signal ends a wait, before the wait begins and after', guard, async t => {
  const path = folderPath(t)
  await holder(t, path)
  const folder = opened(t, path)
  for (const ms of [0, 1, 20, 100]) {
    const controller = new AbortController()
    const waiting = folder.lock({ signal: controller.signal })
    const reason = new Error('enough')
    if (ms) setTimeout(() => controller.abort(reason), ms)
    else controller.abort(reason)
    await assert.rejects(waiting, error => error === reason)
  }
  await assert.rejects(folder.lock({ signal: AbortSignal.abort() }), { name: 'AbortError' })
  await assert.rejects(folder.lock({ signal: AbortSignal.timeout(30) }), { name: 'TimeoutError' })
  assert.equal(folder.bids().filter(bid => bid.state === 'own').length, 0)
})

test('an aborted wait never leaves the lock held', guard, async t => {
  const folder = opened(t, folderPath(t))
  for (let n = 0; n < 20; n++) {
    const controller = new AbortController()
    const waiting = folder.lock({ signal: controller.signal })
    setImmediate(() => controller.abort())
    await waiting.then(lock => lock.unlock(), () => {})
    assert.deepEqual(folder.bids(), [])
  }
})

test('a signal that throws leaves no lock', guard, async t => {
  const path = folderPath(t)
  const folder = opened(t, path)
  const fail = () => {
    throw new TypeError('on purpose')
  }
  const quiet = { aborted: false, throwIfAborted() {}, addEventListener() {}, removeEventListener() {} }
  let calls = 0
  const signals = [
    { ...quiet, addEventListener: undefined },
    { ...quiet, addEventListener: fail },
    { ...quiet, removeEventListener: fail },
    { ...quiet, throwIfAborted: undefined },
    { ...quiet, throwIfAborted: () => ++calls > 1 && fail() } // only after the wait
  ]
  for (const signal of signals) {
    await assert.rejects(folder.lock({ signal }), TypeError)
    // A wait without an owner would make this busy, or would hold the lock.
    const lock = await folder.lock({ timeout: 60_000 })
    lock.unlock()
    assert.deepEqual(folder.bids(), [])
  }
})

test('a signal whose listener closes the folder begins no wait', guard, async t => {
  const folder = open(folderPath(t))
  const signal = { throwIfAborted() {}, addEventListener: () => folder.close(), removeEventListener() {} }
  await assert.rejects(folder.lock({ signal }), { code: 'LF_ERR_INVALID' })
})

/** As a shutdown handler does: close frees the handle, and the abort comes right after. */
test('an abort after the close does not use the handle', guard, async t => {
  for (let round = 0; round < 20; round++) {
    const path = folderPath(t)
    const held = open(path)
    held.tryLock()
    const folder = open(path)
    const abort = new AbortController()
    const waiting = folder.lock({ signal: abort.signal })
    if (round % 2) await pause(20)
    folder.close()
    abort.abort()
    await assert.rejects(waiting)
    held.close()
  }
})

test('close ends a wait', guard, async t => {
  const path = folderPath(t)
  await holder(t, path)
  for (const ms of [0, 50]) {
    const folder = open(path)
    const waiting = folder.lock()
    if (ms) await pause(ms)
    folder.close()
    await assert.rejects(waiting, { code: 'LF_CANCELLED' })
  }
})

test('one folder is one claimant', guard, async t => {
  const path = folderPath(t)
  const { kill } = await holder(t, path)
  const folder = opened(t, path)
  const first = folder.lock()
  await assert.rejects(folder.lock(), { code: 'LF_BUSY' })
  await kill()
  assert.ok((await first).holds())
})

// There are more waiters than threads of libuv (4). The work of the holder needs one of these threads, and must get it.
test('many waits leave the event loop and the thread pool alone', guard, async t => {
  const path = folderPath(t)
  const lock = opened(t, path).tryLock()
  let inside = 1
  const waits = Array.from({ length: 12 }, async () => {
    const lock = await opened(t, path).lock()
    assert.equal(++inside, 1)
    await readFile(fileURLToPath(import.meta.url))
    await pause(1)
    inside--
    lock.unlock()
  })
  await pause(50)
  await readFile(fileURLToPath(import.meta.url))
  inside--
  lock.unlock()
  await Promise.all(waits)
})

test('200 waits have one thread together, and the aborted ones leave no ticket', guard, async t => {
  const path = folderPath(t)
  const lock = opened(t, path).tryLock()
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  let inside = 0
  const begin = async signal => {
    const lock = await opened(t, path).lock({ signal })
    assert.equal(++inside, 1)
    await pause(0)
    inside--
    lock.unlock()
  }
  const stay = [begin()]
  const threads = () => readdirSync('/proc/self/task').length
  const withOne = threads()
  for (let n = 1; n < 100; n++) stay.push(begin())
  const leave = Array.from({ length: 100 }, () => begin(controller.signal))
  assert.equal(tickets(path), 200)
  await pause(50) // the loop and the thread run
  assert.equal(threads(), withOne)
  controller.abort(new Error('enough'))
  assert.equal(tickets(path), 100)
  for (const left of leave) await assert.rejects(left, { message: 'enough' })
  lock.unlock()
  await Promise.all(stay)
  assert.equal(tickets(path), 0)
})

test('an abort or a close just when the lock is taken leaves no lock', guard, async t => {
  const path = folderPath(t)
  const other = opened(t, path)
  for (const end of ['abort', 'close']) {
    for (let turns = 0; turns < 30; turns++) {
      const lock = other.tryLock()
      const folder = open(path)
      const controller = new AbortController()
      let isHeld = false
      const waiting = folder.lock({ signal: controller.signal }).then(lock => {
        isHeld = true
        return lock
      })
      lock.unlock()
      for (let n = 0; n < turns; n++) await new Promise(setImmediate)
      if (end === 'close') folder.close()
      else controller.abort()
      const wasHeld = isHeld
      await waiting.then(
        lock => {
          assert.ok(end === 'abort' || wasHeld, 'a lock of a closed folder')
          if (end === 'abort') lock.unlock()
        },
        () => assert.ok(!wasHeld)
      )
      folder.close()
      assert.deepEqual([other.bids(), tickets(path)], [[], 0])
    }
  }
})

// Node joins the threads of a worker when it terminates the worker. A thread that still polls would make that last for ever.
test('a worker whose waits are over can be terminated', guard, async t => {
  const path = folderPath(t)
  const lock = opened(t, path).tryLock()
  const program = `
    import { parentPort } from 'node:worker_threads'
    import { open } from ${JSON.stringify(new URL('../lib/index.js', import.meta.url))}
    const waiting = open(${JSON.stringify(path)}).lock()
    parentPort.postMessage('waits')
    ;(await waiting).unlock()
    parentPort.postMessage('done')
    setInterval(() => {}, 1000)`
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`))
  assert.deepEqual(await once(worker, 'message'), ['waits'])
  lock.unlock()
  assert.deepEqual(await once(worker, 'message'), ['done'])
  await worker.terminate()
})

// A process with a wait can end in each of these ways. Node joins its threads at the end, so a wait could keep it running.
for (const [how, ending, expected] of [
  ['process.exit', 'process.exit(7)', 7],
  ['process.exit at once', 'process.exit(7)', 7],
  ['an uncaught exception', 'throw new Error("on purpose")', 1]
]) {
  test(`a process with a wait ends by ${how}`, guard, async t => {
    const path = folderPath(t)
    await holder(t, path)
    const end = how.endsWith('at once') ? ending : whenItWaits(ending)
    const program = `import { open } from 'lockfolder'; const folder = open(${JSON.stringify(path)}); folder.lock(); ${end}`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: here, stdio: 'ignore' })
    t.after(() => child.kill('SIGKILL'))
    assert.deepEqual(await once(child, 'exit'), [expected, null])
  })
}

// The message of a try names the PID of the holder before the wait begins, and the wait of this Folder after it has begun.
function whenItWaits(ending) {
  return `setInterval(() => {
    let why = ''
    try { folder.tryLock() } catch (error) { why = error.message }
    if (!why.includes('PID')) { ${ending} }
  }, 5)`
}

test('an idle thread does not keep the process running', guard, async t => {
  const path = folderPath(t)
  const program = `import { open } from 'lockfolder'; (await open(${JSON.stringify(path)}).lock()).unlock()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: here, stdio: 'inherit' })
  t.after(() => child.kill('SIGKILL'))
  assert.deepEqual(await once(child, 'exit'), [0, null])
  assert.deepEqual(readdirSync(path).filter(name => name.endsWith('.json')), [])
})

const here = fileURLToPath(new URL('.', import.meta.url))
