/** Keeps a case in work up to date: its event stream at once, and a look every few seconds in case that breaks. */
import { batch, signal } from '@preact/signals'
import { applyEvent } from '../api/events'
import type { CaseEvent, CaseOut } from '../api/types'
import { announce } from './announce'
import { tellBrowser } from './notify'
import { api, cases, changeCase, inWork, noteLoss, takeCase, vocabulary } from './state'
import { stageTitle, stateTitle } from './vocabulary'

const LOOK_MS = 4000

/** Whether the stream of the followed case is up. */
export const linked = signal(true)
/** Case id + run -> when it was queued, as its events tell. */
export const begunAt = signal<Record<string, number>>({})

export const runKey = (found: { id: string; run: number }): string => `${found.id}:${found.run}`

const find = (caseId: string): CaseOut | undefined => cases.value.find((entry) => entry.id === caseId)

function say(before: CaseOut, after: CaseOut): void {
  const table = vocabulary.value
  if (!table) return
  if (before.state !== after.state) {
    const text = `Case ${after.number}: ${stateTitle(table, after.state)}`
    announce(after.problem ? `${text}. ${after.problem}` : text)
    if (!inWork(after)) tellBrowser(text)
    return
  }
  const begun = after.stages.find(
    (stage, index) => stage.state === 'running' && before.stages[index]?.state !== 'running',
  )
  if (begun) announce(`Case ${after.number}: ${stageTitle(table, begun.stage)}`)
}

/** Follow one case until the returned function is called. */
export function follow(caseId: string): () => void {
  let stopped = false
  let changes = 0

  const look = async () => {
    const asked = changes
    try {
      const found = await api.case(caseId)
      // An event overtook the answer: the answer is old, ask again.
      if (asked !== changes) return void look()
      const before = find(caseId)
      if (stopped || !before) return
      takeCase(found)
      say(before, found)
    } catch (error) {
      try {
        noteLoss(error, caseId)
      } catch {
        linked.value = false
      }
    }
  }

  const onEvent = (event: CaseEvent) => {
    linked.value = true
    const before = find(caseId)
    if (!before || event.case_id !== caseId) return
    if (event.kind === 'state' && event.state === 'queued')
      begunAt.value = { ...begunAt.value, [runKey({ id: caseId, run: event.run })]: event.at }
    const after = applyEvent(before, event)
    if (after === before) return
    changes += 1
    // An end comes with its facts or not at all: a result without its volumes would read as 0 ml.
    if (inWork(after)) {
      changeCase(caseId, () => after)
      say(before, after)
    }
    if (event.kind === 'state') void look()
  }

  linked.value = true
  const close = api.events(caseId, {
    onEvent,
    onGone: () => void look(),
    onLink: (up) => {
      linked.value = up
    },
  })
  const timer = setInterval(look, LOOK_MS)
  return () => {
    stopped = true
    clearInterval(timer)
    close()
  }
}

/** Cases in work that are not on show: a look at the list every few seconds keeps their state right. */
export function watchOthers(shown: () => string | null): () => void {
  const timer = setInterval(async () => {
    if (!cases.value.some((entry) => inWork(entry) && entry.id !== shown())) return
    try {
      const all = await api.cases()
      // One change of the list for all of them: it may be long.
      batch(() => {
        for (const found of all) {
          const before = find(found.id)
          if (!before || found.id === shown()) continue
          takeCase(found)
          say(before, found)
        }
      })
    } catch (error) {
      try {
        noteLoss(error)
      } catch {
        linked.value = false
      }
    }
  }, LOOK_MS)
  return () => clearInterval(timer)
}
