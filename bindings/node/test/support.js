// What the tests share.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lockfolder'

export const guard = { timeout: 60_000 } // ends a test that hangs, and measures nothing

export function folderPath(t) {
  const path = mkdtempSync(join(tmpdir(), 'lockfolder-node-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

/** A folder that looks as if other hosts use it too. */
export function sharedPath(t) {
  const path = folderPath(t)
  mkdirSync(join(path, '.lockfolder'))
  writeFileSync(join(path, '.lockfolder', 'shared'), '')
  return path
}

export function opened(t, path, options) {
  const folder = open(path, options)
  t.after(() => folder.close())
  return folder
}

/** How many claimants stand in line. */
export function tickets(path) {
  const queue = join(path, '.lockfolder', 'queue')
  return existsSync(queue) ? readdirSync(queue).length : 0
}

export function deleteBids(path) {
  for (const name of readdirSync(path).filter(name => name.endsWith('.json'))) unlinkSync(join(path, name))
}
