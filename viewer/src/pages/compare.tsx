/** The tab that compares this case with an earlier one, or with an earlier result whose files the user gives. */
import { type Signal, useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { asProblem } from '../api/errors'
import type { CaseOut, Vocabulary } from '../api/types'
import { announce } from '../app/announce'
import {
  type Change,
  type Compared,
  changeWords,
  comparedOf,
  isChange,
  type Match,
  numbersOf,
  SAVED,
  signed,
} from '../app/compared'
import { caseName, ml } from '../app/format'
import { Bar } from '../app/parts'
import { saveFile } from '../app/save'
import { api, cases, noteLossOfEither, vocabulary } from '../app/state'
import { titled } from '../app/titled'
import { sentenceOf } from '../app/vocabulary'
import { zipOf } from '../app/zip'
import { CompareView } from './compareview'

/** Whole tumour and core first, then the parts. */
const FIRST = ['WT', 'TC']
const TYPES: Record<string, string> = { html: 'text/html', csv: 'text/csv', json: 'application/json' }

const nameOf = (table: Vocabulary, key: string): string =>
  [...table.regions, ...table.labels].find((term) => term.key === key)?.name ?? key

function Row(props: { region: string; title: string; change: Change }) {
  const { region, title, change } = props
  return (
    <tr data-change={region} data-direction={change.direction}>
      <th scope="row">{title}</th>
      <td class="number">
        <span class="block nobreak">
          {ml(change.earlier_ml)} → {ml(change.later_ml)} ml
        </span>
        <span class="block nobreak">{changeWords(change)}</span>
        {change.low_ml !== null && change.high_ml !== null && (
          <span class="soft block small-text">
            {signed(change.low_ml, 1)} to {signed(change.high_ml, 1)} ml
          </span>
        )}
        <span class={`block small-text ${isChange(change) ? 'strong' : 'soft'}`}>{change.direction}</span>
      </td>
    </tr>
  )
}

function Lesions(props: { matches: readonly Match[] }) {
  if (!props.matches.length) return <p>No lesion at either date.</p>
  return (
    <table class="plain measures">
      <caption>Lesions</caption>
      <thead>
        <tr>
          <th scope="col">Earlier</th>
          <th scope="col">Later</th>
          <th scope="col">What became of it</th>
          <th scope="col" class="number">
            ml
          </th>
        </tr>
      </thead>
      <tbody>
        {props.matches.map((match) => (
          <tr key={`${match.earlier} ${match.later}`} data-fate={match.fate}>
            <td>{numbersOf(match.earlier)}</td>
            <td>{numbersOf(match.later)}</td>
            <td>{match.fate}</td>
            <td class="number nobreak">
              {ml(match.earlier_ml)} → {ml(match.later_ml)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Found(props: { compared: Compared; table: Vocabulary; name: string }) {
  const { compared, table } = props
  const looking = useSignal(false)
  const { facts } = compared
  const [step] = facts.steps
  const keys = Object.keys(step.changes)
  const ordered = [...FIRST.filter((key) => keys.includes(key)), ...keys.filter((key) => !FIRST.includes(key))]
  const save = (name: string) => {
    const suffix = name.split('.').at(-1) ?? ''
    const bytes = compared.files.get(name)
    if (bytes) saveFile(new Blob([bytes], { type: TYPES[suffix] ?? '' }), `${props.name}-${name}`)
  }
  return (
    <div class="stack" data-compared={facts.visits.map(({ case_id }) => case_id).join(' ')}>
      {facts.cautions.map((text) => (
        <p key={text} class="notice warn small-text">
          {sentenceOf(titled(text))}
        </p>
      ))}
      <table class="plain measures">
        <caption>Volumes</caption>
        <thead>
          <tr>
            <th scope="col">Part</th>
            <th scope="col" class="number">
              Earlier → later
            </th>
          </tr>
        </thead>
        <tbody>
          {ordered.map((key) => {
            const change = step.changes[key]
            return change && <Row key={key} region={key} title={nameOf(table, key)} change={change} />
          })}
        </tbody>
      </table>
      <Lesions matches={step.lesions} />
      <div class="row">
        <button
          type="button"
          class="button primary"
          data-act="compare-view"
          onClick={() => {
            looking.value = true
          }}
        >
          Look at both dates
        </button>
        {SAVED.map(([name, title]) => (
          <button key={name} type="button" class="button small" data-save={name} onClick={() => save(name)}>
            {title}
          </button>
        ))}
      </div>
      <details class="small-text">
        <summary>What these intervals are worth</summary>
        <p>{sentenceOf(facts.interval_method)}</p>
      </details>
      <p class="soft small-text">
        Laid on each other by {step.registration.sequence}: turned by {step.registration.rotation_deg.toFixed(1)}°,{' '}
        {step.registration.shift_mm.toFixed(1)} mm in the tumour. {facts.limits}
      </p>
      {looking.value && (
        <CompareView
          views={compared.views}
          labels={table.labels}
          close={() => {
            looking.value = false
          }}
        />
      )}
    </div>
  )
}

function Choice(props: {
  others: readonly CaseOut[]
  earlier: Signal<string>
  days: Signal<string>
  files: Signal<File[]>
}) {
  const { others, earlier, days, files } = props
  return (
    <>
      {others.length > 0 && (
        <label class="field">
          Earlier date
          <select
            name="earlier"
            value={earlier.value}
            onChange={(event) => {
              earlier.value = event.currentTarget.value
              files.value = []
            }}
          >
            <option value="">Choose a case of this session…</option>
            {others.map((one) => (
              <option key={one.id} value={one.id}>
                {caseName(one)}
              </option>
            ))}
          </select>
        </label>
      )}
      <div class="row">
        <label class="button">
          {others.length > 0 ? 'Or choose an earlier result' : 'Choose an earlier result'}
          <input
            class="sr-only"
            type="file"
            multiple
            accept=".nii,.gz,.json,.zip"
            data-file="earlier"
            onChange={(event) => {
              files.value = [...(event.currentTarget.files ?? [])]
              event.currentTarget.value = ''
              if (files.value.length) earlier.value = ''
            }}
          />
        </label>
        <span class="soft small-text">
          {files.value.length > 0
            ? `${files.value.length} file${files.value.length === 1 ? '' : 's'} chosen`
            : 'Its result.json, tumour parts on your scan, and T1 with contrast in atlas space; or a zip of them, whose file names are sent as they are.'}
        </span>
      </div>
      <label class="field">
        Days between the dates, if you like
        <input
          type="number"
          name="days"
          min={1}
          max={36525}
          step={1}
          value={days.value}
          onInput={(event) => {
            days.value = event.currentTarget.value
          }}
        />
      </label>
    </>
  )
}

export function CompareTab(props: { found: CaseOut }) {
  const { found } = props
  const earlier = useSignal('')
  const days = useSignal('')
  const files = useSignal<File[]>([])
  const busy = useSignal<number | null>(null)
  const problem = useSignal('')
  const result = useSignal<{ compared: Compared; of: string; files: File[] } | null>(null)
  const stop = useRef<AbortController | null>(null)
  const table = vocabulary.value
  if (!table) return null
  const others = cases.value.filter((one) => one.id !== found.id && one.state === 'done')
  // A comparison is of two masks, each of a run and its version, and of what is chosen: it goes with any of them.
  const chosen = others.find((one) => one.id === earlier.value)
  const current = [...[found, chosen].map((one) => `${one?.id} ${one?.run} ${one?.version}`), days.value].join(' ')
  const zipped = async (): Promise<Blob> => {
    const only = files.value.length === 1 ? files.value[0] : undefined
    return only && /\.zip$/i.test(only.name) ? only : zipOf(files.value)
  }
  const compare = async () => {
    const between = days.value === '' ? null : Math.round(Number(days.value))
    const [running, other, sent] = [new AbortController(), earlier.value, files.value]
    stop.current = running
    problem.value = ''
    result.value = null
    busy.value = other ? 1 : 0
    const onShare = (share: number) => {
      if (!running.signal.aborted) busy.value = share
    }
    try {
      const request = { earlier: other, days: between }
      const zip = other
        ? await api.compareCases(found.id, request, running.signal)
        : await api.compareWithUpload(found.id, await zipped(), between, { signal: running.signal, onShare })
      const compared = await comparedOf(zip)
      if (running.signal.aborted) return
      result.value = { compared, of: current, files: sent }
      announce('The comparison is ready.')
    } catch (error) {
      if (running.signal.aborted) return
      try {
        if (await noteLossOfEither(error, found.id, other)) problem.value = 'the earlier case is not there any more'
      } catch (worse) {
        problem.value = asProblem(worse).message
      }
    } finally {
      if (stop.current === running) busy.value = null
    }
  }
  const share = busy.value
  const now = result.value?.of === current && result.value.files === files.value ? result.value : null
  return (
    <section
      class="card compare-tab"
      aria-labelledby="compare-title"
      data-comparison={share !== null ? 'busy' : problem.value ? 'problem' : now ? 'ready' : 'idle'}
    >
      <h2 id="compare-title">What changed since an earlier date</h2>
      <p class="soft small-text">
        This case is the later date. Nothing of the comparison is kept on the server: save what you want to keep.
      </p>
      {share === null ? (
        <>
          <Choice others={others} earlier={earlier} days={days} files={files} />
          <button
            type="button"
            class="button"
            data-act="compare"
            disabled={!earlier.value && !files.value.length}
            onClick={() => void compare()}
          >
            Compare
          </button>
        </>
      ) : (
        <div class="stack tight">
          <Bar share={share} label="Comparison" indeterminate={share >= 1} />
          <div class="row">
            <span class="soft">{share >= 1 ? 'Laying the later scan on the earlier…' : 'Sending…'}</span>
            <button
              type="button"
              class="button small quiet"
              onClick={() => {
                stop.current?.abort()
                busy.value = null
              }}
            >
              Stop
            </button>
          </div>
        </div>
      )}
      {problem.value && (
        <p class="act-failed" role="alert">
          {sentenceOf(titled(problem.value))}
        </p>
      )}
      {now && <Found compared={now.compared} table={table} name={`case-${found.id.slice(0, 8)}`} />}
    </section>
  )
}
