import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { open } from 'lockfolder'
import { holder } from './holder.js'

const guard = { timeout: 60_000 } // ends a test that hangs, and measures nothing
const lease = 5000 // the shortest

function folderPath(t) {
  const path = mkdtempSync(join(tmpdir(), 'lockfolder-node-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

/** A folder that looks as if other hosts use it too. */
function shared(t) {
  const path = folderPath(t)
  mkdirSync(join(path, '.lockfolder'))
  writeFileSync(join(path, '.lockfolder', 'shared'), '')
  return path
}

test('a holder that was stopped learns that it lost the lock', guard, async t => {
  const path = shared(t)
  const { child } = await holder(t, path)
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  child.kill('SIGSTOP')
  const folder = open(path, { lease })
  t.after(() => folder.close())
  await assert.rejects(folder.lock({ timeout: lease }), { code: 'LF_TIMEOUT' })
  child.kill('SIGCONT')
  assert.equal((await said.next()).value, 'lost LF_ERR_LOST false')
  assert.equal((await said.next()).value, 'LF_ERR_LOST')
  const lock = await folder.lock()
  assert.equal(lock.lost.aborted, false)
  lock.unlock()
})

test('a lease that the program renews', guard, t => {
  const folder = open(shared(t), { lease: 60_000, noThread: true })
  t.after(() => folder.close())
  const lock = folder.tryLock()
  assert.ok(lock.validFor() <= 40_000)
  lock.renew()
  assert.ok(lock.validFor() > 0)
  assert.equal(lock.lost.aborted, false)
  assert.equal(lock.lost, lock.lost)
  lock.unlock()
  assert.equal(lock.lost.aborted, false)
  assert.throws(() => lock.validFor(), { code: 'LF_ERR_NOT_HELD' })
})

test('without other hosts there is no lease', guard, t => {
  const path = folderPath(t)
  const folder = open(path, { lease })
  t.after(() => folder.close())
  const lock = folder.tryLock()
  assert.equal(lock.validFor(), null)
  lock.renew()
  const { lost } = lock
  assert.equal(lost.aborted, false)
  for (const name of readdirSync(path).filter(name => name.endsWith('.json'))) unlinkSync(join(path, name))
  assert.throws(() => lock.unlock(), { code: 'LF_ERR_LOST' })
  assert.ok(lost.aborted, 'the unlock has found that the lock was lost')
  const later = folder.tryLock()
  for (const name of readdirSync(path).filter(name => name.endsWith('.json'))) unlinkSync(join(path, name))
  assert.throws(() => later.unlock(), { code: 'LF_ERR_LOST' })
  assert.ok(later.lost.aborted, 'a program may ask only now')
})

test('a length that can not be', guard, t => {
  const path = folderPath(t)
  for (const lease of [0, 4999, 3_600_001, Infinity]) assert.throws(() => open(path, { lease }), { code: 'LF_ERR_INVALID' })
  assert.throws(() => open(path, { lease: -1 }), RangeError)
})
