// What a thread of a wait is at, in memory that it shares with the thread that asked.
export const IDLE = 0
export const ASKED = 1
export const WAITING = 2
export const REVOKED = 3
