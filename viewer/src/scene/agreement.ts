/** How far two masks of one scan agree. Pure. */

export interface Agreement {
  key: string
  name: string
  /** 2 x shared / (one + other); null where neither has any of it. */
  dice: number | null
  /** Voxels of the first and not of the second, and the other way round. */
  onlyFirst: number
  onlySecond: number
}

export interface Part {
  key: string
  name: string
  /** Label values that belong to it. */
  labels: readonly number[]
}

/** Dice and differences of each part; both masks list the same voxels in the same order. */
export function agreement(first: Uint8Array, second: Uint8Array, parts: readonly Part[]): Agreement[] {
  if (first.length !== second.length) throw new RangeError('the masks have not the same voxels')
  const pairs = new Uint32Array(256 * 256)
  for (let at = 0; at < first.length; at++) {
    const pair = 256 * (first[at] as number) + (second[at] as number)
    pairs[pair] = (pairs[pair] as number) + 1
  }
  return parts.map(({ key, name, labels }) => {
    const inside = new Set(labels)
    let [shared, onlyFirst, onlySecond] = [0, 0, 0]
    for (let pair = 1; pair < pairs.length; pair++) {
      const count = pairs[pair] as number
      if (!count) continue
      const [one, other] = [inside.has(pair >> 8), inside.has(pair & 255)]
      if (one && other) shared += count
      else if (one) onlyFirst += count
      else if (other) onlySecond += count
    }
    const all = 2 * shared + onlyFirst + onlySecond
    return { key, name, dice: all ? (2 * shared) / all : null, onlyFirst, onlySecond }
  })
}
