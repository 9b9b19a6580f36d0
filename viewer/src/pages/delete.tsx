/** Deleting one case, or everything. Both ask first and answer with a receipt. */
import { useSignal } from '@preact/signals'
import type { CaseOut } from '../api/types'
import { plural } from '../app/format'
import { Confirm } from '../app/parts'
import { cases, deleteCase, deleteSession, inWork } from '../app/state'

export function DeleteCase(props: { found: CaseOut; small?: boolean }) {
  const asking = useSignal(false)
  const { found } = props
  return (
    <>
      <button
        type="button"
        class={`button quiet danger-text ${props.small ? 'small' : ''}`}
        data-act="delete-case"
        onClick={() => {
          asking.value = true
        }}
      >
        <span>
          Delete<span class="sr-only"> case {found.number}</span>…
        </span>
      </button>
      {asking.value && (
        <Confirm
          title={`Delete case ${found.number}?`}
          yes="Delete the case"
          busy="Deleting…"
          name="delete-case"
          act={() => deleteCase(found.id)}
          close={() => {
            asking.value = false
          }}
        >
          <p>
            Its scans, results and corrections are deleted from the server, for good.
            {inWork(found) && ' The work on it is stopped.'} Download what you want to keep first.
          </p>
        </Confirm>
      )}
    </>
  )
}

export function DeleteAll() {
  const asking = useSignal(false)
  const count = cases.value.length
  return (
    <>
      <button
        type="button"
        class="button danger"
        data-act="delete-all"
        onClick={() => {
          asking.value = true
        }}
      >
        Delete everything now…
      </button>
      {asking.value && (
        <Confirm
          title="Delete everything?"
          yes="Delete everything"
          busy="Deleting…"
          name="delete-all"
          act={deleteSession}
          close={() => {
            asking.value = false
          }}
        >
          <p>
            {count ? `${plural(count, 'case')} with all scans, results and corrections` : 'The session'} will be deleted
            from the server, for good, and running work is stopped. You get a receipt. Download what you want to keep
            first.
          </p>
        </Confirm>
      )}
    </>
  )
}
