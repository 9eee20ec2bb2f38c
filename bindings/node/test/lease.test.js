import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { open } from 'lockfolder'
import { holder } from './holder.js'
import { deleteBids, folderPath, guard, opened, sharedPath } from './support.js'

const lease = 5000 // the shortest

const threads = () => readdirSync('/proc/self/task').length

test('a holder that was stopped learns that it lost the lock', guard, async t => {
  const path = sharedPath(t)
  const { child } = await holder(t, path)
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  child.kill('SIGSTOP')
  const folder = opened(t, path, { lease })
  await assert.rejects(folder.lock({ timeout: lease }), { code: 'LF_TIMEOUT' })
  child.kill('SIGCONT')
  assert.equal((await said.next()).value, 'lost LF_ERR_LOST false')
  assert.equal((await said.next()).value, 'LF_ERR_LOST')
  const lock = await folder.lock()
  assert.equal(lock.lost.aborted, false)
  lock.unlock()
})

test('a lease that the program renews', guard, t => {
  const path = sharedPath(t)
  const folder = opened(t, path, { lease: 60_000, noThread: true })
  const before = threads()
  const lock = folder.tryLock()
  assert.ok(threads() <= before, 'no thread renews') // one of the test before may have ended
  assert.ok(lock.validFor() <= 40_000)
  lock.renew()
  assert.equal(readdirSync(join(path, '.lockfolder', 'leases')).length, 1)
  assert.ok(lock.validFor() > 0)
  assert.equal(lock.lost.aborted, false)
  assert.equal(lock.lost, lock.lost)
  lock.unlock()
  assert.equal(lock.lost.aborted, false)
  assert.throws(() => lock.validFor(), { code: 'LF_ERR_NOT_HELD' })
})

test('without other hosts there is no lease', guard, t => {
  const path = folderPath(t)
  const folder = opened(t, path, { lease })
  const lock = folder.tryLock()
  assert.equal(lock.validFor(), null)
  lock.renew()
  const { lost } = lock
  assert.equal(lost.aborted, false)
  deleteBids(path)
  assert.throws(() => lock.unlock(), { code: 'LF_ERR_LOST' })
  assert.ok(lost.aborted, 'the unlock has found that the lock was lost')
  const later = folder.tryLock()
  deleteBids(path)
  assert.throws(() => later.unlock(), { code: 'LF_ERR_LOST' })
  assert.ok(later.lost.aborted, 'a program may ask only now')
})

test('a timer looks for a loss only where there is a lease and until the unlock', guard, t => {
  for (const [path, timers] of [[folderPath(t), 0], [sharedPath(t), 1]]) {
    const set = t.mock.method(globalThis, 'setTimeout')
    const cleared = t.mock.method(globalThis, 'clearTimeout')
    const lock = opened(t, path, { lease }).tryLock()
    assert.equal(lock.lost.aborted, false)
    assert.equal(set.mock.callCount(), timers)
    lock.unlock()
    const ended = cleared.mock.calls.map(call => call.arguments[0]).filter(Boolean)
    assert.deepEqual(ended, set.mock.calls.map(call => call.result))
    t.mock.restoreAll()
  }
})

test('a length that can not be', guard, t => {
  const path = folderPath(t)
  for (const lease of [0, 4999, 3_600_001, Infinity]) assert.throws(() => open(path, { lease }), { code: 'LF_ERR_INVALID' })
  assert.throws(() => open(path, { lease: -1 }), RangeError)
})
