/** The session: when it ends, who is told of key steps, and how to end it now. */
import { useSignal } from '@preact/signals'
import { announce } from '../app/announce'
import { moment } from '../app/format'
import { askPermission, permission } from '../app/notify'
import { Act } from '../app/parts'
import { changeSession, noteLoss, session } from '../app/state'
import { DeleteAll } from './delete'

const PERMISSION: Record<string, string> = {
  granted: 'This browser shows a notification when a case is done while the page is in the background.',
  denied: 'This browser refuses notifications from this page; its settings can allow them.',
  missing: 'This browser has no notifications.',
}

function Notifications() {
  const known = session.value
  const webhook = useSignal(known?.notify.webhook ?? '')
  const email = useSignal(known?.notify.email ?? '')
  const saved = useSignal(false)
  if (!known) return null
  const save = async () => {
    saved.value = false
    const notify = { webhook: webhook.value.trim() || undefined, email: email.value.trim() || undefined }
    try {
      await changeSession({ notify })
      saved.value = true
      announce('Saved.')
    } catch (error) {
      noteLoss(error)
    }
  }
  return (
    <details class="fold">
      <summary>Tell me when a case is done</summary>
      <div class="fold-body stack">
        {permission.value === 'default' ? (
          <div>
            <Act act={askPermission} small name="notify-browser">
              Allow notifications in this browser
            </Act>
          </div>
        ) : (
          <p class="soft">{PERMISSION[permission.value]}</p>
        )}
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault()
          }}
        >
          <label class="field">
            <span>Webhook address</span>
            <input
              type="url"
              inputMode="url"
              placeholder="https://"
              autocomplete="off"
              value={webhook.value}
              onInput={(event) => {
                webhook.value = event.currentTarget.value
              }}
            />
            <small>Gets the case’s number and state as JSON, and nothing else.</small>
          </label>
          <label class="field">
            <span>E-mail address</span>
            <input
              type="email"
              autocomplete="off"
              value={email.value}
              onInput={(event) => {
                email.value = event.currentTarget.value
              }}
            />
            <small>If the server can send mail. Deleted together with the session.</small>
          </label>
          <div class="row">
            <Act act={save} busy="Saving…" small name="save-notify">
              Save
            </Act>
            {saved.value && <span class="good-text">Saved.</span>}
          </div>
        </form>
      </div>
    </details>
  )
}

export function SessionCard() {
  const known = session.value
  if (!known) return null
  const tick = async (wanted: boolean) => {
    try {
      await changeSession({ close_with_page: wanted })
      announce(wanted ? 'Everything will be deleted when this page closes.' : 'The data stays when this page closes.')
    } catch (error) {
      noteLoss(error)
    }
  }
  return (
    <section class="card session" aria-labelledby="session-title">
      <h2 id="session-title">This session</h2>
      <p>
        Only this browser can open it. Without use it is deleted, with all that is in it, on{' '}
        <strong data-expires={known.expires_at}>{moment(known.expires_at)}</strong>.
      </p>
      <CloseWithPage checked={known.close_with_page} tick={tick} />
      <Notifications />
      <div class="row">
        <DeleteAll />
      </div>
    </section>
  )
}

function CloseWithPage(props: { checked: boolean; tick: (wanted: boolean) => Promise<void> }) {
  const failed = useSignal('')
  const change = async (box: HTMLInputElement) => {
    const wanted = box.checked
    failed.value = ''
    try {
      await props.tick(wanted)
    } catch (error) {
      box.checked = !wanted
      failed.value = error instanceof Error ? error.message : 'This could not be saved.'
    }
  }
  return (
    <div>
      <label class="tick">
        <input
          type="checkbox"
          checked={props.checked}
          onChange={(event) => void change(event.currentTarget)}
          data-act="close-with-page"
        />
        <span>
          Delete everything when I close this page
          <small>Reloading the page is no closing. Running work is stopped as well.</small>
        </span>
      </label>
      {failed.value && (
        <p class="act-failed" role="alert">
          {failed.value}
        </p>
      )}
    </div>
  )
}
