/** The two ways into a new case. */
import { signal } from '@preact/signals'
import { asProblem } from '../api/errors'
import { announce } from '../app/announce'
import { goCase } from '../app/route'
import { api, noteLoss, reloadCase, runCase, takeCase } from '../app/state'

/** Case id -> '' while a synthetic case is being made for it, else why that failed. */
export const making = signal<Record<string, string>>({})

async function newCase(): Promise<string | null> {
  try {
    const made = await api.createCase()
    takeCase(made)
    goCase(made.id)
    return made.id
  } catch (error) {
    noteLoss(error)
    return null
  }
}

export async function startOwn(): Promise<void> {
  await newCase()
}

/** One click: a new case, synthetic scans, started. */
export async function runSample(): Promise<void> {
  const caseId = await newCase()
  if (caseId) await fillWithSample(caseId)
}

/** Synthetic scans for a case that is there, and start. What goes wrong is told on the case's own page. */
export async function fillWithSample(caseId: string): Promise<void> {
  making.value = { ...making.value, [caseId]: '' }
  announce('Making a synthetic case. The first one takes up to a minute.')
  try {
    await api.sample(caseId)
    await runCase(caseId, {})
    const { [caseId]: _done, ...rest } = making.value
    making.value = rest
  } catch (error) {
    making.value = { ...making.value, [caseId]: asProblem(error).message }
    await reloadCase(caseId).catch(() => undefined)
  }
}
