/** Window and level: which intensities are black and which are white. */

export interface Window {
  /** Shown black, and everything below it. */
  low: number
  /** Shown white, and everything above it. */
  high: number
}

export interface Range {
  min: number
  max: number
}

/** Pixels of dragging that move over the whole range of intensities. */
const PIXELS_FOR_ALL = 600

/** How far the intensities reach; an image of one value still needs some width. */
export const spanOf = ({ min, max }: Range): number => (max > min ? max - min : Math.max(Math.abs(max), 1))

export const widthOf = (window: Window): number => window.high - window.low
export const levelOf = (window: Window): number => (window.high + window.low) / 2

/** A window of this width and level, kept sensible: never empty, its middle inside the range. */
export function windowOf(width: number, level: number, range: Range): Window {
  const least = spanOf(range) / 1000
  const wide = Math.min(Math.max(width, least), 2 * spanOf(range))
  const middle = Math.min(Math.max(level, range.min), range.max)
  return { low: middle - wide / 2, high: middle + wide / 2 }
}

/** The window after a drag: to the right is wider (less contrast), up is a higher level (darker). */
export function dragged(window: Window, rightPixels: number, downPixels: number, range: Range): Window {
  const perPixel = spanOf(range) / PIXELS_FOR_ALL
  return windowOf(widthOf(window) + rightPixels * perPixel, levelOf(window) - downPixels * perPixel, range)
}

/** Voxels that are looked at to find a percentile: enough for three digits of it. */
const SAMPLE = 200_000

/** The value below which this share of the voxels lies that are not background, of about 200,000 of them. */
export function percentile(values: ArrayLike<number>, share: number): number {
  const step = Math.max(1, Math.floor(values.length / SAMPLE))
  const background = values[0] ?? 0 // the corner of a scan is air
  const found: number[] = []
  for (let at = 0; at < values.length; at += step) {
    const value = values[at] as number
    if (value !== background && Number.isFinite(value)) found.push(value)
  }
  found.sort((one, other) => one - other)
  return found[Math.min(found.length - 1, Math.floor(share * found.length))] ?? Number.NaN
}

/** FLAIR's fat and eyes are no brighter than a lesion may be: a wider window keeps both apart. */
const FLAIR_SHARE = 0.995

/** What is shown white when a sequence is first seen: the library's choice, but for FLAIR. */
export function firstHigh(
  key: string,
  usual: number,
  values: () => ArrayLike<number>,
  scale: { scl_slope?: number; scl_inter?: number },
): number {
  if (!key.startsWith('t2f')) return usual
  const stored = percentile(values(), FLAIR_SHARE)
  const high = stored * (scale.scl_slope || 1) + (scale.scl_inter ?? 0)
  return Number.isFinite(high) ? Math.max(high, usual) : usual
}

/** A number as people read it: three significant digits, no exponent. */
export function tidy(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 100 || value === 0) return String(Math.round(value))
  return String(Number(value.toPrecision(3)))
}
