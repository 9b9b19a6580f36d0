/** The gateway's REST contract as typed calls. Every failure is a `Problem`. */
import { asProblem, LOST, LOST_UPLOAD, Problem, problemOf } from './errors'
import { parseEvent } from './events'
import type { ComparisonIn, StudiesFound, StudyFound, StudySearch } from './schema'
import type {
  CaseEvent,
  CaseOut,
  ChecksOut,
  DicomFound,
  FileOut,
  ModelOut,
  Notify,
  Receipt,
  RunChoice,
  SegmentationSaved,
  SegmentationVersion,
  SequenceKey,
  SeriesOut,
  SessionOut,
  Vocabulary,
  WhoAmI,
} from './types'

export interface UploadTold {
  /** 0 to 1; 1 means sent, and the server is reading it. */
  onShare?: (share: number) => void
  signal?: AbortSignal
}
export interface EventsTold {
  onEvent: (event: CaseEvent) => void
  /** The stream is up, or lost and being sought again. */
  onLink?: (up: boolean) => void
  /** The case is not there any more. */
  onGone?: () => void
}

const KINDS = ['series', 'state', 'stage', 'progress', 'segmentation'] as const
const id = encodeURIComponent

export class Api {
  private readonly base: string
  /** An API token for a server that asks for one; kept in memory only. */
  accessToken = ''
  /** The server's clock minus this machine's, in seconds. */
  clockSkew = 0
  /** Called with every answer of the server, whatever it says, and with every call that found none. */
  onReach?: (up: boolean) => void

  constructor(base = '') {
    this.base = base
  }

  vocabulary = (): Promise<Vocabulary> => this.json('GET', '/api/vocabulary')
  whoami = (): Promise<WhoAmI> => this.json('GET', '/api/whoami')
  models = async (): Promise<ModelOut[]> => (await this.json<{ models: ModelOut[] }>('GET', '/api/models')).models

  /** Ask for a sign of life. */
  alive = async (): Promise<void> => {
    await this.fetch('GET', `${this.base}/healthz`, {})
  }
  session = (): Promise<SessionOut> => this.json('GET', '/api/session')
  openSession = (): Promise<SessionOut> => this.json('POST', '/api/session', { terms_accepted: true })
  changeSession = (change: { close_with_page?: boolean; notify?: Notify }): Promise<SessionOut> =>
    this.json('PATCH', '/api/session', change)
  deleteSession = (): Promise<Receipt> => this.json('DELETE', '/api/session')
  /** Say goodbye while the page unloads; the cookie says whose. */
  leave = (): boolean => navigator.sendBeacon(`${this.base}/api/session/leave`)

  /** Forget the sign-in in this browser; sessions live on until they are deleted or unused for too long. */
  signOut = async (): Promise<void> => {
    await this.fetch('POST', `${this.base}/auth/logout`, {})
  }

  createCase = (): Promise<CaseOut> => this.json('POST', '/api/cases')
  cases = async (): Promise<CaseOut[]> => (await this.json<{ cases: CaseOut[] }>('GET', '/api/cases')).cases
  case = (caseId: string): Promise<CaseOut> => this.json('GET', `/api/cases/${id(caseId)}`)
  deleteCase = (caseId: string): Promise<Receipt> => this.json('DELETE', `/api/cases/${id(caseId)}`)

  sample = async (caseId: string): Promise<SeriesOut[]> =>
    (await this.json<{ series: SeriesOut[] }>('POST', `/api/cases/${id(caseId)}/sample`)).series
  /** Say which stored series is which sequence; null takes a sequence away. */
  assign = (caseId: string, choice: Partial<Record<SequenceKey, string | null>>): Promise<CaseOut> =>
    this.json('PUT', `/api/cases/${id(caseId)}/assignments`, choice)
  run = (caseId: string, choice: RunChoice): Promise<CaseOut> =>
    this.json('POST', `/api/cases/${id(caseId)}/run`, choice)
  cancel = (caseId: string): Promise<CaseOut> => this.json('POST', `/api/cases/${id(caseId)}/cancel`)

  files = async (caseId: string): Promise<FileOut[]> =>
    (await this.json<{ files: FileOut[] }>('GET', `/api/cases/${id(caseId)}/files`)).files
  segmentations = async (caseId: string): Promise<SegmentationVersion[]> =>
    (await this.json<{ versions: SegmentationVersion[] }>('GET', `/api/cases/${id(caseId)}/segmentations`)).versions

  fileUrl = (caseId: string, name: string, inline = false): string =>
    `${this.base}/api/cases/${id(caseId)}/files/${id(name)}${inline ? '?inline=1' : ''}`
  seriesUrl = (caseId: string, key: string): string => `${this.base}/api/cases/${id(caseId)}/series/${id(key)}`
  /** Every finished case in one zip. */
  resultsUrl = (): string => `${this.base}/api/session/results.zip`
  /** All cases as one table. */
  tableUrl = (): string => `${this.base}/api/session/cases.csv`
  diagnosticsUrl = (caseId: string): string => `${this.base}/api/cases/${id(caseId)}/diagnostics`

  /** A file's bytes; `onShare` tells 0 to 1 where the size is known. */
  async fileBytes(url: string, told: UploadTold = {}): Promise<Uint8Array<ArrayBuffer>> {
    const answer = await this.fetch('GET', url, { signal: told.signal })
    const total = Number(answer.headers.get('content-length') ?? 0)
    if (!answer.body || !total || !told.onShare) return new Uint8Array(await answer.arrayBuffer())
    const parts: Uint8Array[] = []
    let got = 0
    const reader = answer.body.getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      parts.push(value)
      got += value.length
      told.onShare(Math.min(1, got / total))
    }
    const whole = new Uint8Array(got)
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }

  uploadSeries = (caseId: string, sequence: SequenceKey, file: Blob, told: UploadTold = {}): Promise<SeriesOut> =>
    this.upload(`/api/cases/${id(caseId)}/series/${sequence}`, file, told)
  labelCase = (caseId: string, label: string): Promise<CaseOut> =>
    this.json('PATCH', `/api/cases/${id(caseId)}`, { label })
  /** What a run would say of the scans that are there now. */
  checks = (caseId: string): Promise<ChecksOut> => this.json('GET', `/api/cases/${id(caseId)}/checks`)
  uploadDicom = (caseId: string, zip: Blob, told: UploadTold = {}): Promise<DicomFound> =>
    this.upload(`/api/cases/${id(caseId)}/dicom`, zip, told)
  /** A corrected mask (.nii or .nii.gz) on the reference scan's grid; refused if there is a newer version than the one known, or a newer run. */
  saveSegmentation = (caseId: string, run: number, mask: Blob, newestKnown: number): Promise<SegmentationSaved> =>
    this.upload(`/api/cases/${id(caseId)}/segmentation?newest_known=${newestKnown}&run=${run}`, mask, {})

  /** The current mask as DICOM objects for the series in a zip; the server keeps neither. */
  dicomObjects = (caseId: string, zip: Blob, told: UploadTold = {}): Promise<Blob> =>
    this.transfer('POST', `/api/cases/${id(caseId)}/dicom-objects`, zip, told)

  /** What changed since another finished case, as a zip; the server keeps nothing of it. */
  compareCases = async (caseId: string, request: ComparisonIn, signal?: AbortSignal): Promise<Blob> => {
    const init = { body: JSON.stringify(request), signal }
    return (await this.fetch('POST', `${this.base}/api/cases/${id(caseId)}/comparison`, init)).blob()
  }
  /** The same since an earlier result, whose files are sent as a zip. */
  compareWithUpload = (caseId: string, zip: Blob, days: number | null, told: UploadTold = {}): Promise<Blob> =>
    this.transfer('POST', `/api/cases/${id(caseId)}/comparison/upload${days ? `?days=${days}` : ''}`, zip, told)

  /** MR studies of the archive that the operator has named. */
  findStudies = async (search: StudySearch): Promise<StudyFound[]> =>
    (await this.json<StudiesFound>('POST', '/api/archive/studies', search)).studies
  /** Take the scans of a study into a case. */
  pullStudy = (caseId: string, study: string): Promise<DicomFound> =>
    this.json('POST', `/api/cases/${id(caseId)}/archive`, { study_uid: study })

  /** Follow a case. The browser reconnects by itself and the server replays what was missed. Returns how to stop. */
  events(caseId: string, told: EventsTold): () => void {
    const source = new EventSource(`${this.base}/api/cases/${id(caseId)}/events`)
    source.onopen = () => told.onLink?.(true)
    source.onerror = () => told.onLink?.(false)
    source.addEventListener('gone', () => told.onGone?.())
    for (const kind of KINDS)
      source.addEventListener(kind, (message) => {
        const event = parseEvent(kind, message.lastEventId, message.data)
        if (event) told.onEvent(event)
      })
    return () => source.close()
  }

  private async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init: RequestInit = body === undefined ? {} : { body: JSON.stringify(body) }
    const answer = await this.fetch(method, this.base + path, init)
    try {
      return (await answer.json()) as T
    } catch (error) {
      throw error instanceof SyntaxError
        ? new Problem('server', 'The server gave an answer that is no JSON.')
        : asProblem(error)
    }
  }

  private async fetch(method: string, url: string, init: RequestInit): Promise<Response> {
    const headers: Record<string, string> = { Accept: 'application/json, */*' }
    if (init.body) headers['Content-Type'] = 'application/json'
    if (this.accessToken) headers.Authorization = `Bearer ${this.accessToken}`
    let answer: Response
    try {
      answer = await fetch(url, { ...init, method, headers, credentials: 'same-origin' })
    } catch (error) {
      const problem = asProblem(error)
      if (problem.kind !== 'cancelled') this.onReach?.(false)
      throw problem.kind === 'cancelled' ? problem : new Problem('network', LOST)
    }
    this.onReach?.(true)
    const date = Date.parse(answer.headers.get('date') ?? '')
    // The header has whole seconds: a smaller difference is none.
    if (date && Math.abs(date - Date.now()) > 1500) this.clockSkew = (date - Date.now()) / 1000
    if (!answer.ok) throw problemOf(answer.status, await answer.text().catch(() => ''))
    return answer
  }

  private async upload<T>(path: string, body: Blob, told: UploadTold): Promise<T> {
    const answer = await this.transfer('PUT', path, body, told)
    try {
      return JSON.parse(await answer.text()) as T
    } catch {
      throw new Problem('server', 'The server gave an answer that is no JSON.')
    }
  }

  /** A body with progress: fetch cannot tell how much was sent. Only bytes travel, never a file's name. */
  private transfer(method: string, path: string, body: Blob, told: UploadTold): Promise<Blob> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest()
      request.open(method, this.base + path)
      request.responseType = 'blob'
      request.setRequestHeader('Content-Type', 'application/octet-stream')
      if (this.accessToken) request.setRequestHeader('Authorization', `Bearer ${this.accessToken}`)
      request.upload.onprogress = (event) => told.onShare?.(event.total ? event.loaded / event.total : 0)
      request.upload.onload = () => told.onShare?.(1)
      request.onload = async () => {
        const answer = request.response instanceof Blob ? request.response : new Blob()
        if (request.status >= 200 && request.status < 300) resolve(answer)
        else reject(problemOf(request.status, await answer.text()))
      }
      request.onerror = () => reject(new Problem('network', LOST_UPLOAD))
      request.onabort = () => reject(new Problem('cancelled', 'Cancelled.'))
      if (told.signal?.aborted) return reject(new Problem('cancelled', 'Cancelled.'))
      told.signal?.addEventListener('abort', () => request.abort(), { once: true })
      request.send(body)
    })
  }
}
