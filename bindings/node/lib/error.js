import { lf } from './native.js'

/** A call failed. `code` is the name of the status. */
export class LockFolderError extends Error {
  constructor({ status, message, errno = 0 }) {
    super(message)
    this.code = lf.statusName(status)
    this.errno = errno
  }
}

LockFolderError.prototype.name = 'LockFolderError'
