/** What changed between two dates, as comparison.json has it (docs/reference/comparison.schema.json). */
import { Problem } from '../api/errors'
import { unzipped } from './unzip'

export interface Change {
  earlier_ml: number
  later_ml: number
  change_ml: number
  percent: number | null
  low_ml: number | null
  high_ml: number | null
  /** What may be said of it, in words. */
  direction: string
}
export interface Match {
  fate: string
  earlier: number[]
  later: number[]
  earlier_ml: number
  later_ml: number
}
export interface Step {
  registration: { sequence: string; rotation_deg: number; shift_mm: number }
  changes: Record<string, Change>
  lesions: Match[]
  sum_of_products_percent: number | null
  targets_note: string
}
export interface ComparisonFacts {
  limits: string
  interval_method: string
  cautions: string[]
  visits: { case_id: string; days: number | null }[]
  steps: [Step]
}

type Bytes = Uint8Array<ArrayBuffer>

/** Both dates on one grid: NIfTI files of bytes in RAS order. */
export interface Views {
  earlier: Bytes
  later: Bytes
  earlierLabels: Bytes
  laterLabels: Bytes
}

export interface Compared {
  facts: ComparisonFacts
  /** Name -> file, to be saved. */
  files: Map<string, Bytes>
  views: Views
}

/** The files to save, as a person reads them. */
export const SAVED: readonly [name: string, title: string][] = [
  ['report.html', 'Report'],
  ['changes.csv', 'Changes (CSV)'],
  ['comparison.json', 'All facts (JSON)'],
]

/** What a comparison's zip holds. Throws a sentence where something is missing. */
export async function comparedOf(zip: Blob): Promise<Compared> {
  const files = await unzipped(zip)
  const needed = (name: string): Bytes => {
    const found = files.get(name)
    if (!found) throw new Problem('server', `The server’s comparison lacks ${name}.`)
    return found
  }
  const facts = JSON.parse(new TextDecoder().decode(needed('comparison.json'))) as ComparisonFacts
  const views = {
    earlier: needed('earlier.nii'),
    later: needed('later.nii'),
    earlierLabels: needed('earlier-labels.nii'),
    laterLabels: needed('later-labels.nii'),
  }
  for (const [name] of SAVED) needed(name)
  return { facts, files, views }
}

/** A number with its sign, and a real minus; what is shown as 0 has none. */
export const signed = (value: number, digits: number): string => {
  const shown = Math.abs(value).toFixed(digits)
  return `${Number(shown) === 0 ? '' : value > 0 ? '+' : '−'}${shown}`
}

/** Millilitres and per cent of a change: +3.1 ml, +40 %. */
export const changeWords = ({ change_ml, percent }: Change): string =>
  `${signed(change_ml, Math.abs(change_ml) < 10 ? 2 : 1)} ml${percent === null ? '' : `, ${signed(percent, 0)} %`}`

/** Whether a change may be called one. */
export const isChange = ({ direction }: Change): boolean => direction === 'larger' || direction === 'smaller'

/** Lesions of a date: 1, 2; a dash where there is none. */
export const numbersOf = (numbers: readonly number[]): string => numbers.join(', ') || '–'

/** Which voxels belong to the tumour at which date: 1 only later, 2 only earlier, 3 both. */
export function differenceOf(earlier: Uint8Array, later: Uint8Array): Uint8Array {
  const both = new Uint8Array(later.length)
  for (let at = 0; at < both.length; at++) both[at] = (later[at] ? 1 : 0) + (earlier[at] ? 2 : 0)
  return both
}

/** The slice along an axis with most voxels of a mask; the middle one of an empty mask. */
export function fullestSlice(mask: Uint8Array, shape: readonly [number, number, number], axis: 0 | 1 | 2): number {
  const counts = new Uint32Array(shape[axis])
  const stride = [1, shape[0], shape[0] * shape[1]][axis] ?? 1
  for (let at = 0; at < mask.length; at++)
    if (mask[at]) {
      const slice = Math.floor(at / stride) % shape[axis]
      counts[slice] = (counts[slice] ?? 0) + 1
    }
  const most = Math.max(...counts)
  return most ? counts.indexOf(most) : Math.floor(shape[axis] / 2)
}
