import assert from 'node:assert/strict'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Folder, LockFolderError, open, version } from 'lockfolder'
import { holder } from './holder.js'
import { deleteBids, folderPath, guard, opened } from './support.js'

const code = code => error => error instanceof LockFolderError && error.code === code && error.message !== ''

test('lock, fence, unlock', guard, async t => {
  const folder = opened(t, folderPath(t))
  const first = await folder.lock()
  assert.ok(first.holds())
  assert.throws(() => folder.tryLock(), code('LF_ERR_ALREADY_HELD'))
  await assert.rejects(folder.lock(), code('LF_ERR_ALREADY_HELD'))
  const token = first.fence()
  assert.equal(typeof token, 'bigint')
  first.unlock()
  assert.ok(!first.holds())

  const second = folder.tryLock()
  assert.ok(second.fence() > token)
  assert.throws(() => first.unlock(), code('LF_ERR_NOT_HELD'))
  assert.ok(second.holds(), 'an old Lock must not give back a new one')
})

test('a busy folder says who has it', guard, async t => {
  const path = folderPath(t)
  const { pid } = await holder(t, path)
  const command = readFileSync(`/proc/${pid}/comm`, 'utf8').trim() // some versions of Node have another name than "node"
  const folder = opened(t, path)
  assert.throws(
    () => folder.tryLock(),
    error => code('LF_BUSY')(error) && error.message.includes(path) && error.message.includes(`PID ${pid} (${command})`)
  )
  await assert.rejects(folder.lock({ timeout: 1 }), error => code('LF_TIMEOUT')(error) && error.message.includes(`${pid}`))
  assert.equal(folder.inUse(), true)
  const [bid, ...more] = folder.bids()
  assert.deepEqual(more, [])
  assert.equal(bid.pid, pid)
  assert.equal(bid.state, 'live')
  assert.equal(bid.command, command)
  assert.ok(bid.created instanceof Date && bid.age >= 0 && bid.host && bid.name.endsWith('.json'))
})

test('a killed holder is passed over', guard, async t => {
  const path = folderPath(t)
  const { kill } = await holder(t, path)
  const waiting = opened(t, path).lock()
  await kill()
  assert.ok((await waiting).holds())
})

test('reapStale', guard, async t => {
  const path = folderPath(t)
  const { kill } = await holder(t, path)
  const folder = opened(t, path)
  assert.equal(folder.reapStale(), 0)
  await kill()
  assert.equal(folder.reapStale(), 1)
  assert.equal(folder.inUse(), false)
})

test('a deleted bid is a lost lock', guard, async t => {
  const path = folderPath(t)
  const folder = opened(t, path)
  const lock = folder.tryLock()
  deleteBids(path)
  assert.equal(lock.holds(), false)
  assert.throws(() => lock.unlock(), code('LF_ERR_LOST'))
  assert.throws(() => lock.unlock(), code('LF_ERR_NOT_HELD'))
  folder.tryLock().unlock()
})

test('errors of open', guard, t => {
  const path = folderPath(t)
  const missing = join(path, 'a', 'b')
  const isMissing = error => code('LF_ERR_IO')(error) && error.errno === constants.errno.ENOENT && error.message.includes(missing)
  assert.throws(() => open(missing), isMissing)
  assert.throws(() => open(missing, { create: false }), isMissing)
  assert.throws(() => open(''), code('LF_ERR_INVALID'))
  assert.throws(() => open('a\0b'), TypeError)
  assert.throws(() => new Folder(), TypeError)
  chmodSync(path, 0o777)
  assert.throws(() => open(path, { private: true }), code('LF_ERR_UNSAFE'))
})

test('paths are strings, buffers and URLs', guard, t => {
  const path = folderPath(t)
  opened(t, Buffer.from(path)).tryLock()
  assert.throws(() => opened(t, pathToFileURL(path)).tryLock(), code('LF_BUSY'))
})

test('malformedGrace', guard, async t => {
  const path = folderPath(t)
  writeFileSync(join(path, 'eeeeeeee-0000-4000-8000-000000000000.json'), '')
  assert.throws(() => opened(t, path).tryLock(), code('LF_BUSY'))
  assert.ok((await opened(t, path, { malformedGrace: 1, trustFilesystem: true }).lock()).holds())
})

test('a closed folder', guard, async t => {
  const path = folderPath(t)
  const folder = open(path)
  const lock = folder.tryLock()
  folder.close()
  folder.close()
  assert.throws(() => folder.tryLock(), code('LF_ERR_INVALID'))
  assert.throws(() => lock.holds(), code('LF_ERR_INVALID'))
  await assert.rejects(folder.lock(), code('LF_ERR_INVALID'))
  opened(t, path).tryLock()
  assert.match(version, /^\d+\.\d+\.\d+$/)
})
