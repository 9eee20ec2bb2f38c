// Waits for the lock of a folder until Ctrl-C, and prints its fencing token.
import { open } from 'lockfolder'

const [path] = process.argv.slice(2)
if (!path) throw new Error('usage: node example.js FOLDER')

const interrupted = new AbortController()
process.once('SIGINT', () => interrupted.abort(new Error('interrupted')))

const folder = open(path)
try {
  const lock = await folder.lock({ signal: interrupted.signal })
  console.log(`held; fencing token ${lock.fence()}`)
  lock.unlock()
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
} finally {
  folder.close()
}
