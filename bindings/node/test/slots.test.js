import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { open } from 'lockfolder'
import { folderPath, guard, opened, tickets } from './support.js'

const code = code => error => error.code === code

test('readers are in together, and a writer is alone', guard, async t => {
  const path = folderPath(t)
  const [first, second, late] = [0, 1, 2].map(() => opened(t, path, { shared: true }))
  const writer = opened(t, path)
  const locks = [first.tryLock(), await second.lock()]
  assert.throws(() => writer.tryLock(), code('LF_BUSY'))
  let isIn = false
  const waiting = writer.lock().then(lock => {
    isIn = true
    return lock
  })
  while (tickets(path) === 0) await sleep(1)
  assert.throws(() => late.tryLock(), code('LF_BUSY'), 'a reader that comes later goes ahead of a writer')
  locks[0].unlock()
  await sleep(1)
  assert.ok(locks[1].holds() && !isIn)
  locks[1].unlock()
  const lock = await waiting
  assert.throws(() => late.tryLock(), code('LF_BUSY'))
  lock.unlock()
  assert.ok(late.tryLock().holds())
})

test('as many are in as there are places', guard, async t => {
  const path = folderPath(t)
  let inside = 0
  let most = 0
  const work = async () => {
    const lock = await opened(t, path, { slots: 3 }).lock()
    inside += 1
    most = Math.max(most, inside)
    while (most < 3) await sleep(1) // until 3 have been inside together
    await sleep(1)
    inside -= 1
    lock.unlock()
  }
  await Promise.all(Array.from({ length: 12 }, work))
  assert.equal(most, 3)

  const tokens = [1, 2, 3].map(() => opened(t, path, { slots: 3 }).tryLock().fence())
  assert.equal(new Set(tokens).size, 3)
  assert.throws(() => opened(t, path, { slots: 3 }).tryLock(), code('LF_BUSY'))
  assert.throws(() => opened(t, path).tryLock(), code('LF_BUSY'))
})

test('another number is refused, and both are named', guard, async t => {
  const path = folderPath(t)
  opened(t, path, { slots: 3 }).tryLock()
  for (const [options, said] of [[{ slots: 2 }, '2 slots'], [{ shared: true }, 'any number']]) {
    const folder = opened(t, path, options)
    const isRight = error => error.code === 'LF_ERR_INVALID' && error.message.includes(said) && error.message.includes('3 slots')
    assert.throws(() => folder.tryLock(), isRight)
    await assert.rejects(folder.lock(), isRight)
  }
  for (const slots of [0, -1, 1.5, 2 ** 32, NaN, '2', null]) assert.throws(() => open(path, { slots }), RangeError)
  assert.throws(() => open(path, { slots: 2, shared: true }), TypeError)
})
