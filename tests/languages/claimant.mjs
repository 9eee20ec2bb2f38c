// A claimant in Node: see README.md.
import { appendFileSync, existsSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { open } from 'lockfolder'

function tried(call, ...args) {
  try {
    return call(...args) ?? true
  } catch {
    return false
  }
}

function violation(what) {
  console.error(`node: VIOLATION: ${what}`)
  process.exit(3)
}

async function work(token) {
  const me = String(process.pid)
  if (!tried(symlinkSync, me, 'inside')) {
    if (!tried(renameSync, 'inside', `found/${token}`) || !tried(symlinkSync, me, 'inside')) violation('another is inside')
  }
  appendFileSync('log', `node ${me} ${token}\n`)
  await pause(2)
  if (tried(readlinkSync, 'inside') !== me || !tried(unlinkSync, 'inside')) violation('another was inside')
}

const [path, arena] = process.argv.slice(2)
process.chdir(arena)
const folder = open(path)
while (!existsSync('stop')) {
  const lock = await folder.lock()
  await work(lock.fence())
  lock.unlock()
}
folder.close()
