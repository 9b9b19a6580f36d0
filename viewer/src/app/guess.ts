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
const NEGATIONS = new Set<string>(TABLE.negations)
const NEGATIONS_AT_END = new Set<string>(TABLE.negationsAtEnd)
const FILLERS = new Set<string>(TABLE.fillers)
const OTHER = new Set<string>(TABLE.other)
const OTHER_IN_TEXT = new Set<string>(TABLE.otherInText)
const NEUTRAL = new Set<string>(TABLE.neutral)
const LABELS = new Set<string>(TABLE.labels)
const AFTER_AGENT = new Set(['none', 'no', 'free', 'neg', 'negative'])
const BIDS_LEAD = /^sub-[a-z0-9]+(?:_ses-[a-z0-9]+)?(?=_)/i

/** As `words_of` of hope.contract.sequences. */
function wordsOf(text: string): string[] {
  let plain = text
    .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toLowerCase()
    .replaceAll('_', ' ')
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

/** What the words say of contrast: true, false, both or nothing. */
function contrastOf(words: readonly string[]): Set<boolean> {
  const said = new Set<boolean>()
  let skip = 0
  words.forEach((word, place) => {
    if (place < skip) return
    let after = place + 1
    while (after < words.length && FILLERS.has(words[after] ?? '')) after++
    const following = words[after] ?? ''
    if ((word === 'post' || word === 'pre') && NOT_CONTRAST.has(following)) skip = after + 1
    else if (NEGATIONS.has(word) && (CONTRAST.has(following) || following === 'c')) {
      said.add(false)
      skip = after + 1
    } else if (NATIVE.has(word) || word === 'pre' || (NEGATIONS_AT_END.has(word) && !following)) said.add(false)
    else if (CONTRAST.has(word) && AFTER_AGENT.has(following)) {
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
  const said = contrastOf(words)
  for (const [, contrast] of named) if (contrast !== null) said.add(contrast)
  const [weighting = ''] = weightings
  if (weighting !== '' && weighting !== 't1') return { weighting, contrast: null, contradiction: false }
  const [only] = said
  return { weighting, contrast: said.size === 1 ? (only ?? null) : null, contradiction: said.size > 1 }
}

/** As `read_stem` of hope.contract.sequences. */
function readStem(stem: string): Words & { bids: boolean; mask: boolean } {
  const bids = BIDS_LEAD.exec(stem)
  const words = wordsOf(bids ? stem.slice(bids[0].length) : stem)
  const isMask = (counted: readonly string[]) => counted.some((word) => LABELS.has(word))
  if (bids) return { ...readWords(words, 0), bids: true, mask: isMask(words) }
  let first = words.findIndex((word) => ALIASES.has(word))
  if (first < 0) first = words.findIndex(isOther)
  if (first < 0) first = words.length
  const known = (word: string) =>
    NEUTRAL.has(word) ||
    CONTRAST.has(word) ||
    NATIVE.has(word) ||
    NEGATIONS.has(word) ||
    isOther(word) ||
    word === 'post' ||
    word === 'pre'
  // Words on contrast count where they stand beside the sequence; further left they may be a person or a project.
  while (first > 0 && known(words[first - 1] ?? '')) first--
  const counted = words.slice(first)
  const named = counted.findIndex((word) => ALIASES.has(word))
  return { ...readWords(counted, named < 0 ? counted.length : named), bids: false, mask: isMask(counted) }
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
