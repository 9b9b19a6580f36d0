/** Diameters whose ends the user may move: what is drawn, what the numbers are then, and the table to save. Pure. */
import type { Chord, Lesion, Measured, PlaneDiameters, Point } from './measured'

export type Ends = readonly [Point, Point]
export type Kind = 'long' | 'short'
const KINDS: readonly Kind[] = ['long', 'short']

/** The ends of lines that were moved, by the key of the line. */
export type MovedEnds = ReadonlyMap<string, Ends>

/** One line on its slice. `kind` is what it was computed as: it keeps its name when it becomes the shorter one. */
export interface DiameterLine {
  key: string
  lesion: number
  plane: PlaneDiameters['plane']
  kind: Kind
  ends: Ends
  moved: boolean
}

/** What the pictures draw, and how they tell that an end was moved. */
export interface DiameterLines {
  lines: readonly DiameterLine[]
  /** What stands beside a lesion's lines in a plane. */
  words: (lesion: number, plane: PlaneDiameters['plane']) => string
  move: (key: string, ends: Ends) => void
}

export const MOVED = 'moved by hand'

export const keyOf = (lesion: number, plane: string, kind: Kind): string => `${lesion} ${plane} ${kind}`

export const lengthMm = ([from, to]: Ends): number => Math.hypot(to[0] - from[0], to[1] - from[1], to[2] - from[2])

/** Every line of every lesion, moved ones where they are now. */
export function linesOf({ lesions }: Measured, moved: MovedEnds): DiameterLine[] {
  return lesions.flatMap(({ number, planes }) =>
    planes.flatMap((sizes) =>
      KINDS.map((kind) => {
        const key = keyOf(number, sizes.plane, kind)
        const ends = moved.get(key)
        const line = { key, lesion: number, plane: sizes.plane, kind }
        return { ...line, ends: ends ?? sizes[kind].ends_ras_mm, moved: ends !== undefined }
      }),
    ),
  )
}

export interface PlaneNow extends PlaneDiameters {
  moved: boolean
  /** Between both lines; 90 where they were computed. */
  degrees: number
}
export interface LesionNow extends Lesion {
  planes: PlaneNow[]
  moved: boolean
}
export interface MeasuredNow extends Measured {
  lesions: LesionNow[]
  /** One of the lesions in the sums was moved. */
  sumsMoved: boolean
}

function degreesBetween(one: Ends, other: Ends): number {
  const along = ([from, to]: Ends): Point => [to[0] - from[0], to[1] - from[1], to[2] - from[2]]
  const [a, b] = [along(one), along(other)]
  const lengths = Math.hypot(...a) * Math.hypot(...b)
  if (!lengths) return 0
  const cosine = Math.abs(a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / lengths
  return (180 / Math.PI) * Math.acos(Math.min(1, cosine))
}

function planeNow(number: number, sizes: PlaneDiameters, moved: MovedEnds): PlaneNow {
  const [first, second] = KINDS.map((kind): Chord => {
    const ends = moved.get(keyOf(number, sizes.plane, kind))
    return ends ? { ...sizes[kind], mm: lengthMm(ends), ends_ras_mm: ends } : sizes[kind]
  }) as [Chord, Chord]
  if (first === sizes.long && second === sizes.short) return { ...sizes, moved: false, degrees: 90 }
  const [long, short] = first.mm >= second.mm ? [first, second] : [second, first]
  const degrees = degreesBetween(long.ends_ras_mm, short.ends_ras_mm)
  return { ...sizes, long, short, product_mm2: long.mm * short.mm, moved: true, degrees }
}

/** The measurements with the lines as they are now; which lesions are targets stays as it was computed. */
export function measuredNow(measured: Measured, moved: MovedEnds): MeasuredNow {
  const { rule } = measured
  const lesions = measured.lesions.map((lesion): LesionNow => {
    const planes = lesion.planes.map((sizes) => planeNow(lesion.number, sizes, moved))
    if (!planes.some((sizes) => sizes.moved)) return { ...lesion, planes, moved: false }
    const complete = planes.length === (rule.three_planes ? 3 : 1)
    const measurable = complete && planes.every(({ short }) => short.mm >= rule.least_mm)
    return { ...lesion, planes, moved: true, measurable, near_limit: false }
  })
  const axials = lesions.flatMap(({ target, planes }) =>
    target ? planes.filter(({ plane }) => plane === 'axial') : [],
  )
  const sumsMoved = axials.some((sizes) => sizes.moved)
  const sum = (of: (sizes: PlaneNow) => number) => axials.reduce((total, sizes) => total + of(sizes), 0)
  return {
    ...measured,
    lesions,
    sumsMoved,
    sum_of_products_mm2: sumsMoved ? sum(({ product_mm2 }) => product_mm2) : measured.sum_of_products_mm2,
    sum_of_longest_mm: sumsMoved ? sum(({ long }) => long.mm) : measured.sum_of_longest_mm,
  }
}

/** What stands beside a lesion's lines. */
export function wordsOf({ lesions }: MeasuredNow, lesion: number, plane: PlaneDiameters['plane']): string {
  const sizes = lesions.find(({ number }) => number === lesion)?.planes.find((one) => one.plane === plane)
  if (!sizes) return ''
  const size = `${sizes.long.mm.toFixed(1)} × ${sizes.short.mm.toFixed(1)} mm`
  return `${lesion}: ${size}${sizes.moved ? `, ${MOVED}` : ''}`
}

const COLUMNS = [
  ...['lesion', 'ml', 'measurable', 'near_limit', 'target', 'plane', 'file_axis', 'slice_index'],
  ...['long_mm', 'long_low_mm', 'long_high_mm', 'short_mm', 'short_low_mm', 'short_high_mm', 'product_mm2'],
  ...['moved_by_hand', 'degrees_apart'],
]

const yesNo = (value: boolean): string => (value ? 'yes' : 'no')
const rounded = (value: number): string => String(Number(value.toFixed(2)))

/** The columns of the server's lesions.csv, and whether a line was moved; the range of a moved one is not known. */
export function csvOf({ lesions }: MeasuredNow): string {
  const rows = lesions.flatMap((lesion) => {
    const { number, ml, measurable, near_limit, target, moved } = lesion
    const near = moved ? '' : yesNo(near_limit)
    const head = [String(number), String(ml), yesNo(measurable), near, yesNo(target)]
    if (!lesion.planes.length) return [[...head, ...Array<string>(10).fill(''), 'no', '']]
    return lesion.planes.map((sizes) => {
      const chords = [sizes.long, sizes.short].flatMap(({ mm, low_mm, high_mm }) => {
        const range = sizes.moved ? ['', ''] : [rounded(low_mm), rounded(high_mm)]
        return [rounded(mm), ...range]
      })
      const place = [sizes.plane, String(sizes.file_axis), String(sizes.slice_index)]
      const last = [rounded(sizes.product_mm2), yesNo(sizes.moved), sizes.moved ? rounded(sizes.degrees) : '90']
      return [...head, ...place, ...chords, ...last]
    })
  })
  return `${[COLUMNS, ...rows].map((row) => row.join(',')).join('\n')}\n`
}
