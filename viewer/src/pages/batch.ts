/** Many cases one after another: made, filled and started while the page is open. */
import { effect, signal } from '@preact/signals'
import { asProblem } from '../api/errors'
import { announce } from '../app/announce'
import { type FolderCase, labelOfFolder } from '../app/folder'
import { plural } from '../app/format'
import { api, cases, inWork, noteLoss, runCase, session, takeCase } from '../app/state'
import { send, slotKey, uploads } from './uploads'

export interface BatchCase extends FolderCase {
  state: 'found' | 'sending' | 'waiting' | 'started' | 'refused'
  /** Why it was not started. */
  why: string
  caseId: string
}

export interface Batch {
  cases: BatchCase[]
  running: boolean
}

export const batch = signal<Batch | null>(null)

const LOOK_MS = 1000

export function offer(found: readonly FolderCase[]): void {
  batch.value = { cases: found.map((one) => ({ ...one, state: 'found', why: '', caseId: '' })), running: false }
}

const note = (name: string, by: Partial<BatchCase>): void => {
  const there = batch.value
  if (there) batch.value = { ...there, cases: there.cases.map((one) => (one.name === name ? { ...one, ...by } : one)) }
}

const warn = (event: BeforeUnloadEvent): void => event.preventDefault()

/** What was not started yet is lost with the page: the browser asks first. */
effect(() => {
  if (batch.value?.running) globalThis.addEventListener?.('beforeunload', warn)
  else globalThis.removeEventListener?.('beforeunload', warn)
})

/** Until the session may have one more case in work, or has ended. */
async function room(): Promise<void> {
  const most = session.value?.limits.max_cases_in_work ?? 1
  while (session.value && cases.value.filter(inWork).length >= most)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
}

async function startOne(one: BatchCase, named: boolean): Promise<void> {
  note(one.name, { state: 'sending' })
  const made = await api.createCase()
  note(one.name, { caseId: made.id })
  takeCase(named ? await api.labelCase(made.id, labelOfFolder(one.name)) : made)
  for (const { slot, file } of one.scans) {
    await send(made.id, slot, file)
    const problem = uploads.value[slotKey(made.id, slot)]?.problem
    if (problem) return note(one.name, { state: 'refused', why: problem })
  }
  note(one.name, { state: 'waiting' })
  await room()
  await runCase(made.id, {})
  note(one.name, { state: 'started' })
}

/** Make, fill and start all that were found; one that is refused does not stop the others. */
export async function startBatch(named: boolean): Promise<void> {
  const there = batch.value
  if (!there || there.running) return
  batch.value = { ...there, running: true }
  for (const one of there.cases) {
    if (!session.value) break
    if (one.state === 'started') continue
    try {
      await startOne(one, named)
    } catch (error) {
      const problem = asProblem(error)
      note(one.name, { state: 'refused', why: problem.message })
      if (problem.kind === 'signed-out') noteLoss(problem)
    }
  }
  if (!session.value) {
    batch.value = null
    return
  }
  batch.value = batch.value && { ...batch.value, running: false }
  const started = batch.value?.cases.filter(({ state }) => state === 'started').length ?? 0
  announce(`${plural(started, 'case')} started.`)
}
