/** One case: its scans, then its progress, then its result. Which, the case's state says. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { CaseOut } from '../api/types'
import { follow } from '../app/follow'
import { caseName } from '../app/format'
import { inWork, vocabulary } from '../app/state'
import { stateTitle } from '../app/vocabulary'
import { DeleteCase } from './delete'
import { NameCase } from './name'
import { ProgressPage } from './progress'
import { ResultsPage } from './results'
import { SessionCard } from './session'
import { UploadPage } from './upload'

export function CasePage(props: { found: CaseOut }) {
  const { found } = props
  const again = useSignal(false)
  const table = vocabulary.value
  const working = inWork(found)
  useEffect(() => (working ? follow(found.id) : undefined), [found.id, working])
  useEffect(() => {
    again.value = false
  }, [found.run, again])
  if (!table) return null
  const uploading = found.state === 'new' || again.value
  const change = () => {
    again.value = true
  }
  const title = <h1>{caseName(found)}</h1>
  const actions = (
    <>
      <NameCase found={found} />
      {again.value && (
        <button
          type="button"
          class="button quiet small"
          onClick={() => {
            again.value = false
          }}
        >
          Back
        </button>
      )}
      <DeleteCase found={found} small />
    </>
  )
  const view = uploading ? 'upload' : found.state === 'done' ? 'result' : 'progress'
  return (
    <article class="case" data-page="case" data-case-id={found.id} data-state={found.state} data-view={view}>
      {view === 'result' ? (
        <ResultsPage found={found} change={change} title={title} actions={actions} />
      ) : (
        <>
          <header class="case-head">
            {title}
            <span class={`badge ${found.state}`}>{stateTitle(table, found.state)}</span>
            <span class="grow" />
            {actions}
          </header>
          {uploading ? <UploadPage found={found} /> : <ProgressPage found={found} change={change} />}
          <SessionCard />
        </>
      )}
    </article>
  )
}
