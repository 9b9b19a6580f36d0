/** All cases of the session, and the ways to a new one. */
import type { CaseOut } from '../api/types'
import { moment, percent, plural } from '../app/format'
import { Act, Bar, Notice } from '../app/parts'
import { wholeShare } from '../app/progress'
import { caseHash } from '../app/route'
import { cases, inWork, notice, vocabulary } from '../app/state'
import { sequenceTitle, stateTitle, volumeOf } from '../app/vocabulary'
import { DeleteCase } from './delete'
import { ReceiptCard } from './receipt'
import { SessionCard } from './session'
import { runSample, startOwn } from './ways'

function Line(props: { found: CaseOut }) {
  const { found } = props
  const table = vocabulary.value
  if (!table) return null
  const share = wholeShare(found.stages)
  const given = found.series.map((entry) => entry.sequence).filter((key) => key !== null)
  return (
    <li class="case-line card" data-case-id={found.id} data-state={found.state}>
      <div class="case-line-head">
        <h2>
          <a href={caseHash(found.id)}>Case {found.number}</a>
        </h2>
        <span class={`badge ${found.state}`}>{stateTitle(table, found.state)}</span>
      </div>
      <p class="soft">
        {given.length ? given.map((key) => sequenceTitle(table, key)).join(', ') : 'No scans yet'} · begun{' '}
        {moment(found.created_at)}
      </p>
      {inWork(found) && (
        <div class="row nowrap">
          <Bar share={share} label={`Progress of case ${found.number}`} />
          <span class="number">{percent(share)}</span>
        </div>
      )}
      {found.state === 'done' && (
        <p>
          {found.tumour_found === false && !volumeOf(found.volumes_ml, 'WT').ml
            ? 'No tumour found.'
            : `Whole tumour ${volumeOf(found.volumes_ml, 'WT').ml.toFixed(1)} ml.`}
        </p>
      )}
      {found.state === 'failed' && found.problem && <p class="bad-text">{found.problem}</p>}
      <div class="row">
        <a class="button small" href={caseHash(found.id)}>
          {found.state === 'done' ? 'Show the result' : found.state === 'new' ? 'Add scans' : 'Open'}
          <span class="sr-only"> of case {found.number}</span>
        </a>
        <DeleteCase found={found} small />
      </div>
    </li>
  )
}

export function HomePage() {
  const all = cases.value
  return (
    <div class="home" data-page="home">
      <ReceiptCard />
      {notice.value && <Notice tone="info">{notice.value}</Notice>}
      <section aria-labelledby="home-title">
        <h1 id="home-title">Your cases</h1>
        <p class="soft">{all.length ? `${plural(all.length, 'case')} in this session.` : 'There is none yet.'}</p>
        <ul class="case-list">
          {all.map((found) => (
            <Line key={found.id} found={found} />
          ))}
        </ul>
        <div class="row">
          <Act kind="primary" act={startOwn} busy="Opening…" name="own">
            New case with my own scans
          </Act>
          <Act act={runSample} busy="Making a sample case…" name="sample">
            Try a synthetic sample case
          </Act>
        </div>
      </section>
      <SessionCard />
    </div>
  )
}
