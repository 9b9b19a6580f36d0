/** An image file as the library holds it. */
import { NVImage } from '@niivue/niivue'
import type { Stack } from '../cuts'
import { FULL_AT, SEEN_FROM, STOPS } from '../uncertaintymap'
import { firstHigh, type Range, type Window } from '../window'

export interface Picture {
  image: NVImage
  initial: Window
  range: Range
}

/** Read an image file; throws if it is none. */
export async function readPicture(key: string, file: Uint8Array<ArrayBuffer>): Promise<Picture> {
  const image = await NVImage.loadFromUrl({ url: file.buffer, name: `${key}.nii.gz`, colormap: 'gray' })
  const low = image.cal_min ?? 0
  const high = firstHigh(key, image.cal_max ?? 1, () => image.img ?? [], image.hdr ?? {})
  image.cal_max = high
  const range = { min: image.global_min ?? low, max: image.global_max ?? high }
  return { image, initial: { low, high }, range }
}

/** The name under which the library knows the colours of a map. */
export const MAP_COLOURS = 'uncertainty'

/** The library's `COLORMAP_TYPE.ZERO_TO_MAX_TRANSPARENT_BELOW_MIN`, which it does not export. */
const TRANSPARENT_BELOW_MIN = 1

/** Colours of a map in the library's form. */
export function mapColours(): { R: number[]; G: number[]; B: number[]; A: number[]; I: number[] } {
  const part = (at: 0 | 1 | 2 | 3) => STOPS.map((stop) => stop[at])
  const steps = STOPS.map((_, at) => Math.round((255 * at) / (STOPS.length - 1)))
  return { R: part(0), G: part(1), B: part(2), A: part(3), I: steps }
}

/** A picture as a map: in colours, and transparent where it is low. */
export function asMap(picture: Picture): Picture {
  const { image } = picture
  image.colormap = MAP_COLOURS
  image.colormapType = TRANSPARENT_BELOW_MIN
  image.cal_min = SEEN_FROM
  image.cal_max = FULL_AT
  return picture
}

/** Its voxels in file order, and what is black and white. */
export const stackOf = ({ image }: Picture): Stack => ({
  values: image.img ?? [],
  slope: image.hdr?.scl_slope || 1,
  inter: image.hdr?.scl_inter ?? 0,
  window: { low: image.cal_min ?? 0, high: image.cal_max ?? 1 },
})
