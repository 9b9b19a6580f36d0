/** Numbers as people read them. */
import type { CaseOut, Volume } from '../api/types'

const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`

export function bytes(count: number): string {
  if (count < 1000) return plural(Math.round(count), 'byte')
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = count
  let unit = -1
  do {
    value /= 1000
    unit += 1
  } while (value >= 999.5 && unit < units.length - 1)
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}

/** 0.00 ml to two places below 10, one place above: about what the method can tell. */
export const ml = (value: number): string => (value === 0 ? '0' : value < 10 ? value.toFixed(2) : value.toFixed(1))

export const interval = (volume: Volume): string =>
  typeof volume.low_ml !== 'number' || typeof volume.high_ml !== 'number'
    ? ''
    : `${ml(volume.low_ml)} to ${ml(volume.high_ml)}`

export const percent = (share: number): string => `${Math.floor(Math.min(1, Math.max(0, share)) * 100)} %`

/** 8 s, 2 min 5 s, 1 h 4 min. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ''}`
  return `${Math.floor(whole / 3600)} h${Math.floor((whole % 3600) / 60) ? ` ${Math.floor((whole % 3600) / 60)} min` : ''}`
}

/** How long it may take still, no finer than it is known. */
export function roughly(seconds: number): string {
  if (seconds < 10) return 'a few seconds'
  if (seconds <= 50) return `about ${Math.ceil(seconds / 10) * 10} s`
  if (seconds < 3600) return `about ${plural(Math.ceil(seconds / 60), 'minute')}`
  return `about ${plural(Math.ceil(seconds / 3600), 'hour')}`
}

/** 3 s ago, just now. */
export const ago = (seconds: number): string => (seconds < 1.5 ? 'just now' : `${duration(seconds)} ago`)

export const moment = (at: number): string =>
  new Date(at * 1000).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })

/** 240 x 240 x 155 with multiplication signs. */
export const shape = (of: readonly number[]): string => of.join(' × ')

export const spacing = (of: readonly number[]): string => `${of.map((mm) => +mm.toFixed(2)).join(' × ')} mm`

export { plural }

/** A phrase as the beginning of a sentence. */
export const firstUpper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** What a case is called: the user's name for it, else its number. */
export const caseName = (found: Pick<CaseOut, 'label' | 'number'>): string => found.label || `Case ${found.number}`

/** Where volumes and their intervals come from. */
export const aboutVolumes = (found: CaseOut, version: number): string =>
  version > 0
    ? 'Counted from your corrected mask.'
    : `Interval: ${found.interval_method ?? 'from what the model is sure of to what it thinks possible; it is not calibrated'}.`
