// A separate process that holds the lock of a folder until its standard input ends.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(import.meta.url)

/** Starts a holder, and resolves when it holds the lock. The end of the test `t` kills the holder. */
export async function holder(t, path) {
  const child = spawn(process.execPath, [here, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const [line] = await Promise.race([once(child.stdout, 'data'), ended])
  if (String(line) !== 'held\n') throw new Error(`the holder says ${line}`)
  return {
    pid: child.pid,
    child,
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    }
  }
}

if (process.argv[1] === here) {
  const { open } = await import('lockfolder')
  const folder = open(process.argv[2], { lease: 5000 })
  const lock = folder.tryLock()
  lock.lost.addEventListener('abort', () => {
    console.log('lost', lock.lost.reason.code, lock.holds())
    try {
      lock.unlock()
    } catch (error) {
      console.log(error.code)
    }
  })
  console.log('held') // from here on the test may stop this process
  process.stdin.resume().on('end', () => folder.close())
}
