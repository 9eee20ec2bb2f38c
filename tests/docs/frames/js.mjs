// What a snippet uses and does not declare. Node reads this file first (--import).
globalThis.signal = AbortSignal.timeout(60_000)
globalThis.work = async () => {}
