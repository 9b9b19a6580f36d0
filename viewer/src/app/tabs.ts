/** Several tabs of one session: what one of them deletes or begins, the others learn of. Nothing of a case is sent. */

/** 'left': a tab closes; 'changed': the session or its list of cases is another one now; 'ended': it was deleted. */
export type TabWord = 'left' | 'changed' | 'ended'

/** Later than the goodbye of the tab that closes, and well before the server acts on it. */
const AFTER_LEAVE_MS = 2000

const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('hope-tabs')

export function tellTabs(word: TabWord): void {
  channel?.postMessage(word)
}

/** Call `look` when another tab changed something, closed, or when this one is looked at again; `ended` for a deletion. */
export function watchTabs(look: () => void, ended: () => void): () => void {
  const heard = (message: MessageEvent) => {
    // To look is to use: a session that ends with its page goes on while one page is open.
    if (message.data === 'left') setTimeout(look, AFTER_LEAVE_MS)
    else if (message.data === 'changed') look()
    else if (message.data === 'ended') ended()
  }
  const shown = () => {
    if (!document.hidden) look()
  }
  channel?.addEventListener('message', heard)
  document.addEventListener('visibilitychange', shown)
  return () => {
    channel?.removeEventListener('message', heard)
    document.removeEventListener('visibilitychange', shown)
  }
}
