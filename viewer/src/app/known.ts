/** What this tab keeps of a session over a reload: when it ends. A number, in the tab's own storage, deleted with the session. */
import { moment } from './format'

const KEY = 'hope-session-ends'

/** A browser may refuse its storage; a lost cookie is then told without a date. */
function storage(): Storage | null {
  try {
    return globalThis.sessionStorage ?? null
  } catch {
    return null
  }
}

/** Keep, or with null forget, when the session ends, in seconds since 1970. */
export function keepEnd(expiresAt: number | null, store: Storage | null = storage()): void {
  if (expiresAt === null) store?.removeItem(KEY)
  else store?.setItem(KEY, String(expiresAt))
}

export function keptEnd(store: Storage | null = storage()): number | null {
  const found = Number(store?.getItem(KEY) ?? Number.NaN)
  return Number.isFinite(found) && found > 0 ? found : null
}

/**
 * What to say when the server knows no session; empty if this tab never had one.
 *
 * @param ended the server knew the browser's key and says that its session is gone
 * @param expiresAt when the session would end, as far as this tab knows
 */
export function lossSentence(ended: boolean, expiresAt: number | null, now: number): string {
  if (expiresAt === null) return ''
  return ended || expiresAt <= now
    ? 'Your session has ended, and its data is deleted. You can start a new one.'
    : `This browser no longer has the key to your session (its cookie). Nobody can open it any more; its data is deleted on ${moment(expiresAt)}.`
}
