/** What a case lacks before it can be started, in words. */
import type { ModelOut, SequenceKey, SeriesOut, Vocabulary } from '../api/types'
import { SEQUENCES } from '../api/types'
import { sequenceTitle } from './vocabulary'

export interface Needs {
  /** Why it cannot start; empty if it can. */
  blockers: string[]
  /** What it can do without, but not without loss. */
  absent: SequenceKey[]
}

const list = (words: string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`

/** Compare what is there with what the words and the chosen model ask for. */
export function whatIsMissing(
  vocabulary: Vocabulary,
  model: ModelOut | undefined,
  series: readonly SeriesOut[],
): Needs {
  const there = new Set(series.map((entry) => entry.sequence))
  const title = (key: SequenceKey) => sequenceTitle(vocabulary, key)
  const absent = SEQUENCES.filter((key) => !there.has(key))
  if (absent.length === SEQUENCES.length) return { blockers: ['Add at least one scan.'], absent }
  const may = (key: SequenceKey) =>
    model?.optional
      ? model.optional.includes(key)
      : (vocabulary.sequences.find((entry) => entry.key === key)?.optional ?? true)
  const read = (key: SequenceKey) => !model?.sequences || model.sequences.includes(key)
  const needed = absent.filter((key) => read(key) && !may(key))
  const blockers: string[] = []
  if (needed.length) blockers.push(`Still missing: ${list(needed.map(title))}.`)
  const most = model?.max_missing
  const without = absent.filter((key) => read(key) && may(key))
  if (most !== undefined && needed.length + without.length > most && without.length > 0)
    blockers.push(
      most === 0
        ? `This model needs all its sequences: ${list(without.map(title))} missing.`
        : `This model can do without ${most === 1 ? 'one sequence' : `${most} sequences`} at most: ${list(without.map(title))} ${without.length > 1 ? 'are' : 'is'} missing.`,
    )
  const either = SEQUENCES.filter((key) => model?.at_least_one_of?.includes(key))
  if (!blockers.length && either.length && !either.some((key) => there.has(key)))
    blockers.push(`This model needs ${either.map(title).join(' or ')}.`)
  return { blockers, absent }
}
