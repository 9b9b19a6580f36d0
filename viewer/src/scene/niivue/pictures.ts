/** An image file as the library holds it. */
import { NVImage } from '@niivue/niivue'
import type { Stack } from '../cuts'
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

/** Its voxels in file order, and what is black and white. */
export const stackOf = ({ image }: Picture): Stack => ({
  values: image.img ?? [],
  slope: image.hdr?.scl_slope || 1,
  inter: image.hdr?.scl_inter ?? 0,
  window: { low: image.cal_min ?? 0, high: image.cal_max ?? 1 },
})
