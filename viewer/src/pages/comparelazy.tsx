/** Fetches the comparison of two dates when its tab is opened first: it is no part of what the page shows at once. */
import { useSignal } from '@preact/signals'
import type { ComponentType } from 'preact'
import { useEffect } from 'preact/hooks'
import type { CaseOut } from '../api/types'
import { Act, Notice } from '../app/parts'

interface Props {
  found: CaseOut
}

type State = { tab: ComponentType<Props> } | 'waiting' | 'failed'

export function LazyCompare({ found, shown }: Props & { shown: boolean }) {
  const state = useSignal<State>('waiting')
  const load = async () => {
    state.value = 'waiting'
    try {
      state.value = { tab: (await import('./compare')).CompareTab }
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
  return <Tab found={found} />
}
