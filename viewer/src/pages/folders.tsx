/** Several cases at once, from one folder: what was found in it, and starting it all. */
import { useSignal } from '@preact/signals'
import type { Vocabulary } from '../api/types'
import { ChooseFolder } from '../app/choose'
import { entriesOf, useDrop } from '../app/drop'
import { casesOf, type Found, filesBelow } from '../app/folder'
import { plural } from '../app/format'
import { Act, Notice } from '../app/parts'
import { caseHash } from '../app/route'
import { titled } from '../app/titled'
import { sequenceTitle } from '../app/vocabulary'
import { type BatchCase, batch, offer, startBatch } from './batch'

const SAID: Record<BatchCase['state'], string> = {
  found: '',
  sending: 'Sending…',
  waiting: 'Waits until another case is done',
  started: 'Started',
  refused: 'Not started',
}

function Line(props: { one: BatchCase; table: Vocabulary }) {
  const { one, table } = props
  return (
    <tr data-folder={one.name} data-state={one.state}>
      <th scope="row">
        {one.caseId ? <a href={caseHash(one.caseId)}>{one.name || 'This folder'}</a> : one.name || 'This folder'}
      </th>
      <td>{one.scans.map(({ slot }) => sequenceTitle(table, slot)).join(', ')}</td>
      <td>
        {SAID[one.state]}
        {one.why && <span class="bad-text block">{titled(one.why)}</span>}
        {one.state === 'found' && one.left.length > 0 && (
          <span class="soft">{plural(one.left.length, 'file')} without a place</span>
        )}
      </td>
    </tr>
  )
}

function Offer(props: { table: Vocabulary }) {
  const named = useSignal(false)
  const there = batch.value
  if (!there) return null
  const open = there.cases.filter(({ state }) => state !== 'started').length
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be scrollable by keyboard */}
      <section class="worklist" aria-label="Cases in the folder" tabIndex={0}>
        <table class="plain">
          <thead>
            <tr>
              <th scope="col">Folder</th>
              <th scope="col">Scans, by their names</th>
              <th scope="col">State</th>
            </tr>
          </thead>
          <tbody>
            {there.cases.map((one) => (
              <Line key={one.name} one={one} table={props.table} />
            ))}
          </tbody>
        </table>
      </section>
      <label class="tick">
        <input
          type="checkbox"
          checked={named.value}
          disabled={there.running}
          onChange={(event) => {
            named.value = event.currentTarget.checked
          }}
          data-act="name-after-folders"
        />
        <span>
          Call each case like its folder
          <small>The names are then sent to the server: not if they are patients’ names.</small>
        </span>
      </label>
      <div class="row">
        <Act
          kind="primary"
          small
          act={() => startBatch(named.value)}
          busy="Sending and starting…"
          blocked={!open}
          name="start-all"
        >
          Start {plural(open, 'case')}
        </Act>
        {!there.running && (
          <button
            type="button"
            class="button quiet small"
            onClick={() => {
              batch.value = null
            }}
          >
            Put away
          </button>
        )}
      </div>
      {there.running && <p class="soft">Keep this page open until all are started; what runs goes on without it.</p>}
    </>
  )
}

export function ManyCases(props: { table: Vocabulary }) {
  const problem = useSignal('')
  const take = (found: readonly Found[]) => {
    const made = casesOf(found)
    problem.value = made.length
      ? ''
      : 'No NIfTI scan in it has a name that says its sequence. DICOM goes in as one zip for each case.'
    if (made.length) offer(made)
  }
  const walk = async (entries: readonly FileSystemEntry[]) => {
    try {
      take(await filesBelow(entries))
    } catch (error) {
      problem.value = error instanceof Error ? error.message : 'The folder could not be read.'
    }
  }
  const drop = useDrop((data) => {
    if (!batch.value?.running) void walk(entriesOf(data))
    return true
  })
  return (
    <section
      class={`card many ${drop.over.value ? 'over' : ''}`}
      aria-labelledby="many-title"
      data-many={batch.value?.cases.length ?? 0}
      {...drop.on}
    >
      <div class="section-head">
        <div>
          <h2 id="many-title">Several cases at once</h2>
          <p class="soft">Drop a folder here: a BIDS tree, or one folder with NIfTI scans for each case.</p>
        </div>
        {!batch.value?.running && (
          <ChooseFolder name="folder" take={take}>
            Choose a folder
          </ChooseFolder>
        )}
      </div>
      {problem.value && <Notice tone="warn">{problem.value}</Notice>}
      <Offer table={props.table} />
    </section>
  )
}
