// The states of a thread that waits. The state is in memory that the thread shares with the thread that started the wait.
export const IDLE = 0
export const ASKED = 1
export const WAITING = 2
export const REVOKED = 3
