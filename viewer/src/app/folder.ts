/** Many cases at once: what a dropped folder holds, sorted into cases by its folders. Names are read in the browser only. */
import { Problem } from '../api/errors'
import { SEQUENCES, type SequenceKey } from '../api/types'
import { guessAll } from './guess'

export interface Found {
  /** Folders and name, with `/` between, as the folder that was dropped has them. */
  path: string
  file: File
}

export interface FolderCase {
  /** The folder that is the case: `sub-01`, `sub-01/ses-2`, or whichever holds its scans. */
  name: string
  scans: { slot: SequenceKey; file: File }[]
  /** Files that look like scans and found no place, and why. */
  left: { file: File; why: string }[]
}

const NIFTI = /\.nii(\.gz)?$/i
/** More than any session takes; a whole disk that is dropped by mistake must not be walked. */
const MOST_FILES = 20_000

/** The folder that makes a file's case: in BIDS subject and session, else the one that it lies in. */
export function caseFolder(path: string): string {
  const folders = path.split('/').slice(0, -1)
  const subject = folders.findIndex((folder) => /^sub-[a-z0-9]+$/i.test(folder))
  if (subject < 0) return folders.join('/')
  const session = folders[subject + 1]
  const end = session && /^ses-[a-z0-9]+$/i.test(session) ? subject + 2 : subject + 1
  return folders.slice(subject, end).join('/')
}

/** Whether a file of a BIDS tree is something else than an anatomical scan as it was taken. */
const isAside = (path: string): boolean => {
  const folders = path.split('/').slice(0, -1)
  return (
    folders.includes('derivatives') || folders.some((folder) => /^(dwi|func|fmap|perf|eeg|meg|pet|micr)$/.test(folder))
  )
}

/** Cases in the order of their folders; folders without a scan that finds a place make none. */
export function casesOf(found: readonly Found[]): FolderCase[] {
  const byFolder = new Map<string, File[]>()
  for (const { path, file } of found) {
    if (!NIFTI.test(file.name) || file.name.startsWith('.') || isAside(path)) continue
    const folder = caseFolder(path)
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), file])
  }
  return [...byFolder]
    .map(([name, files]): FolderCase => {
      const made: FolderCase = { name, scans: [], left: [] }
      for (const { file, guess } of guessAll(files)) {
        if (guess.slot && guess.slot !== 'dicom') made.scans.push({ slot: guess.slot, file })
        else made.left.push({ file, why: 'why' in guess ? guess.why : '' })
      }
      made.scans.sort((one, other) => SEQUENCES.indexOf(one.slot) - SEQUENCES.indexOf(other.slot))
      return made
    })
    .filter(({ scans }) => scans.length > 0)
    .sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }))
}

/** What to call a case whose folder this is: its last part, or both of subject and session. */
export const labelOfFolder = (name: string): string => {
  const parts = name.split('/')
  return (/^ses-/i.test(parts.at(-1) ?? '') ? parts.slice(-2) : parts.slice(-1)).join(' ').slice(0, 80)
}

const read = (reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> =>
  new Promise((resolve, reject) => reader.readEntries(resolve, reject))
const opened = (entry: FileSystemFileEntry): Promise<File> =>
  new Promise((resolve, reject) => entry.file(resolve, reject))

/** All files below dropped entries. Throws a sentence if there are too many. */
export async function filesBelow(entries: readonly FileSystemEntry[]): Promise<Found[]> {
  const found: Found[] = []
  const waiting = [...entries]
  for (let entry = waiting.shift(); entry; entry = waiting.shift()) {
    if (found.length > MOST_FILES)
      throw new Problem('refused', `The folder holds more than ${MOST_FILES} files: drop a smaller one.`)
    if (entry.isFile)
      found.push({ path: entry.fullPath.replace(/^\//, ''), file: await opened(entry as FileSystemFileEntry) })
    else {
      const reader = (entry as FileSystemDirectoryEntry).createReader()
      // A reader gives a hundred entries at a time.
      for (let some = await read(reader); some.length; some = await read(reader)) waiting.push(...some)
    }
  }
  return found
}

/** Files of an `<input webkitdirectory>`. */
export const filesChosen = (files: readonly File[]): Found[] =>
  files.map((file) => ({ path: file.webkitRelativePath || file.name, file }))
