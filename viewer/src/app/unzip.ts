/** Zips of the server unpacked; apart from `zip.ts`, since only what is loaded later needs it. */
import { Problem } from '../api/errors'

async function inflated(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const body = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
  return new Uint8Array(await new Response(body).arrayBuffer())
}

/** The files in a zip that the server made: stored or deflated, without a comment. Throws a sentence for another one. */
export async function unzipped(zip: Blob): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const bytes = new Uint8Array(await zip.arrayBuffer())
  const view = new DataView(bytes.buffer)
  const end = bytes.length - 22
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50)
    throw new Problem('server', 'The server gave an answer that is no zip.')
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  let at = view.getUint32(end + 16, true)
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [method, size] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true)]
    const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true)) as [
      number,
      number,
      number,
    ]
    const local = view.getUint32(at + 42, true)
    const from = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true)
    const packed = bytes.slice(from, from + size)
    const path = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name))
    files.set(path, method === 0 ? packed : await inflated(packed))
    at += 46 + name + extra + comment
  }
  return files
}
