import { lf } from './native.js'

/** Why a call did not do what it was asked to. `code` is the name of the status. */
export class LockFolderError extends Error {
  constructor({ status, message, errno = 0 }) {
    super(message)
    this.code = lf.statusName(status)
    this.errno = errno
  }
}

LockFolderError.prototype.name = 'LockFolderError'
