/** What each scan was called and how large it was as it was sent: for this tab only, and gone with the case. */
import { effect, signal } from '@preact/signals'
import { cases, session } from './state'

export interface Sent {
  name: string
  bytes: number
}

const KEY = 'hope-sent'

type Table = Record<string, Sent>

const isSent = (found: unknown): found is Sent =>
  !!found && typeof found === 'object' && 'name' in found && 'bytes' in found && typeof found.bytes === 'number'

/** What an earlier visit of this tab left; nothing of another form is taken. */
export function readSent(text: string | null | undefined): Table {
  try {
    const found: unknown = JSON.parse(text ?? '{}')
    return Object.fromEntries(
      Object.entries(found && typeof found === 'object' ? found : {}).filter(([, value]) => isSent(value)),
    )
  } catch {
    return {}
  }
}

function storage(): Storage | null {
  try {
    return globalThis.sessionStorage ?? null
  } catch {
    return null
  }
}

/** Case id + hash of the stored scan -> its file. The hash keeps a name from staying when another scan takes the slot. */
const sent = signal<Table>(readSent(storage()?.getItem(KEY)))

const keyOf = (caseId: string, sha256: string): string => `${caseId}:${sha256}`

export const sentAs = (caseId: string, sha256: string): Sent | undefined => sent.value[keyOf(caseId, sha256)]

export function noteSent(caseId: string, sha256: string, file: Sent): void {
  sent.value = { ...sent.value, [keyOf(caseId, sha256)]: { name: file.name, bytes: file.bytes } }
}

/** Names of cases that are there. */
export const keptOf = (table: Table, here: ReadonlySet<string>): Table =>
  Object.fromEntries(Object.entries(table).filter(([key]) => here.has(key.slice(0, key.indexOf(':')))))

effect(() => {
  // Before the session is known nothing is: names must not go while the page is still asking.
  if (session.value === undefined) return
  const left = keptOf(sent.value, new Set(cases.value.map((entry) => entry.id)))
  if (Object.keys(left).length !== Object.keys(sent.value).length) sent.value = left
  if (Object.keys(left).length) storage()?.setItem(KEY, JSON.stringify(left))
  else storage()?.removeItem(KEY)
})
