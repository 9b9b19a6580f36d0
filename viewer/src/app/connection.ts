/** Whether the server answers: told by every call, and asked again while it does not. */
import { signal } from '@preact/signals'

const ASK_MS = 2000

/** False from the first call that found no server until one answers again. */
export const reachable = signal(true)

let asking: ReturnType<typeof setInterval> | undefined

/** Note that a call was answered or found no server; while there is none, `ask` is called every 2 s. */
export function noteReach(up: boolean, ask: () => Promise<void>): void {
  reachable.value = up
  if (up) {
    clearInterval(asking)
    asking = undefined
  } else asking ??= setInterval(() => void ask().catch(() => undefined), ASK_MS)
}
