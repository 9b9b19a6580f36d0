/** What each scan was called and how large it was as it was sent: for this tab only, and gone with the case. */
import { keptTable } from './kept'

export interface Sent {
  name: string
  bytes: number
}

export const isSent = (found: unknown): found is Sent =>
  !!found && typeof found === 'object' && 'name' in found && 'bytes' in found && typeof found.bytes === 'number'

/** Case id + hash of the stored scan -> its file. The hash keeps a name from staying when another scan takes the slot. */
const sent = keptTable('hope-sent', isSent)

const keyOf = (caseId: string, sha256: string): string => `${caseId}:${sha256}`

export const sentAs = (caseId: string, sha256: string): Sent | undefined => sent.value[keyOf(caseId, sha256)]

export function noteSent(caseId: string, sha256: string, file: Sent): void {
  sent.value = { ...sent.value, [keyOf(caseId, sha256)]: { name: file.name, bytes: file.bytes } }
}
