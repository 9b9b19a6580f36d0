/** All cases of the session, and the ways to a new one. */
import type { CaseOut, Vocabulary } from '../api/types'
import { caseName, ml, moment, percent, plural } from '../app/format'
import { Act, Bar, Notice } from '../app/parts'
import { wholeShare } from '../app/progress'
import { badgeOf, wordOf, worstOf } from '../app/remarks'
import { caseHash } from '../app/route'
import { api, cases, inWork, notice, vocabulary } from '../app/state'
import { titled } from '../app/titled'
import { stateTitle, volumeOf } from '../app/vocabulary'
import { DeleteCase } from './delete'
import { ManyCases } from './folders'
import { ReceiptCard } from './receipt'
import { SessionCard } from './session'
import { runSample, startOwn } from './ways'

function Progress(props: { found: CaseOut }) {
  const share = wholeShare(props.found.stages)
  return (
    <span class="row nowrap">
      <Bar share={share} label={`Progress of ${caseName(props.found)}`} />
      <span class="number">{percent(share)}</span>
    </span>
  )
}

function Line(props: { found: CaseOut; table: Vocabulary }) {
  const { found, table } = props
  const done = found.state === 'done'
  const wt = volumeOf(found.volumes_ml, 'WT').ml
  const worst = worstOf(found.qc)
  // Of the model's mask: it says nothing of a correction, whose volume stands in the line.
  const verdict = done && !found.version ? found.expected_quality?.verdict : undefined
  return (
    <tr class="case-line" data-case-id={found.id} data-state={found.state}>
      <th scope="row">
        <a href={caseHash(found.id)}>{caseName(found)}</a>
      </th>
      <td class="nobreak">{moment(found.created_at)}</td>
      <td>
        <span class={`badge ${found.state}`}>{stateTitle(table, found.state)}</span>
        {inWork(found) && <Progress found={found} />}
      </td>
      <td class="number nobreak" data-wt={done ? wt : undefined}>
        {done && (wt ? `${ml(wt)} ml` : 'No tumour')}
      </td>
      <td>
        {verdict && (
          <span class={`badge ${verdict === 'likely poor' ? 'failed' : verdict === 'check' ? 'warned' : ''}`}>
            {verdict}
          </span>
        )}
      </td>
      <td class="case-remark">
        {found.state === 'failed' && <span class="bad-text">{titled(found.problem)}</span>}
        {worst && (
          <>
            <span class={badgeOf(worst)}>{wordOf(worst)}</span> {titled(worst.reason)}
          </>
        )}
      </td>
      <td>
        <DeleteCase found={found} small />
      </td>
    </tr>
  )
}

function Worklist(props: { table: Vocabulary; found: CaseOut[] }) {
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be scrollable by keyboard */}
      <section class="worklist" aria-label="Cases, newest first" tabIndex={0}>
        <table class="plain">
          <thead>
            <tr>
              <th scope="col">Case</th>
              <th scope="col">Begun</th>
              <th scope="col">State</th>
              <th scope="col" class="number">
                Whole tumour
              </th>
              <th scope="col">Expected quality</th>
              <th scope="col">Worst remark</th>
              <th scope="col">
                <span class="sr-only">Delete</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {[...props.found].reverse().map((found) => (
              <Line key={found.id} found={found} table={props.table} />
            ))}
          </tbody>
        </table>
      </section>
      <div class="row">
        {props.found.some(({ state }) => state === 'done') && (
          <a class="button small" href={api.resultsUrl()} download="hope-results.zip" data-act="download-all">
            Download all results (zip)
          </a>
        )}
        <a class="button small" href={api.tableUrl()} download="hope-cases.csv" data-act="csv">
          Download this table (CSV)
        </a>
      </div>
    </>
  )
}

export function HomePage() {
  const all = cases.value
  const table = vocabulary.value
  return (
    <div class="home" data-page="home">
      <ReceiptCard />
      {notice.value && <Notice tone="info">{notice.value}</Notice>}
      <section aria-labelledby="home-title">
        <h1 id="home-title">Your cases</h1>
        <p class="soft">{all.length ? `${plural(all.length, 'case')} in this session.` : 'There is none yet.'}</p>
        <div class="row">
          <Act kind="primary" act={startOwn} busy="Opening…" name="own">
            New case with my own scans
          </Act>
          <Act act={runSample} busy="Making a sample case…" name="sample">
            Try a synthetic sample case
          </Act>
        </div>
        {table && all.length > 0 && <Worklist table={table} found={all} />}
      </section>
      {table && <ManyCases table={table} />}
      <SessionCard />
    </div>
  )
}
