/** Looking things up in the one table of words and colours (GET /api/vocabulary). */
import type { LabelTerm, Postprocess, SequenceKey, Vocabulary, Volume, Volumes } from '../api/types'

export const sequenceTitle = (vocabulary: Vocabulary, key: string): string =>
  vocabulary.sequences.find((entry) => entry.key === key)?.title ?? key

/** A sentence of the server with the titles of sequences instead of their codes. */
export const readable = (vocabulary: Vocabulary, text: string): string =>
  text.replace(/\b(t1n|t1c|t2w|t2f)\b/gi, (code) => sequenceTitle(vocabulary, code.toLowerCase()))

export const stageTitle = (vocabulary: Vocabulary, key: string): string =>
  vocabulary.stages.find((entry) => entry.key === key)?.title ?? key

export const stateTitle = (vocabulary: Vocabulary, key: string): string => vocabulary.states[key] ?? key

export const labelOf = (vocabulary: Vocabulary, value: number): LabelTerm | undefined =>
  vocabulary.labels.find((entry) => entry.value === value)

export const neededSequences = (vocabulary: Vocabulary): SequenceKey[] =>
  vocabulary.sequences.filter((entry) => !entry.optional).map((entry) => entry.key)

/** [red, green, blue], 0 to 255, of #RRGGBB. */
export function rgb(colour: string): [number, number, number] {
  const value = Number.parseInt(colour.slice(1), 16)
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255]
}

/** The volume of a label or region; what is absent is 0 ml. */
export function volumeOf(volumes: Volumes | null | undefined, key: string): Volume {
  const found = volumes?.[key]
  return found ?? { ml: 0 }
}

/** Rows of the volumes table: labels first, then the composites that are no label themselves. */
export function volumeRows(
  vocabulary: Vocabulary,
): { key: string; name: string; colour: string | null; parts: string[] }[] {
  const labels = vocabulary.labels.map((entry) => ({
    key: entry.key,
    name: entry.name,
    colour: entry.colour,
    parts: [],
  }))
  const keys = new Set(vocabulary.labels.map((entry) => entry.key))
  const regions = vocabulary.regions
    .filter((entry) => !keys.has(entry.key))
    .map((entry) => ({
      key: entry.key,
      name: entry.name,
      colour: null,
      parts: entry.labels.map((part) => labelOf(vocabulary, part)?.key ?? String(part)),
    }))
  return [...labels, ...regions]
}

/** A reason as the server gives it, as a sentence; empty where there is none. */
export const sentenceOf = (reason: string | null | undefined): string =>
  reason ? `${reason.charAt(0).toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? '' : '.'}` : ''

/** What chose the cluster of adaptive rules, and how clearly; empty for other rules. */
export function clusterSentence(done: Postprocess): string {
  if (done.cluster === undefined || done.cluster === null) return ''
  const next =
    typeof done.lead !== 'number'
      ? ''
      : `; next is cluster ${done.runner_up}, lead ${Math.round(100 * done.lead)} % (0 % is a tie, 100 % the very centre of the cluster)`
  return `Cluster chosen by: ${done.chosen_by ?? 'not recorded'}${next}.`
}

/** Which parts the rules took away or gave another name, each with its volume; empty where none or not told. */
export const listOfParts = (
  volumes: Record<string, number> | null | undefined,
  ml: (value: number) => string,
): string =>
  Object.entries(volumes ?? {})
    .map(([key, value]) => `${key} ${ml(value)} ml`)
    .join(', ')
