import { expect, it, vi } from 'vitest'
import { brainOf } from '../../src/scene/brain'
import { writeMask } from '../../src/scene/nifti'
import type { SequenceHost } from '../../src/scene/sequences'

const affine = [
  [1, 0, 0, 0],
  [0, 1, 0, 0],
  [0, 0, 1, 0],
] as const
const header = () => {
  const bytes = new Uint8Array(348)
  const view = new DataView(bytes.buffer)
  view.setInt32(0, 348, true)
  for (const [at, size] of [3, 2, 1, 1, 1, 1, 1, 1].entries()) view.setInt16(40 + 2 * at, size, true)
  for (const at of [80, 84, 88]) view.setFloat32(at, 1, true)
  return bytes
}
const file = writeMask(
  { grid: { shape: [2, 1, 1], affine }, labels: new Uint8Array(2), header: header() },
  Uint8Array.of(1, 0),
)

/** A panel whose pictures have this many voxels across, and run backwards in the scene. */
function host(across: number, files = [{ role: 'brain-view', name: 'b' }], bytes = file) {
  const say = vi.fn()
  const order = [0, 1, 2].map((fileAxis) => ({ fileAxis, flipped: fileAxis === 0 }))
  const viewer = { imageGrid: () => ({ shape: [across, 1, 1], affine }), whole: () => ({ order }) }
  const source = { files, bytes: async () => bytes }
  return { say, host: { source, viewer: () => viewer, say } as unknown as SequenceHost }
}

it('is read into the order of the scene', async () => {
  expect(await brainOf(host(2).host)).toEqual(Uint8Array.of(0, 1))
})

it('is none where the case has none', async () => {
  const { host: without, say } = host(2, [])
  expect(await brainOf(without)).toBeNull()
  expect(say).not.toHaveBeenCalled()
})

it.each([
  ['on another grid', file, /grid of the pictures/],
  ['that is no image', new Uint8Array(3), /no NIfTI/],
])('is none %s, which is said', async (_, bytes, why) => {
  const { host: other, say } = host(3, undefined, bytes)
  expect(await brainOf(other)).toBeNull()
  expect(say).toHaveBeenCalledWith('error', expect.stringMatching(why))
})
