/** Uploads of one case: what each slot is doing. */
import { effect, signal } from '@preact/signals'
import { asProblem } from '../api/errors'
import type { DicomFound, SequenceKey, SeriesOut } from '../api/types'
import { announce } from '../app/announce'
import { plural } from '../app/format'
import { ask } from '../app/questions'
import { noteSent } from '../app/sent'
import { api, cases, changeCase, noteLoss, reloadCase, vocabulary } from '../app/state'
import { sequenceTitle } from '../app/vocabulary'

export type Slot = SequenceKey | 'dicom'

/** A file on its way, or one that did not arrive. */
export interface Upload {
  /** Name and size, for the eyes in front of this screen only. */
  name: string
  bytes: number
  /** 0 to 1; 1: sent, and being read by the server. */
  share: number
  problem: string
  retry: boolean
  file: File
  stop: AbortController
}

/** Case id + slot -> its upload. */
export const uploads = signal<Record<string, Upload>>({})

export const slotKey = (caseId: string, slot: Slot): string => `${caseId}:${slot}`

const change = (key: string, by: Partial<Upload>): void => {
  const there = uploads.value[key]
  if (there) uploads.value = { ...uploads.value, [key]: { ...there, ...by } }
}

export function forgetUpload(caseId: string, slot: Slot): void {
  const { [slotKey(caseId, slot)]: gone, ...rest } = uploads.value
  gone?.stop.abort()
  uploads.value = rest
}

export const uploading = (caseId: string): boolean =>
  Object.entries(uploads.value).some(([key, upload]) => key.startsWith(`${caseId}:`) && !upload.problem)

const warn = (event: BeforeUnloadEvent): void => event.preventDefault()

/** A file that is on its way would be lost with the page: the browser asks first. */
effect(() => {
  const busy = Object.values(uploads.value).some((upload) => !upload.problem)
  if (busy) globalThis.addEventListener?.('beforeunload', warn)
  else globalThis.removeEventListener?.('beforeunload', warn)
})

/** Uploads into a case that is gone are stopped, and their files let go. */
effect(() => {
  const here = new Set(cases.value.map((entry) => entry.id))
  const left = Object.entries(uploads.value).filter(([key]) => here.has(key.slice(0, key.indexOf(':'))))
  if (left.length === Object.keys(uploads.value).length) return
  for (const [key, upload] of Object.entries(uploads.value))
    if (!here.has(key.slice(0, key.indexOf(':')))) upload.stop.abort()
  uploads.value = Object.fromEntries(left)
})

const place = (all: SeriesOut[], made: SeriesOut): SeriesOut[] => [
  ...all
    .filter((entry) => entry.key !== made.key)
    .map((entry) => (made.sequence && entry.sequence === made.sequence ? { ...entry, sequence: null } : entry)),
  made,
]

/** Send DICOM files, packed into one zip here; their names stay in the browser. */
export async function sendDicomFiles(caseId: string, files: readonly File[]): Promise<void> {
  forgetUpload(caseId, 'dicom')
  const key = slotKey(caseId, 'dicom')
  const stop = new AbortController()
  const name = plural(files.length, 'DICOM file')
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  const file = new File([], name)
  uploads.value = { ...uploads.value, [key]: { name, bytes, share: 0, problem: '', retry: false, file, stop } }
  try {
    const { zipOf } = await import('../app/zip')
    const zip = await zipOf(files)
    if (!stop.signal.aborted) await send(caseId, 'dicom', new File([zip], name))
  } catch (error) {
    if (!stop.signal.aborted) change(key, { problem: asProblem(error).message })
  }
}

/** Send a file into a slot; an upload that is still going on there is stopped first. */
export async function send(caseId: string, slot: Slot, file: File): Promise<void> {
  forgetUpload(caseId, slot)
  const key = slotKey(caseId, slot)
  const stop = new AbortController()
  const upload: Upload = { name: file.name, bytes: file.size, share: 0, problem: '', retry: false, file, stop }
  uploads.value = { ...uploads.value, [key]: upload }
  const told = { signal: stop.signal, onShare: (share: number) => change(key, { share }) }
  const title = slot === 'dicom' || !vocabulary.value ? 'DICOM zip' : sequenceTitle(vocabulary.value, slot)
  try {
    if (!file.size) throw new Error('The file is empty.')
    if (slot === 'dicom') {
      const found: DicomFound = await api.uploadDicom(caseId, file, told)
      ask(caseId, found.problem ?? '')
      await reloadCase(caseId)
    } else {
      const made = await api.uploadSeries(caseId, slot, file, told)
      noteSent(caseId, made.sha256, { name: file.name, bytes: file.size })
      changeCase(caseId, (found) => ({ ...found, series: place(found.series, made) }))
    }
    forgetUpload(caseId, slot)
    announce(`${title}: stored.`)
  } catch (error) {
    if (stop.signal.aborted) return
    const problem = file.size ? asProblem(error) : null
    if (problem && (problem.kind === 'signed-out' || problem.kind === 'gone')) return noteLoss(problem, caseId)
    change(key, {
      problem: problem ? problem.message : 'This file is empty (0 bytes).',
      retry: problem?.worthRetrying ?? false,
    })
  }
}
