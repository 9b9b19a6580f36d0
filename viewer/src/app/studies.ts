/** What is asked of an archive, and its answers in words. */
import type { StudyFound, StudySearch } from '../api/schema'
import { plural } from './format'

export interface Asked {
  patient: string
  /** As `<input type=date>` gives them: YYYY-MM-DD, or empty. */
  from: string
  to: string
}

const digits = (date: string): string => date.replaceAll('-', '')

/** The search, or why there is none. One date alone is that day. */
export function searchOf(asked: Asked): StudySearch | string {
  const patient = asked.patient.trim()
  const [from, to] = [digits(asked.from), digits(asked.to)]
  if (!patient && !from && !to) return 'Give a patient’s number, or a date.'
  if (/[*?\\]/.test(patient)) return 'Give one patient’s number as it is, without * and ?.'
  if (from && to && from > to) return 'The first date is later than the last one.'
  const date = from && to && from !== to ? `${from}-${to}` : from || to
  return { patient_id: patient, date }
}

/** 20260301 -> 2026-03-01; other forms as they are. */
export const dayOf = (date: string): string => date.replace(/^(\d{4})(\d{2})(\d{2})$/, '$1-$2-$3') || 'no date'

export function sizeOf(study: StudyFound): string {
  const parts = [study.series && `${study.series} series`, study.images && plural(study.images, 'image')]
  return parts.filter(Boolean).join(', ') || 'size not told'
}

/** An archive is asked for so many studies at most. */
const MOST_FOUND = 100

/** What to say where there may be more studies than were found; empty where these are all. */
export const moreThan = (found: readonly StudyFound[]): string =>
  found.length >= MOST_FOUND
    ? `These are ${found.length}, and there may be more: search for fewer days, or with a patient’s number.`
    : ''
