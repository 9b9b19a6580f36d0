/**
 * A label file as bytes: NIfTI-1, read and written by ourselves.
 *
 * The viewer's library could write masks too, but with the header of the image on screen. A corrected mask has to go
 * back with the very header of the mask it came from, so that grid and affine are the same to the last bit.
 */
import type { Affine, Grid, Vec3 } from './geometry'

const HEADER = 348
const DATA_AT = 352
const UINT8 = 2
const MOST_VOXELS = 1 << 30

type Reader = (view: DataView, at: number, little: boolean) => number
const READERS: Record<number, [bytes: number, read: Reader]> = {
  2: [1, (view, at) => view.getUint8(at)],
  4: [2, (view, at, little) => view.getInt16(at, little)],
  8: [4, (view, at, little) => view.getInt32(at, little)],
  16: [4, (view, at, little) => view.getFloat32(at, little)],
  64: [8, (view, at, little) => view.getFloat64(at, little)],
  256: [1, (view, at) => view.getInt8(at)],
  512: [2, (view, at, little) => view.getUint16(at, little)],
  768: [4, (view, at, little) => view.getUint32(at, little)],
}

export interface Mask {
  grid: Grid
  /** Labels in file order. */
  labels: Uint8Array
  /** The file's first 348 bytes, as they were. */
  header: Uint8Array
}

/** The file is no mask that the viewer can show; `message` is a whole sentence. */
export class MaskError extends Error {}

const gzipped = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b

async function through(bytes: Uint8Array, stream: GenericTransformStream): Promise<Uint8Array<ArrayBuffer>> {
  const body = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(stream)
  return new Uint8Array(await new Response(body).arrayBuffer())
}

/** The bytes unpacked, if they are packed. */
export const unpacked = async (bytes: Uint8Array): Promise<Uint8Array> =>
  gzipped(bytes) ? through(bytes, new DecompressionStream('gzip')) : bytes
/** The bytes as a gzip file. */
export const packed = (bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> =>
  through(bytes, new CompressionStream('gzip'))

function quaternionRows(view: DataView, little: boolean): Affine {
  const float = (at: number): number => view.getFloat32(at, little)
  const [b, c, d] = [float(256), float(260), float(264)]
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d))
  const handed = float(76) < 0 ? -1 : 1
  const [x, y, z] = [float(80), float(84), float(88) * handed]
  return [
    [(a * a + b * b - c * c - d * d) * x, 2 * (b * c - a * d) * y, 2 * (b * d + a * c) * z, float(268)],
    [2 * (b * c + a * d) * x, (a * a + c * c - b * b - d * d) * y, 2 * (c * d - a * b) * z, float(272)],
    [2 * (b * d - a * c) * x, 2 * (c * d + a * b) * y, (a * a + d * d - b * b - c * c) * z, float(276)],
  ]
}

function affineOf(view: DataView, little: boolean): Affine {
  const float = (at: number): number => view.getFloat32(at, little)
  if (view.getInt16(254, little) > 0)
    return [280, 296, 312].map((at) => [float(at), float(at + 4), float(at + 8), float(at + 12)] as const)
  if (view.getInt16(252, little) > 0) return quaternionRows(view, little)
  return [
    [float(80), 0, 0, 0],
    [0, float(84), 0, 0],
    [0, 0, float(88), 0],
  ]
}

function shapeOf(view: DataView, little: boolean): Vec3 {
  const lengths = [1, 2, 3, 4, 5, 6, 7].map((axis) => view.getInt16(40 + 2 * axis, little))
  const axes = view.getInt16(40, little)
  const [x, y, z] = lengths.map((length, axis) => (axis < axes ? length : 1)) as [number, number, number]
  if (lengths.slice(3, Math.max(axes, 3)).some((length) => length > 1))
    throw new MaskError('This mask has more than three dimensions.')
  if (Math.min(x, y, z) < 1 || x * y * z > MOST_VOXELS) throw new MaskError('This mask has an impossible size.')
  return [x, y, z]
}

/** A mask from a NIfTI-1 file, packed or not. Labels must be whole numbers from 0 to 255. */
export async function readMask(file: Uint8Array): Promise<Mask> {
  const bytes = await unpacked(file)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const little = bytes.length >= DATA_AT && view.getInt32(0, true) === HEADER
  if (!little && (bytes.length < DATA_AT || view.getInt32(0, false) !== HEADER))
    throw new MaskError('This mask is no NIfTI file.')
  const shape = shapeOf(view, little)
  const kind = READERS[view.getInt16(70, little)]
  if (!kind) throw new MaskError('This mask holds no plain numbers.')
  const [size, read] = kind
  const from = Math.max(DATA_AT, Math.round(view.getFloat32(108, little)))
  const count = shape[0] * shape[1] * shape[2]
  if (bytes.length < from + count * size) throw new MaskError('This mask ends too early.')
  const factor = view.getFloat32(112, little)
  const scaled = Number.isFinite(factor) && factor !== 0 // otherwise the format says: take the numbers as they are
  const [slope, offset] = scaled ? [factor, view.getFloat32(116, little)] : [1, 0]
  const labels = new Uint8Array(count)
  for (let index = 0; index < count; index++) {
    const value = read(view, from + index * size, little) * slope + offset
    const label = Math.round(value)
    if (!(Math.abs(value - label) < 1e-3 && label >= 0 && label < 256))
      throw new MaskError('This mask holds values that are no labels.')
    labels[index] = label
  }
  return { grid: { shape, affine: affineOf(view, little) }, labels, header: bytes.slice(0, HEADER) }
}

/** A NIfTI-1 file (not packed) with other labels and the same header, except for how numbers are stored. */
export function writeMask(mask: Mask, labels: Uint8Array): Uint8Array {
  if (labels.length !== mask.labels.length) throw new MaskError('The labels do not fit the mask they are written for.')
  const bytes = new Uint8Array(DATA_AT + labels.length)
  bytes.set(mask.header)
  const view = new DataView(bytes.buffer)
  const little = view.getInt32(0, true) === HEADER
  view.setInt16(70, UINT8, little)
  view.setInt16(72, 8, little)
  view.setFloat32(108, DATA_AT, little)
  view.setFloat32(112, 1, little)
  view.setFloat32(116, 0, little)
  bytes.set([0x6e, 0x2b, 0x31, 0], 344) // "n+1": header and data in one file
  bytes.set(labels, DATA_AT)
  return bytes
}
