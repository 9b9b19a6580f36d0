/** Diameters of lesions as the facts of a result hold them (docs/reference/measurements.schema.json). */
import type { FileOut } from '../api/types'

export interface Chord {
  mm: number
  low_mm: number
  high_mm: number
  ends_ras_mm: readonly [Point, Point]
}
export type Point = [number, number, number]
export interface PlaneDiameters {
  plane: 'axial' | 'coronal' | 'sagittal'
  file_axis: number
  slice_index: number
  long: Chord
  short: Chord
  product_mm2: number
}
export interface Lesion {
  number: number
  ml: number
  centre_ras_mm: Point
  measurable: boolean
  near_limit: boolean
  target: boolean
  planes: PlaneDiameters[]
}
export interface Measured {
  rule: {
    region: string
    cysts: 'outer' | 'solid'
    three_planes: boolean
    least_mm: number
    least_ml: number
    targets: number
  }
  lesions: Lesion[]
  smaller: number
  sum_of_products_mm2: number
  sum_of_longest_mm: number
}

/** What was measured, of a file with all facts; null where an earlier version measured nothing. */
export function measuredOf(facts: unknown): Measured | null {
  if (!facts || typeof facts !== 'object' || !('measurements' in facts)) return null
  const found = facts.measurements as Partial<Measured> | null
  return found?.rule && Array.isArray(found.lesions) ? (found as Measured) : null
}

/** The file with the facts of the mask that is current. */
export const factsName = (files: readonly FileOut[], version: number): string | null =>
  files.find(({ role, version: of }) => role === (version ? 'corrected-facts' : 'facts') && of === version)?.name ??
  null

export const axialOf = (lesion: Lesion): PlaneDiameters | undefined =>
  lesion.planes.find(({ plane }) => plane === 'axial')

/** Where to look for a lesion: the middle of its longest axial diameter, else its centre. */
export function placeOf(lesion: Lesion): Point {
  const ends = axialOf(lesion)?.long.ends_ras_mm
  return ends ? ([0, 1, 2].map((at) => ((ends[0][at] ?? 0) + (ends[1][at] ?? 0)) / 2) as Point) : lesion.centre_ras_mm
}

/** Whether it counts as measurable, and whether one voxel could change that, in words. */
export function measurableWords({ measurable, near_limit, planes }: Lesion): string {
  if (!planes.length) return 'no: nothing of it is solid'
  return `${measurable ? 'yes' : 'no'}${near_limit ? ', near the limit' : ''}`
}

/** How lesions were found and measured, in one sentence. */
export function ruleSentence({ rule }: Measured): string {
  const cysts = rule.cysts === 'outer' ? 'by their outer contour, cysts included' : 'by their solid wall, without cysts'
  const planes = rule.three_planes ? 'in all three planes' : 'in the axial plane'
  return `Lesions are connected parts of ${rule.region}, measured ${cysts}; measurable from ${rule.least_mm} × ${rule.least_mm} mm ${planes}. The sums are of at most ${rule.targets} targets.`
}
