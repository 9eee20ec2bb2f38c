// The C library, through koffi. A pointer is a BigInt.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import koffi from 'koffi'

const library = load()

/** The library that LOCKFOLDER_LIBRARY names, or the one that the package carries, or the one that the system finds. */
function load() {
  const named = process.env.LOCKFOLDER_LIBRARY
  const carried = fileURLToPath(new URL(`../prebuilt/${platform()}/liblockfolder.so`, import.meta.url))
  const name = named || (existsSync(carried) ? carried : 'liblockfolder.so.0')
  try {
    return koffi.load(name)
  } catch (error) {
    const out = named
      ? 'LOCKFOLDER_LIBRARY names it: correct that variable, or unset it'
      : `Install a package that carries it for ${platform()} (\`make npm\`), or install the C library (\`make install\`), or set ` +
        'LOCKFOLDER_LIBRARY to its file, or LD_LIBRARY_PATH to its folder'
    throw new Error(`lockfolder can't load the native library ${name}: ${error.message}. ${out}.`, { cause: error })
  }
}

/** Such as linux-x64-glibc. */
function platform() {
  const { excludeNetwork } = process.report
  process.report.excludeNetwork = true // else the report asks the DNS for names, in some versions of Node
  const glibc = process.report.getReport().header.glibcVersionRuntime
  process.report.excludeNetwork = excludeNetwork
  return `${process.platform}-${process.arch}-${glibc ? 'glibc' : 'musl'}`
}

// A function returns its results through pointers. The caller passes a typed array that has room for the result.
export const lf = {
  open: library.func('int lf_open(const void *path, uint32_t flags, void *out)'),
  close: library.func('void lf_close(void *folder)'),
  lock: library.func('int lf_lock(void *folder)'),
  waitBegin: library.func('int lf_wait_begin(void *folder, int64_t timeout_ms)'),
  waitFd: library.func('int lf_wait_fd(void *folder)'),
  waitStep: library.func('int lf_wait_step(void *folder)'),
  waitEnd: library.func('int lf_wait_end(void *folder)'),
  cancel: library.func('int lf_cancel(void *folder)'),
  unlock: library.func('int lf_unlock(void *folder)'),
  holds: library.func('int lf_holds(void *folder)'),
  inUse: library.func('int lf_in_use(void *folder, void *in_use)'),
  reapStale: library.func('int lf_reap_stale(void *folder, void *reaped)'),
  fence: library.func('int lf_fence(void *folder, void *token)'),
  setMalformedGrace: library.func('int lf_set_malformed_grace(void *folder, uint32_t ms)'),
  setLease: library.func('int lf_set_lease(void *folder, uint32_t ms)'),
  setSlots: library.func('int lf_set_slots(void *folder, uint32_t n)'),
  renew: library.func('int lf_renew(void *folder)'),
  validFor: library.func('int lf_valid_for(void *folder, void *ms)'),
  bids: library.func('int lf_bids(void *folder, void *out)'),
  bidListLen: library.func('size_t lf_bid_list_len(const void *list)'),
  bidListGet: library.func('void *lf_bid_list_get(const void *list, size_t index)'),
  bidListFree: library.func('void lf_bid_list_free(void *list)'),
  errorMessage: library.func('size_t lf_error_message(const void *folder, void *buffer, size_t size)'),
  errorCode: library.func('int lf_error_code(const void *folder)'),
  statusName: library.func('const char *lf_status_name(int status)'),
  version: library.func('const char *lf_version(void)')
}

// The C library links these.
export const sys = {
  epollCreate: library.func('int epoll_create1(int flags)'),
  epollControl: library.func('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
  epollWait: library.func('int epoll_wait(int epoll, void *events, int most, int timeout)'),
  eventfd: library.func('int eventfd(unsigned int initial, int flags)'),
  read: library.func('intptr_t read(int fd, void *buffer, size_t size)'),
  write: library.func('intptr_t write(int fd, const void *buffer, size_t size)'),
  close: library.func('int close(int fd)'),
  errno: () => koffi.errno()
}

const Bid = koffi.struct({
  name: 'const char *',
  host: 'const char *',
  command: 'const char *',
  pid: 'int64_t',
  created: 'int64_t',
  age_ms: 'int64_t',
  state: 'int32_t'
})

export const readBid = pointer => koffi.decode(pointer, Bid)

export const status = {
  LF_OK: 0,
  LF_BUSY: 1,
  LF_PENDING: 4,
  LF_ERR_INVALID: -1,
  LF_ERR_NOT_HELD: -2,
  LF_ERR_LOST: -4
}

/** Why the last call on this handle failed. null: the last open of this thread. */
export function failure(handle, failed) {
  let buffer = Buffer.alloc(512)
  let length = Number(lf.errorMessage(handle, buffer, buffer.length))
  if (length >= buffer.length) {
    buffer = Buffer.alloc(length + 1)
    length = Math.min(length, Number(lf.errorMessage(handle, buffer, buffer.length)))
  }
  return { status: failed, message: buffer.toString('utf8', 0, length), errno: lf.errorCode(handle) }
}
