/** A case's files as the viewer needs them: fetched once, masks read once. */
import type { Api } from '../api/client'
import type { FileOut, SegmentationVersion } from '../api/types'
import { type Mask, readMask } from './nifti'

type Bytes = Uint8Array<ArrayBuffer>

export class Source {
  files: readonly FileOut[] = []
  private readonly api: Api
  private readonly caseId: string
  private readonly run: number
  private readonly masks = new Map<string, Mask>()
  private readonly fetched = new Map<string, Promise<Bytes>>()
  private stopped = new AbortController()

  constructor(api: Api, caseId: string, run: number) {
    this.api = api
    this.caseId = caseId
    this.run = run
  }

  /** Stop what is being fetched and begin anew; tells when this beginning, too, was stopped. */
  restart(): AbortSignal {
    this.stop()
    this.stopped = new AbortController()
    return this.stopped.signal
  }

  stop(): void {
    this.stopped.abort()
    this.fetched.clear()
  }

  /** Ask what there is. */
  async list(): Promise<SegmentationVersion[]> {
    const [files, versions] = await Promise.all([this.api.files(this.caseId), this.api.segmentations(this.caseId)])
    this.files = files
    return versions
  }

  bytes(name: string, onShare?: (share: number) => void): Promise<Bytes> {
    return this.api.fileBytes(this.api.fileUrl(this.caseId, name), { onShare, signal: this.stopped.signal })
  }

  /** The bytes of a file that may be on its way already. One that failed is fetched again. */
  ahead(name: string): Promise<Bytes> {
    const known = this.fetched.get(name)
    if (known) return known
    const bytes = this.bytes(name)
    this.fetched.set(name, bytes)
    bytes.catch(() => this.fetched.delete(name))
    return bytes
  }

  /** The file is in use elsewhere now and need not be kept here. */
  forget(name: string): void {
    this.fetched.delete(name)
  }

  async mask(name: string): Promise<Mask> {
    const known = this.masks.get(name)
    if (known) return known
    const mask = await readMask(await this.bytes(name))
    this.masks.set(name, mask)
    return mask
  }

  /** A mask that was just sent, so that it need not come back. */
  remember(name: string, mask: Mask): void {
    this.masks.set(name, mask)
  }

  /** Keep a mask; refused if somebody saved a newer version than the newest one known here, or ran the case again. */
  send(mask: Blob, newestKnown: number) {
    return this.api.saveSegmentation(this.caseId, this.run, mask, newestKnown)
  }
}
