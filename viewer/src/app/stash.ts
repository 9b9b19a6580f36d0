/**
 * Drawings with unsaved strokes whose panel has gone, because the user looked at another page of ours. They wait here,
 * in memory only, until the panel of their case comes back. Small on purpose: the page may import it without the viewer.
 */

export interface Waiting {
  labels: Uint8Array
  /** The version that the drawing began as. */
  version: number
}

const drawings = new Map<string, Waiting>()
/** Cases that were deleted: their panels close after that, and must not leave a drawing behind. */
const deleted = new Set<string>()

const keyOf = (caseId: string, run: number): string => `${caseId} ${run}`

const warn = (event: BeforeUnloadEvent): void => event.preventDefault()

/** The browser asks before it closes the page while anything waits. */
function watch(): void {
  if (drawings.size) globalThis.addEventListener?.('beforeunload', warn)
  else globalThis.removeEventListener?.('beforeunload', warn)
}

/** Keep the drawing of a case's run. */
export function put(caseId: string, run: number, drawing: Waiting): void {
  if (deleted.has(caseId)) return
  drawings.set(keyOf(caseId, run), drawing)
  watch()
}

/** The drawing of this case's run, if one waits; it does not any more. Drawings of earlier runs are given up. */
export function take(caseId: string, run: number): Waiting | null {
  const found = drawings.get(keyOf(caseId, run)) ?? null
  drop(caseId)
  return found
}

function drop(caseId: string): void {
  for (const key of drawings.keys()) if (key.startsWith(`${caseId} `)) drawings.delete(key)
  watch()
}

/** A case was deleted: give up what waits for it, and what may still come. */
export function forget(caseId: string): void {
  deleted.add(caseId)
  drop(caseId)
}

/** A case is there (again), say after signing in anew: its drawings are kept. */
export function remember(caseId: string): void {
  deleted.delete(caseId)
}
