import type { NVImage } from '@niivue/niivue'
import type { SceneAxis } from '../geometry'
import type { Lie } from './drawing'

/** How an image lies in the scene: its grid, and which file axis each scene axis is. */
export function lieOf(image: NVImage): Lie {
  const dims = image.hdr?.dims ?? []
  const rows = image.hdr?.affine ?? []
  const axis = (scene: number): SceneAxis => {
    const signed = image.permRAS?.[scene] ?? scene + 1
    return { fileAxis: Math.abs(signed) - 1, flipped: signed < 0 }
  }
  return {
    grid: {
      shape: [dims[1] ?? 0, dims[2] ?? 0, dims[3] ?? 0],
      affine: rows.slice(0, 3).map(([a = 0, b = 0, c = 0, d = 0]) => [a, b, c, d] as const),
    },
    order: [axis(0), axis(1), axis(2)],
  }
}
