/** The progress contract: events in, the case as it now stands out. Pure, so that it can be tested. */
import type { CaseEvent, CaseOut, CaseState, StageEvent, StageOut } from './types'

/** One message of the event stream; null for what this page does not understand. */
export function parseEvent(kind: CaseEvent['kind'], lastEventId: string, data: unknown): CaseEvent | null {
  if (typeof data !== 'string') return null
  try {
    const parsed: unknown = JSON.parse(data)
    if (!parsed || typeof parsed !== 'object') return null
    return { ...(parsed as object), kind, number: Number(lastEventId) || 0 } as CaseEvent
  } catch {
    return null
  }
}

const withStage = (found: CaseOut, key: string, change: (stage: StageOut) => StageOut): CaseOut => ({
  ...found,
  stages: found.stages.map((stage) => (stage.stage === key ? change(stage) : stage)),
})

const ORDER: Record<CaseState, number> = { new: 0, queued: 1, running: 2, done: 3, failed: 3, cancelled: 3 }
const ended = (stage: StageOut): boolean => stage.state !== 'waiting' && stage.state !== 'running'

/**
 * The case after an event. Events of another case or another run change nothing, and neither do those that a
 * reconnecting stream repeats: within one run a case and its finished stages never go back.
 */
export function applyEvent(found: CaseOut, event: CaseEvent): CaseOut {
  if (event.case_id !== found.id || event.kind === 'series' || event.kind === 'segmentation') return found
  if (event.kind === 'state') {
    const repeated = event.run < found.run || (event.run === found.run && ORDER[event.state] <= ORDER[found.state])
    return repeated ? found : { ...found, run: event.run, state: event.state, problem: event.problem ?? '' }
  }
  if (event.run !== found.run) return found
  if (event.kind === 'stage')
    return withStage(found, event.stage, (stage) => (ended(stage) ? stage : afterStage(stage, event)))
  return withStage(found, event.stage, (stage) =>
    ended(stage)
      ? stage
      : {
          ...stage,
          state: 'running',
          share: event.share,
          message: event.message,
          seen_at: later(stage.seen_at, event.at),
        },
  )
}

function afterStage(stage: StageOut, event: StageEvent): StageOut {
  return {
    ...stage,
    state: event.state,
    share: event.state === 'done' ? 1 : event.state === 'waiting' ? 0 : stage.share,
    message: event.state === 'running' ? stage.message : '',
    seconds: event.seconds ?? stage.seconds,
    attempts: event.state === 'running' ? Math.max(1, stage.attempts) : stage.attempts,
    seen_at: later(stage.seen_at, event.at),
  }
}

const later = (one: number | null | undefined, other: number): number => Math.max(one ?? 0, other)
