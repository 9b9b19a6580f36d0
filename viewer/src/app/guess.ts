/** Which slot a file belongs to, by its name. Done here, in the browser: the name is never sent. */
import type { SequenceKey } from '../api/types'

export type Guess = { slot: SequenceKey } | { slot: 'dicom' } | { slot: null; why: string }

const NIFTI = /\.nii(\.gz)?$/i
const WORDS: readonly [RegExp, SequenceKey][] = [
  [/^(flair|t2f|t2flair|t2tirm|darkfluid)$/, 't2f'],
  [/^(t1c|t1ce|t1gd|t1post|t1km|t1contrast|t1wce|t1cw|t1wc)$/, 't1c'],
  [/^(t1n|t1|t1w|t1pre|t1native)$/, 't1n'],
  [/^(t2w|t2|t2tse|t2fse)$/, 't2w'],
]
const CONTRAST = /^(ce|gd|gad|post|postcontrast|contrast|km|postgad|gadolinium)$/
const WITHOUT = /^(pre|native|no|non|without|none)$/
const LABELS = /^(seg|dseg|segmentation|label|labels|mask|brainmask|roi)$/

/** The slot that a file's name speaks for. */
export function guessSlot(name: string): Guess {
  if (/\.zip$/i.test(name)) return { slot: 'dicom' }
  if (/\.(dcm|ima)$/i.test(name))
    return { slot: null, why: 'This is a single DICOM file: put all DICOM files of the examination into one zip.' }
  if (!NIFTI.test(name)) return { slot: null, why: 'This is neither NIfTI (.nii, .nii.gz) nor a zip with DICOM files.' }
  const parts = name
    .replace(NIFTI, '')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(Boolean)
  if (parts.some((part) => LABELS.test(part)))
    return { slot: null, why: 'By its name this is a mask, which is no input.' }
  const found = new Set<SequenceKey>()
  for (const part of parts) for (const [pattern, slot] of WORDS) if (pattern.test(part)) found.add(slot)
  if (found.has('t2f')) found.delete('t2w')
  if (found.has('t1c')) found.delete('t1n')
  const enhanced = parts.some((part) => CONTRAST.test(part)) && !parts.some((part) => WITHOUT.test(part))
  if (enhanced && found.delete('t1n')) found.add('t1c')
  const [only] = found
  if (found.size === 1 && only) return { slot: only }
  return { slot: null, why: 'The name does not say which sequence this is: choose it.' }
}

/** Guesses for several files at once; of two that claim one slot neither gets it. */
export function guessAll(files: readonly File[]): { file: File; guess: Guess }[] {
  const guessed = files.map((file) => ({ file, guess: guessSlot(file.name) }))
  const count = new Map<string, number>()
  for (const { guess } of guessed) if (guess.slot) count.set(guess.slot, (count.get(guess.slot) ?? 0) + 1)
  return guessed.map(({ file, guess }) =>
    guess.slot && (count.get(guess.slot) ?? 0) > 1
      ? { file, guess: { slot: null, why: 'Two files claim the same sequence by their names: choose.' } }
      : { file, guess },
  )
}
