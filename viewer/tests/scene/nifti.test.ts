import { gunzipSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { MaskError, packed, readMask, writeMask } from '../../src/scene/nifti'

interface Making {
  shape?: number[]
  kind?: number
  bits?: number
  slope?: number
  offset?: number
  little?: boolean
  values?: number[]
}

/** A NIfTI-1 file of 2 x 3 x 2 voxels whose affine turns the axes. */
function made({
  shape = [2, 3, 2],
  kind = 2,
  bits = 8,
  slope = 1,
  offset = 0,
  little = true,
  values = Array.from({ length: 12 }, (_value, index) => index % 5),
}: Making = {}): Uint8Array {
  const bytes = new Uint8Array(352 + (values.length * bits) / 8)
  const view = new DataView(bytes.buffer)
  view.setInt32(0, 348, little)
  view.setInt16(40, shape.length, little)
  for (const [axis, length] of shape.entries()) view.setInt16(42 + 2 * axis, length, little)
  view.setInt16(70, kind, little)
  view.setInt16(72, bits, little)
  view.setFloat32(108, 352, little)
  view.setFloat32(112, slope, little)
  view.setFloat32(116, offset, little)
  view.setInt16(254, 1, little)
  const rows = [
    [0, 0, -2, 7],
    [1.5, 0, 0, -8],
    [0, 1, 0, 9],
  ]
  for (const [index, row] of rows.entries())
    for (const [column, value] of row.entries()) view.setFloat32(280 + 16 * index + 4 * column, value, little)
  bytes.set(new TextEncoder().encode('kept'), 148)
  bytes.set([0x6e, 0x2b, 0x31, 0], 344)
  for (const [index, value] of values.entries()) {
    const at = 352 + (index * bits) / 8
    if (kind === 16) view.setFloat32(at, value, little)
    else if (bits === 16) view.setInt16(at, value, little)
    else view.setUint8(at, value)
  }
  return bytes
}

describe('readMask', () => {
  it.each([
    ['uint8', {}],
    ['int16', { kind: 4, bits: 16 }],
    ['int16, big-endian', { kind: 4, bits: 16, little: false }],
    ['float32', { kind: 16, bits: 32 }],
  ] as [string, Making][])('%s', async (_name, making) => {
    const mask = await readMask(made(making))
    expect([...mask.labels]).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1])
    expect(mask.grid.shape).toEqual([2, 3, 2])
    expect(mask.grid.affine[0]).toEqual([0, 0, -2, 7])
  })
  it('unpacks', async () => {
    expect((await readMask(gzipSync(made()))).labels[4]).toBe(4)
  })
  it('applies a scale, and none where the header has none', async () => {
    expect((await readMask(made({ slope: 2, offset: 1, values: Array(12).fill(1) }))).labels[0]).toBe(3)
    expect((await readMask(made({ slope: 0, offset: 9, values: Array(12).fill(1) }))).labels[0]).toBe(1)
  })
  it.each([
    ['no NIfTI at all', new Uint8Array(400)],
    ['too short', made().slice(0, 360)],
    ['fractions', made({ kind: 16, bits: 32, values: Array(12).fill(0.5) })],
    ['negative', made({ kind: 4, bits: 16, values: Array(12).fill(-1) })],
    ['colours', made({ kind: 128, bits: 8 })],
    ['four dimensions', made({ shape: [2, 3, 1, 2] })],
    ['an impossible size', made({ shape: [32000, 32000, 32000] })],
  ])('refuses %s', async (_name, file) => {
    await expect(readMask(file)).rejects.toBeInstanceOf(MaskError)
  })
})

describe('writeMask', () => {
  it.each([true, false])('keeps the header (little-endian: %s) and changes the labels', async (little) => {
    const mask = await readMask(made({ kind: 4, bits: 16, little }))
    const labels = mask.labels.map((label) => (label === 4 ? 1 : label))
    const file = writeMask(mask, labels)
    const again = await readMask(file)
    expect([...again.labels]).toEqual([...labels])
    expect(again.grid).toEqual(mask.grid)
    const changed = [...mask.header.keys()].filter((at) => mask.header[at] !== file[at])
    expect(changed.every((at) => at >= 70 && at < 74)).toBe(true)
  })
  it('refuses labels of another size', async () => {
    const mask = await readMask(made())
    expect(() => writeMask(mask, new Uint8Array(5))).toThrow(MaskError)
  })
  it('packs what any program unpacks', async () => {
    const file = made()
    expect(new Uint8Array(gunzipSync(await packed(file)))).toEqual(file)
  })
})
