// The form of a struct epoll_event, in words of 32 bits: what happened, and the id of a watch.
const isPacked = process.arch === 'x64' || process.arch === 'ia32'
export const WORDS = isPacked ? 3 : 4
export const DATA = isPacked ? 1 : 2

/** The id of what makes the thread stop. Those of the watches are larger. */
export const STOP = 0
