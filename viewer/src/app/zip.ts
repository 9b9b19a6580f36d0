/** Files as one zip, stored and not packed, put together of the files themselves: no copy in memory. */
import { Problem } from '../api/errors'

const LATIN = new TextEncoder()
/** Beyond these sizes a zip needs another form; the server takes less of both. */
const MOST_BYTES = 0xffffffff
const MOST_FILES = 0xffff

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  return value
})

/** CRC-32 of more bytes; begin with 0. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let value = ~before
  for (const byte of bytes) value = (TABLE[(value ^ byte) & 0xff] ?? 0) ^ (value >>> 8)
  return ~value >>> 0
}

async function crcOf(file: Blob): Promise<number> {
  let value = 0
  const reader = file.stream().getReader()
  for (let part = await reader.read(); !part.done; part = await reader.read()) value = crc32(part.value, value)
  return value
}

function entry(signature: number, name: Uint8Array, crc: number, size: number, at?: number): Uint8Array<ArrayBuffer> {
  const central = at !== undefined
  const bytes = new Uint8Array((central ? 46 : 30) + name.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, signature, true)
  let place = 4
  const put = (...values: [number, 2 | 4][]) => {
    for (const [value, width] of values) {
      if (width === 2) view.setUint16(place, value, true)
      else view.setUint32(place, value, true)
      place += width
    }
  }
  if (central) put([20, 2])
  // Version 2.0, no flags, stored, and the first day that a zip can name: when the files were made stays here.
  put([20, 2], [0, 2], [0, 2], [0, 2], [0x21, 2], [crc, 4], [size, 4], [size, 4], [name.length, 2], [0, 2])
  if (central) put([0, 2], [0, 2], [0, 2], [0, 4], [at, 4])
  bytes.set(name, place)
  return bytes
}

/**
 * A zip of the files under numbers: their names and folders stay in the browser.
 * `onShare` tells 0 to 1. Throws a sentence if they are none or too many.
 */
export async function zipOf(files: readonly Blob[], onShare: (share: number) => void = () => {}): Promise<Blob> {
  const total = files.reduce((sum, file) => sum + file.size, 0)
  if (!files.length) throw new Problem('refused', 'There are no files to send.')
  if (total > MOST_BYTES - 2 ** 24 || files.length > MOST_FILES)
    throw new Problem('refused', 'Too much for one zip: choose one examination.')
  const parts: BlobPart[] = []
  const central: Uint8Array<ArrayBuffer>[] = []
  let at = 0
  for (const [index, file] of files.entries()) {
    const name = LATIN.encode(`${String(index + 1).padStart(5, '0')}.dcm`)
    const crc = await crcOf(file)
    const head = entry(0x04034b50, name, crc, file.size)
    central.push(entry(0x02014b50, name, crc, file.size, at))
    parts.push(head, file)
    at += head.length + file.size
    onShare(at / total)
  }
  const size = central.reduce((sum, { length }) => sum + length, 0)
  const end = new Uint8Array(22)
  const view = new DataView(end.buffer)
  view.setUint32(0, 0x06054b50, true)
  view.setUint16(8, files.length, true)
  view.setUint16(10, files.length, true)
  view.setUint32(12, size, true)
  view.setUint32(16, at, true)
  return new Blob([...parts, ...central, end], { type: 'application/zip' })
}
