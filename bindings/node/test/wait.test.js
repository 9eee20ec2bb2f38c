import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { open } from 'lockfolder'
import { holder } from './holder.js'

const guard = { timeout: 60_000 } // against hanging; not a measure

function folderPath(t) {
  const path = mkdtempSync(join(tmpdir(), 'lockfolder-node-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

function opened(t, path) {
  const folder = open(path)
  t.after(() => folder.close())
  return folder
}

test('a signal ends a wait, before it has begun and after', guard, async t => {
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

// More waiters than libuv has threads (4), and a holder whose work needs one of those: it must get it.
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

// Whatever way a process ends, its waits don't keep it: Node joins its threads at the end.
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

// A try is refused because of the holder, with its PID, and once the wait has begun because of the wait.
function whenItWaits(ending) {
  return `setInterval(() => {
    let why = ''
    try { folder.tryLock() } catch (error) { why = error.message }
    if (!why.includes('PID')) { ${ending} }
  }, 5)`
}

test('an idle thread does not keep the process', guard, async t => {
  const path = folderPath(t)
  const program = `import { open } from 'lockfolder'; (await open(${JSON.stringify(path)}).lock()).unlock()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: here, stdio: 'inherit' })
  t.after(() => child.kill('SIGKILL'))
  assert.deepEqual(await once(child, 'exit'), [0, null])
  assert.deepEqual(readdirSync(path).filter(name => name.endsWith('.json')), [])
})

const here = fileURLToPath(new URL('.', import.meta.url))
