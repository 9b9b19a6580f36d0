/** Fetches the body of a tab when the tab is opened first: it is no part of what the page shows at once. */
import { useSignal } from '@preact/signals'
import type { ComponentType } from 'preact'
import { useEffect } from 'preact/hooks'
import { Act, Notice } from '../app/parts'

type State<Props> = { tab: ComponentType<Props> } | 'waiting' | 'failed'

export function LazyTab<Props extends object>(props: {
  fetch: () => Promise<ComponentType<Props>>
  shown: boolean
  with: Props
}) {
  const { shown } = props
  const state = useSignal<State<Props>>('waiting')
  const load = async () => {
    state.value = 'waiting'
    try {
      state.value = { tab: await props.fetch() }
    } catch {
      state.value = 'failed'
    }
  }
  useEffect(() => {
    if (shown && state.value === 'waiting') void load()
  }, [shown])
  const now = state.value
  if (now === 'failed')
    return (
      <>
        <Notice tone="bad">This could not be loaded. Check that the server is still running.</Notice>
        <Act act={load}>Try again</Act>
      </>
    )
  if (now === 'waiting') return shown ? <p role="status">Loading…</p> : null
  const Tab = now.tab
  return <Tab {...props.with} />
}
