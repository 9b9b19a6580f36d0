/** The finished cases as one table for a spreadsheet. */
import type { CaseOut, Vocabulary } from '../api/types'
import { caseName } from './format'
import { worstOf } from './remarks'
import { stateTitle, volumeOf, volumeRows } from './vocabulary'

/** A spreadsheet takes what begins with these for a formula: an apostrophe makes it text. */
const FORMULA = /^[=+\-@\t\r]/

function cell(value: string | number): string {
  if (typeof value === 'number') return String(value)
  const safe = FORMULA.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** One row for each case, volumes of its current version; an empty cell where there is no result. */
export function casesCsv(cases: readonly CaseOut[], vocabulary: Vocabulary): string {
  const keys = volumeRows(vocabulary).map(({ key }) => key)
  const head = [
    'case',
    'begun',
    'state',
    'version',
    ...keys.map((key) => `${key}_ml`),
    'expected_quality',
    'worst_remark',
  ]
  const rows = cases.map((found) => {
    const done = found.state === 'done'
    return [
      caseName(found),
      new Date(found.created_at * 1000).toISOString(),
      stateTitle(vocabulary, found.state),
      found.version,
      ...keys.map((key) => (done ? volumeOf(found.volumes_ml, key).ml : '')),
      found.expected_quality?.verdict ?? '',
      worstOf(found.qc)?.reason ?? '',
    ]
  })
  return [head, ...rows]
    .map((row) => row.map(cell).join(','))
    .join('\r\n')
    .concat('\r\n')
}
