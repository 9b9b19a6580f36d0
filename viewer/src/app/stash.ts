/**
 * Drawings with unsaved strokes whose panel has gone, because the user looked at another page of ours, and diameters
 * that were moved by hand. They wait here, in memory only, until the panel of their case comes back. Small on purpose:
 * the page may import it without the viewer.
 */

export interface Waiting {
  labels: Uint8Array
  /** The version that the drawing began as. */
  version: number
}

const drawings = new Map<string, Waiting>()
/** Diameters that were moved, by the case and what they belong to. */
const lines = new Map<string, unknown>()
/** Cases that were deleted: their panels close after that, and must not leave a drawing behind. */
const deleted = new Set<string>()

const keyOf = (caseId: string, run: number): string => `${caseId} ${run}`

const warn = (event: BeforeUnloadEvent): void => event.preventDefault()

/** The browser asks before it closes the page while anything waits. */
function watch(): void {
  if (drawings.size + lines.size) globalThis.addEventListener?.('beforeunload', warn)
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
  drop(caseId, drawings)
  return found
}

function drop(caseId: string, ...stashes: Map<string, unknown>[]): void {
  for (const stash of stashes) for (const key of stash.keys()) if (key.startsWith(`${caseId} `)) stash.delete(key)
  watch()
}

/** Keep the moved diameters of a mask of a case; those of its other masks and runs are given up. */
export function putLines(caseId: string, mask: string, moved: ReadonlyMap<string, unknown>): void {
  drop(caseId, lines)
  if (moved.size && !deleted.has(caseId)) lines.set(`${caseId} ${mask}`, moved)
  watch()
}

/** The moved diameters of this mask; they stay here. Those of the case's other runs, whose masks have gone, do not. */
export function linesKept(caseId: string, mask: string): unknown {
  const run = `${caseId} ${mask.split(' ')[0]} `
  for (const key of lines.keys()) if (key.startsWith(`${caseId} `) && !key.startsWith(run)) lines.delete(key)
  watch()
  return lines.get(`${caseId} ${mask}`)
}

/** A case was deleted: give up what waits for it, and what may still come. */
export function forget(caseId: string): void {
  deleted.add(caseId)
  drop(caseId, drawings, lines)
}

/** A case is there (again), say after signing in anew: its drawings are kept. */
export function remember(caseId: string): void {
  deleted.delete(caseId)
}
