/** How far a run is as a whole, and how long it may take still. */
import type { CaseOut, StageOut } from '../api/types'
import { firstUpper } from './format'

/** 0 to 1 over all stages, by the share of the time that each usually takes. */
export function wholeShare(stages: readonly StageOut[]): number {
  const total = stages.reduce((sum, stage) => sum + stage.weight, 0)
  if (!total) return 0
  const share = (stage: StageOut) => (stage.state === 'done' ? 1 : stage.state === 'running' ? stage.share : 0)
  return stages.reduce((sum, stage) => sum + stage.weight * Math.min(1, Math.max(0, share(stage))), 0) / total
}

/** Stages that this run passes: what is switched off does nothing, so it is not shown unless it failed. */
export const shownStages = (found: Pick<CaseOut, 'stages' | 'choice'>): StageOut[] =>
  found.stages.filter(({ stage, state }) => stage !== 'harmonize' || found.choice.harmonize || state === 'failed')

/** How much the times measured elsewhere count beside this run's own, in seconds. */
const TRUST_SECONDS = 8

/** What each stage takes: as the session's last finished case of the same kind took here, else as it was measured. */
export function expectedSeconds(found: CaseOut, others: readonly CaseOut[]): Record<string, number> {
  const measured = (one: CaseOut) =>
    one.stages.every(
      ({ seconds, usual_seconds }, at) =>
        typeof seconds === 'number' && usual_seconds === found.stages[at]?.usual_seconds,
    )
  const last = others.filter((one) => one.id !== found.id && one.state === 'done' && measured(one)).at(-1)
  return Object.fromEntries(
    found.stages.map((stage, at) => [stage.stage, last?.stages[at]?.seconds ?? stage.usual_seconds]),
  )
}

/** Seconds still to go by what the stages usually take and how much faster or slower this run has been so far. */
export function secondsLeft(stages: readonly StageOut[], expected: Record<string, number>): number {
  let [usual, spent, left] = [TRUST_SECONDS, TRUST_SECONDS, 0]
  for (const { stage, state, share, seconds } of stages) {
    const done = state === 'done' ? 1 : state === 'running' ? Math.min(1, Math.max(0, share)) : 0
    const whole = expected[stage] ?? 0
    usual += whole * done
    // What runs longer than its share says weighs, but a step that just began does not.
    if (done > 0) spent += seconds ?? 0
    left += whole * (1 - done)
  }
  return (left * spent) / usual
}

/** How fast the time left may be told to rise: by a quarter of the time that passes. */
const RISE = 0.25

export interface Told {
  left: number
  at: number
}

/** What to tell now: never grossly more than was told before, so that a slow step does not throw the number about. */
export function tellLeft(before: Told | undefined, left: number, at: number): Told {
  if (!before) return { left, at }
  const most = before.left + RISE * Math.max(0, at - before.at)
  return { left: Math.min(left, most), at }
}

/** What a stage says of itself, as a sentence's beginning: its own name before the colon stands in the title. */
export function toldStep(message: string): string {
  return firstUpper(message.replace(/^[a-z]+:\s+/, ''))
}

/** The last sign of life of any stage, seconds since 1970; null if there was none. */
export function lastSeen(stages: readonly StageOut[]): number | null {
  const seen = stages.map((stage) => stage.seen_at ?? 0)
  const last = Math.max(0, ...seen)
  return last > 0 ? last : null
}
