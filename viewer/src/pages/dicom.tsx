/** A zip with DICOM files: what was found in it, and which series is which sequence. */
import { useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { asProblem } from '../api/errors'
import type { CaseOut, SequenceKey, SeriesOut, Vocabulary } from '../api/types'
import { SEQUENCES } from '../api/types'
import { ChooseFolder } from '../app/choose'
import { dicomOf } from '../app/dicomfiles'
import { bytes, firstUpper, percent, shape, spacing } from '../app/format'
import { Bar, Notice } from '../app/parts'
import { ask, questionOf } from '../app/questions'
import { api, takeCase, vocabulary } from '../app/state'
import { titled } from '../app/titled'
import { sentenceOf } from '../app/vocabulary'
import { Thumbnail } from './thumbnail'
import { forgetUpload, send, sendDicomFiles, slotKey, uploads } from './uploads'

/** Its sequence was found out rather than told by the slot it was put into: it has to be checked, and can be changed. */
export const toCheck = (series: SeriesOut): boolean =>
  typeof series.confidence === 'number' || !SEQUENCES.some((key) => key === series.key)

/** What a file's name says is what its owner called it: nobody has looked into it for that. */
export const namedOnly = (series: SeriesOut): boolean => /file name/.test(series.reason ?? '')

const sureness = (confidence: number | null | undefined): string =>
  confidence === null || confidence === undefined
    ? ''
    : confidence >= 0.85
      ? 'sure'
      : confidence >= 0.6
        ? 'fairly sure'
        : 'unsure'

interface RowProps {
  found: CaseOut
  series: SeriesOut
  number: number
  table: Vocabulary
  say: (problem: string) => void
}

function Row(props: RowProps) {
  const { found, series, table } = props
  const name = `Series ${props.number}`
  const assign = async (to: string) => {
    props.say('')
    const choice: Partial<Record<SequenceKey, string | null>> = {}
    if (series.sequence) choice[series.sequence] = null
    const wanted = SEQUENCES.find((key) => key === to)
    if (wanted) choice[wanted] = series.key
    try {
      takeCase(await api.assign(found.id, choice))
    } catch (error) {
      props.say(asProblem(error).message)
    }
  }
  return (
    <li class="series">
      <p>
        <strong>{name}</strong>
        <Thumbnail found={found} sequence={series.sequence} />
        <span class="soft block number">
          {shape(series.shape)}, {spacing(series.spacing_mm)}, {series.orientation}
        </span>
      </p>
      <label class="field">
        <span class="sr-only">Use {name} as</span>
        <select
          value={series.sequence ?? ''}
          onChange={(event) => void assign(event.currentTarget.value)}
          data-assign={series.key}
        >
          <option value="">Leave out</option>
          {table.sequences.map((entry) => (
            <option key={entry.key} value={entry.key}>
              {entry.title}
            </option>
          ))}
        </select>
      </label>
      <p>
        {/* The sureness is of what was recognised, not of what somebody chose instead. */}
        {series.sequence && series.sequence !== series.key && <strong>Chosen by you</strong>}
        {series.sequence === series.key && namedOnly(series) && <strong>Named by you, not checked</strong>}
        {series.sequence === series.key && !namedOnly(series) && typeof series.confidence === 'number' && (
          <>
            <strong>{firstUpper(sureness(series.confidence))}</strong>{' '}
            <span class="number">({percent(series.confidence)})</span>
          </>
        )}
        {series.reason && <span class="soft block">{firstUpper(titled(series.reason))}</span>}
        {series.warnings.map((warning) => (
          <span class="slot-warning block" key={warning}>
            {titled(warning)}
          </span>
        ))}
      </p>
    </li>
  )
}

export function DicomPart(props: { found: CaseOut }) {
  const { found } = props
  const table = vocabulary.value
  const input = useRef<HTMLInputElement>(null)
  const refused = useSignal('')
  const upload = uploads.value[slotKey(found.id, 'dicom')]
  // In one order whatever they are taken for, so that their numbers stay theirs.
  const series = found.series.filter(toCheck).sort((one, other) => one.key.localeCompare(other.key))
  const open = questionOf(found.id)
  if (!table) return null
  const choose = () => input.current?.click()
  return (
    <section class="dicom" aria-labelledby="dicom-title" data-slot="dicom">
      <div class="dicom-head">
        <div>
          <h3 id="dicom-title">Or DICOM, as it comes from the scanner</h3>
          <p class="soft">
            The folder of the whole examination, or one zip of it. The four sequences are found in it; names and dates
            are not kept.
          </p>
        </div>
        <div class="row">
          <ChooseFolder
            name="dicom-folder"
            take={(files) => void dicomOf(files).then((kept) => sendDicomFiles(found.id, kept))}
          >
            {series.length ? 'Choose another folder' : 'Choose a folder'}
          </ChooseFolder>
          <button type="button" class="button" onClick={choose} data-act="choose-dicom">
            {series.length ? 'Choose another zip' : 'Choose a zip'}
          </button>
        </div>
      </div>
      <input
        ref={input}
        class="sr-only"
        type="file"
        accept=".zip,application/zip"
        tabIndex={-1}
        aria-label="Zip with DICOM files"
        data-file="dicom"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0]
          if (file) void send(found.id, 'dicom', file)
          event.currentTarget.value = ''
        }}
      />
      {upload && !upload.problem && (
        <div class="stack tight">
          <p class="file-name">{upload.name}</p>
          <Bar share={upload.share} label="Sending the DICOM zip" indeterminate={upload.share >= 1} />
          <div class="row">
            <span class="soft number">
              {upload.share >= 1
                ? 'Sent; looking for the sequences…'
                : `${percent(upload.share)} of ${bytes(upload.bytes)}`}
            </span>
            <button type="button" class="button small quiet" onClick={() => forgetUpload(found.id, 'dicom')}>
              Stop
            </button>
          </div>
        </div>
      )}
      {upload?.problem && (
        <div class="stack tight">
          <p class="slot-problem" role="alert">
            {titled(upload.problem)}
          </p>
          <div class="row">
            {upload.retry && (
              <button
                type="button"
                class="button small primary"
                onClick={() => void send(found.id, 'dicom', upload.file)}
              >
                Try again
              </button>
            )}
            <button type="button" class="button small quiet" onClick={() => forgetUpload(found.id, 'dicom')}>
              Dismiss
            </button>
          </div>
        </div>
      )}
      {open && (
        <Notice tone="warn" title="Please look at this">
          <p>{sentenceOf(titled(open))}</p>
          <button type="button" class="button small" onClick={() => ask(found.id, '')} data-act="answered">
            I have looked
          </button>
        </Notice>
      )}
      {series.length > 0 && (
        <>
          <p class="soft" id="series-found">
            What was found, and what each is taken for. Check it: a wrong sequence gives a wrong result.
          </p>
          <ul class="series-list" aria-labelledby="series-found">
            {series.map((entry, index) => (
              <Row
                key={entry.key}
                found={found}
                series={entry}
                number={index + 1}
                table={table}
                say={(problem) => {
                  refused.value = problem
                }}
              />
            ))}
          </ul>
        </>
      )}
      {refused.value && (
        <p class="act-failed" role="alert">
          {refused.value}
        </p>
      )}
    </section>
  )
}
