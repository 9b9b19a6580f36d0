/** What a tab keeps of its cases in its own storage (`sessionStorage`): gone with the case, the session or the tab. */
import { effect, type Signal, signal } from '@preact/signals'
import { cases, session } from './state'

export type Table<T> = Record<string, T>

/** What an earlier visit of this tab left; nothing of another form is taken. */
export function readTable<T>(text: string | null | undefined, is: (found: unknown) => found is T): Table<T> {
  try {
    const found: unknown = JSON.parse(text ?? '{}')
    const entries = Object.entries(found && typeof found === 'object' ? found : {})
    return Object.fromEntries(entries.filter((entry): entry is [string, T] => is(entry[1])))
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

/** Entries of cases that are there; a key begins with the case's id, and a colon where there is more. */
export const keptOf = <T>(table: Table<T>, here: ReadonlySet<string>): Table<T> =>
  Object.fromEntries(Object.entries(table).filter(([key]) => here.has(key.split(':')[0] ?? '')))

/** A table that survives a reload of the tab. */
export function keptTable<T>(name: string, is: (found: unknown) => found is T): Signal<Table<T>> {
  const table = signal(readTable(storage()?.getItem(name), is))
  effect(() => {
    // Before the session is known nothing is: entries must not go while the page is still asking.
    if (session.value === undefined) return
    const left = keptOf(table.value, new Set(cases.value.map((entry) => entry.id)))
    if (Object.keys(left).length !== Object.keys(table.value).length) table.value = left
    if (Object.keys(left).length) storage()?.setItem(name, JSON.stringify(left))
    else storage()?.removeItem(name)
  })
  return table
}
