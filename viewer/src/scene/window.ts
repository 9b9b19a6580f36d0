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

/** A number as people read it: three significant digits, no exponent. */
export function tidy(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 100 || value === 0) return String(Math.round(value))
  return String(Number(value.toPrecision(3)))
}
