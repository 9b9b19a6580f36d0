/** Which slot a file belongs to, by its name. Done here, in the browser: the name is never sent. */
import type { SequenceKey } from '../api/types'
import { TABLE } from './sequences.generated'

export type Guess = { slot: SequenceKey } | { slot: 'dicom' } | { slot: null; why: string }

type Words = { weighting: string; contrast: boolean | null; contradiction: boolean }

const NIFTI = /\.nii(\.gz)?$/i
const REPLACEMENTS = TABLE.replacements.map(([pattern, words]) => [new RegExp(pattern, 'g'), words] as const)
const ALIASES = new Map(Object.entries(TABLE.aliases) as [string, readonly [string, boolean | null]][])
const OTHER_PATTERN = new RegExp(`^(?:${TABLE.otherPattern})$`)
const CONTRAST = new Set<string>(TABLE.contrast)
const NOT_CONTRAST = new Set<string>(TABLE.notContrast)
const NATIVE = new Set<string>(TABLE.native)
const LONE_NEGATIONS = new Set<string>(TABLE.loneNegations)
const NEGATIONS = new Set<string>(TABLE.negations)
const NEGATIONS_AT_END = new Set<string>(TABLE.negationsAtEnd)
const LINKS = new Set<string>(TABLE.links)
const FILLERS = new Set<string>(TABLE.fillers)
const OTHER = new Set<string>(TABLE.other)
const OTHER_IN_TEXT = new Set<string>(TABLE.otherInText)
const NEUTRAL = new Set<string>(TABLE.neutral)
const LABELS = new Set<string>(TABLE.labels)
const AFTER_AGENT = new Set<string>(TABLE.afterAgent)
const LAST_AFTER_AGENT = new Set<string>(TABLE.lastAfterAgent)
const AND = new Set<string>(TABLE.and)
// oKM ("ohne KM") stays one word.
const CASE_CHANGE = /(?<=[a-z])(?=[A-Z])(?!(?<=(?<![A-Za-z])o)(?:KM|G[Dd]))/g
const BIDS_LEAD = /^sub-[a-z0-9]+(?:_ses-[a-z0-9]+)?(?=_)/i

// File systems of macOS keep a letter and its accent apart.
const split = (text: string): string => text.normalize('NFC').replace(CASE_CHANGE, ' ').toLowerCase()

/** As `words_of` of hope.contract.sequences. */
function wordsOf(text: string): string[] {
  let plain = split(text).replaceAll('_', ' ')
  for (const [pattern, words] of REPLACEMENTS) plain = plain.replace(pattern, words)
  return plain.match(/[\p{L}\p{N}]+/gu) ?? []
}

const isOther = (word: string): boolean => OTHER.has(word) || OTHER_PATTERN.test(word)

/** As `_other_word` of hope.contract.sequences: behind the sequence, words of a description count too. */
function speaksOfAnother(words: readonly string[], textFrom: number): boolean {
  return words.some((word, place) => {
    const numbered = word === 'sub' && /\d/.test(words[place + 1] ?? '')
    return isOther(word) || (place >= textFrom && !numbered && OTHER_IN_TEXT.has(word))
  })
}

function pastFillers(words: readonly string[], from: number): number {
  let place = from
  while (place < words.length && FILLERS.has(words[place] ?? '')) place++
  return place
}

/** Whether a contrast agent follows the word at `place`, fillers aside. */
function namesAgent(words: readonly string[], place: number): boolean {
  const following = words[pastFillers(words, place + 1)] ?? ''
  return CONTRAST.has(following) || following === 'c'
}

/** The place behind an agent and those that are joined to it: injection de gadolinium, mezzo di contrasto. */
function pastAgents(words: readonly string[], agent: number): number {
  let end = agent + 1
  while (LINKS.has(words[end] ?? '') && namesAgent(words, end)) end = pastFillers(words, end) + 1
  return end
}

/** As `_begin`: where the words on the sequence at `place` begin; further left they may be a person or a project. */
function beginOf(words: readonly string[], place: number): number {
  let first = place
  while (first > 0) {
    const before = words[first - 1] ?? ''
    const predicted = LABELS.has(before) && NEGATIONS.has(before) && !namesAgent(words, first - 1)
    if (isKnown(before) || predicted) {
      first--
      continue
    }
    // Other negations, and what joins them to an agent, count only as a whole: vor der KM-Gabe.
    let start = first - 1
    while (start >= 0 && (FILLERS.has(words[start] ?? '') || CONTRAST.has(words[start] ?? ''))) start--
    const negation = words[start] ?? ''
    if (!NEGATIONS.has(negation) || !namesAgent(words, start)) break
    if (negation === TABLE.letterNegation && !CONTRAST.has(words[start + 1] ?? '')) break
    first = start
  }
  return first
}

function isKnown(word: string): boolean {
  return (
    NEUTRAL.has(word) ||
    CONTRAST.has(word) ||
    NATIVE.has(word) ||
    LONE_NEGATIONS.has(word) ||
    isOther(word) ||
    word === 'post' ||
    word === 'pre'
  )
}

/** As `names_label`: `pred` before an agent is Slavic for "before" and no prediction. */
function namesLabel(words: readonly string[]): boolean {
  return words.some((word, place) => LABELS.has(word) && !(NEGATIONS.has(word) && namesAgent(words, place)))
}

/** What the words say of contrast: true, false, both or nothing. */
function contrastOf(words: readonly string[], textFrom: number): Set<boolean> {
  const said = new Set<boolean>()
  let skip = 0
  words.forEach((word, place) => {
    if (place < skip) return
    const after = pastFillers(words, place + 1)
    const following = words[after] ?? ''
    const letter = word === TABLE.letterNegation && place < textFrom
    const both = AND.has(words[place + 1] ?? '') && namesAgent(words, place + 2)
    const denied = AFTER_AGENT.has(following) || (LAST_AFTER_AGENT.has(following) && after === words.length - 1)
    if (NEGATIONS.has(word) && (both || (letter && namesAgent(words, place)))) {
      said.add(true).add(false)
      skip = both ? place + 3 : pastAgents(words, after)
    } else if ((word === 'post' || word === 'pre') && NOT_CONTRAST.has(following)) skip = after + 1
    else if (NEGATIONS.has(word) && !letter && namesAgent(words, place)) {
      said.add(false)
      skip = pastAgents(words, after)
    } else if (NATIVE.has(word) || word === 'pre' || (NEGATIONS_AT_END.has(word) && !following)) said.add(false)
    else if (CONTRAST.has(word) && denied) {
      said.add(false)
      skip = after + 1
    } else if (CONTRAST.has(word) || word === 'post') said.add(true)
  })
  return said
}

function readWords(words: readonly string[], textFrom: number): Words {
  if (speaksOfAnother(words, textFrom)) return { weighting: 'other', contrast: null, contradiction: false }
  const named = words.flatMap((word) => {
    const meaning = ALIASES.get(word)
    return meaning ? [meaning] : []
  })
  const weightings = new Set(named.map(([weighting]) => weighting))
  if (weightings.size === 2 && weightings.has('t2f')) weightings.delete('t2')
  if (weightings.size > 1) return { weighting: '', contrast: null, contradiction: true }
  const said = contrastOf(words, textFrom)
  for (const [, contrast] of named) if (contrast !== null) said.add(contrast)
  const [weighting = ''] = weightings
  if (weighting !== '' && weighting !== 't1') return { weighting, contrast: null, contradiction: false }
  const [only] = said
  return { weighting, contrast: said.size === 1 ? (only ?? null) : null, contradiction: said.size > 1 }
}

/** As `read_stem` of hope.contract.sequences. */
function readStem(stem: string): Words & { bids: boolean; mask: boolean } {
  const bids = BIDS_LEAD.exec(stem)
  const rest = bids ? stem.slice(bids[0].length) : stem
  const words = wordsOf(rest)
  if (bids) return { ...readWords(words, 0), bids: true, mask: namesLabel(words) }
  let first = words.findIndex((word) => ALIASES.has(word))
  if (first < 0) first = words.findIndex(isOther)
  if (first < 0) first = words.length
  const counted = words.slice(beginOf(words, first))
  const named = counted.findIndex((word) => ALIASES.has(word))
  return { ...readWords(counted, named < 0 ? counted.length : named), bids: false, mask: namesLabel(counted) }
}

/** The slot that a file's name speaks for. */
export function guessSlot(name: string): Guess {
  if (/\.zip$/i.test(name)) return { slot: 'dicom' }
  if (/\.(dcm|ima)$/i.test(name))
    return { slot: null, why: 'This is a single DICOM file: put all DICOM files of the examination into one zip.' }
  if (!NIFTI.test(name)) return { slot: null, why: 'This is neither NIfTI (.nii, .nii.gz) nor a zip with DICOM files.' }
  const stem = name.replace(NIFTI, '')
  const { weighting, contrast, contradiction, mask } = readStem(stem)
  if (mask) return { slot: null, why: 'By its name this is a mask, which is no input.' }
  if (weighting === 'other')
    return { slot: null, why: 'By its name this is another kind of image, which is not needed.' }
  if (contradiction)
    return { slot: null, why: 'The name says two things that cannot both be true: choose the sequence.' }
  if (weighting === 't2') return { slot: 't2w' }
  if (weighting === 't2f') return { slot: 't2f' }
  if (weighting === 't1') return { slot: contrast ? 't1c' : 't1n' }
  return { slot: null, why: 'The name does not say which sequence this is: choose it.' }
}

/** Whether a name says T1 but not whether contrast was given, and follows no scheme that would settle it. */
function isBareT1(name: string): boolean {
  const { weighting, contrast, contradiction, bids } = readStem(name.replace(NIFTI, ''))
  return weighting === 't1' && contrast === null && !contradiction && !bids && !/^brats/i.test(name)
}

/**
 * Guesses for several files at once; of two that claim one slot neither gets it. A mere `t1` is the native T1 only
 * beside a T1 with contrast, among the files or in a slot that is `filled` already.
 */
export function guessAll(files: readonly File[], filled: readonly SequenceKey[] = []): { file: File; guess: Guess }[] {
  const guessed = files.map((file) => ({ file, guess: guessSlot(file.name) }))
  const count = new Map<string, number>()
  for (const { guess } of guessed) if (guess.slot) count.set(guess.slot, (count.get(guess.slot) ?? 0) + 1)
  const contrastKnown = count.has('t1c') || filled.includes('t1c')
  return guessed.map(({ file, guess }) => {
    if (guess.slot && (count.get(guess.slot) ?? 0) > 1)
      return { file, guess: { slot: null, why: 'Two files claim the same sequence by their names: choose.' } }
    if (guess.slot === 't1n' && !contrastKnown && isBareT1(file.name))
      return { file, guess: { slot: null, why: 'The name says T1, but not whether contrast was given: choose.' } }
    return { file, guess }
  })
}
