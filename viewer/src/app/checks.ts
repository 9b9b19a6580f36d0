/** What a run would say of a case's scans, asked anew whenever they change. */
import { effect, signal } from '@preact/signals'
import { asProblem } from '../api/errors'
import type { CaseOut, ChecksOut, QcFlag, SequenceKey } from '../api/types'
import { announce } from './announce'
import { keptOf } from './kept'
import { api, cases } from './state'

export interface Checked {
  /** Which scans were looked at. */
  scans: string
  state: 'asking' | 'done' | 'failed'
  /** Why a run would refuse them, or why they could not be checked; else empty. */
  problem: string
  remarks: QcFlag[]
  /** Sequence -> a small picture, WebP in base64. */
  thumbnails: Partial<Record<SequenceKey, string>>
}

export const checked = signal<Record<string, Checked>>({})

/** The pictures of a case that is gone go with it. */
effect(() => {
  const left = keptOf(checked.value, new Set(cases.value.map((entry) => entry.id)))
  if (Object.keys(left).length !== Object.keys(checked.value).length) checked.value = left
})

/** The scans that a run would take, as one word. */
export const scansOf = (found: CaseOut): string =>
  found.series
    .flatMap(({ sequence, sha256 }) => (sequence ? [`${sequence}:${sha256}`] : []))
    .sort()
    .join(' ')

/** What is known of the scans that are there now; undefined if nobody has asked. */
export function checksOf(found: CaseOut): Checked | undefined {
  const known = checked.value[found.id]
  return known?.scans === scansOf(found) ? known : undefined
}

/** Ask, unless that was done for these very scans. */
export async function check(found: CaseOut): Promise<void> {
  const scans = scansOf(found)
  if (!scans || checksOf(found)) return
  const note = (state: Checked['state'], problem = '', said: Partial<ChecksOut> = {}) => {
    const { remarks = [], thumbnails = {} } = said
    checked.value = { ...checked.value, [found.id]: { scans, state, problem, remarks, thumbnails } }
  }
  note('asking')
  try {
    const answer = await api.checks(found.id)
    if (checked.value[found.id]?.scans !== scans) return // the scans have changed: another question is on its way
    note('done', answer.problem ?? '', answer)
    if (answer.problem) announce(`The scans cannot be used as they are: ${answer.problem}`)
  } catch (error) {
    if (checked.value[found.id]?.scans === scans) note('failed', asProblem(error).message)
  }
}
