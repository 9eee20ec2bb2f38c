// tsc checks this against index.d.ts and compiles it. TypeScript has the syntax `await using`, and Node 20 does not.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bid, type ErrorCode, LockFolderError, open } from 'lockfolder'

const path: string = mkdtempSync(join(tmpdir(), 'lockfolder-node-'))
try {
  {
    await using folder = open(path, { private: true, malformedGrace: 5000, lease: 5000, noThread: true })
    await using lock = await folder.lock({ timeout: 60_000, signal: AbortSignal.timeout(60_000) })
    const token: bigint = lock.fence()
    const lost: AbortSignal = lock.lost
    const left: number | null = lock.validFor()
    assert.deepEqual([lost.aborted, left], [false, null])
    const bids: Bid[] = folder.bids()
    assert.deepEqual(bids.map(bid => bid.state), ['own'])
    assert.equal(token, 1n)
    using other = open(path)
    try {
      other.tryLock()
      assert.fail('two Folders hold the lock')
    } catch (error) {
      if (!(error instanceof LockFolderError)) throw error
      const code: ErrorCode = error.code
      assert.equal(code, 'LF_BUSY')
    }
    // @ts-expect-error: a Folder is made by open()
    assert.throws(() => new folder.constructor(), TypeError)
    // @ts-expect-error: no such option
    await assert.rejects(folder.lock({ timeuot: 1 }))
  }
  {
    using first = open(path, { slots: 2 })
    using second = open(path, { slots: 2, shared: false })
    using one = first.tryLock()
    using two = second.tryLock()
    assert.ok(one.holds() && two.holds())
  }
  using folder = open(path)
  using lock = folder.tryLock()
  assert.equal(folder.inUse(), false)
  assert.ok(lock.holds())
} finally {
  rmSync(path, { recursive: true })
}
console.log('using: passed')
