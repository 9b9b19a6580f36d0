/** For servers that only let in whom they know. */
import { useSignal } from '@preact/signals'
import { Act, Notice } from '../app/parts'
import { api, notice, openSession, vocabulary, whoami } from '../app/state'
import { ReceiptCard } from './receipt'
import { Terms } from './start'

function TokenForm() {
  const token = useSignal('')
  const agreed = useSignal(false)
  const enter = async () => {
    api.accessToken = token.value.trim()
    try {
      await openSession()
    } finally {
      // The session's cookie is enough from here on.
      api.accessToken = ''
      token.value = ''
    }
  }
  return (
    <section class="card" aria-labelledby="token-title">
      <h2 id="token-title">Access token</h2>
      <p>It is sent once, to this server, and not kept in this browser.</p>
      <label class="field">
        <span>Token</span>
        <input
          type="password"
          autocomplete="off"
          value={token.value}
          onInput={(event) => {
            token.value = event.currentTarget.value
          }}
        />
      </label>
      {vocabulary.value && <Terms table={vocabulary.value} agreed={agreed} />}
      <div class="row">
        <Act kind="primary" act={enter} busy="Opening…" blocked={!agreed.value || !token.value.trim()} name="enter">
          Continue
        </Act>
      </div>
    </section>
  )
}

export function SignIn() {
  const who = whoami.value
  const token = who?.ways?.includes('token') ?? who?.method === 'token'
  return (
    <div class="start" data-page="sign-in">
      <ReceiptCard />
      {notice.value && <Notice tone="info">{notice.value}</Notice>}
      <h1>Sign in</h1>
      <p>This server is open to people whom it knows.</p>
      {who?.sign_in_url && (
        <div class="row">
          <a class="button primary" href={who.sign_in_url}>
            Sign in
          </a>
        </div>
      )}
      {token && <TokenForm />}
      {!who?.sign_in_url && !token && (
        <Notice tone="bad">It does not let anybody in from here. Ask whoever runs it.</Notice>
      )}
    </div>
  )
}
