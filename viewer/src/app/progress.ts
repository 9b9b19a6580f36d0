/** How far a run is as a whole, and how long it may take still. */
import type { StageOut } from '../api/types'
import { firstUpper } from './format'

/** 0 to 1 over all stages, by the share of the time that each usually takes. */
export function wholeShare(stages: readonly StageOut[]): number {
  const total = stages.reduce((sum, stage) => sum + stage.weight, 0)
  if (!total) return 0
  const share = (stage: StageOut) => (stage.state === 'done' ? 1 : stage.state === 'running' ? stage.share : 0)
  return stages.reduce((sum, stage) => sum + stage.weight * Math.min(1, Math.max(0, share(stage))), 0) / total
}

/** Seconds still to go, or null while it is too early to say. */
export function secondsLeft(share: number, elapsed: number): number | null {
  if (share < 0.04 || elapsed < 3 || share >= 1) return null
  return (elapsed * (1 - share)) / share
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
