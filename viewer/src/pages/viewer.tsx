/** Loads the viewer, which is ten times as large as the rest of the page, only when a result is on show. */
import { useSignal } from '@preact/signals'
import type { ComponentType } from 'preact'
import { useEffect } from 'preact/hooks'
import type { Api } from '../api/client'
import type { CaseOut, Vocabulary } from '../api/types'
import { Act, Notice } from '../app/parts'

export interface ViewerProps {
  caseId: string
  api: Api
  vocabulary: Vocabulary
  result: CaseOut
  onSaved: () => void
}

type State = { panel: ComponentType<ViewerProps> } | { problem: string } | 'loading'

export function LazyViewer(props: ViewerProps) {
  const state = useSignal<State>('loading')
  const load = async () => {
    state.value = 'loading'
    try {
      state.value = { panel: (await import('../scene/index')).default }
    } catch {
      state.value = { problem: 'The viewer could not be loaded. Check that the server is still running.' }
    }
  }
  useEffect(() => void load(), [])
  const now = state.value
  if (now === 'loading')
    return (
      <p class="viewer-wait" role="status">
        <span class="spinner" aria-hidden="true" /> Loading the viewer…
      </p>
    )
  if ('problem' in now)
    return (
      <div class="viewer-wait">
        <Notice tone="bad">{now.problem}</Notice>
        <Act act={load}>Try again</Act>
      </div>
    )
  const Panel = now.panel
  return <Panel {...props} />
}
