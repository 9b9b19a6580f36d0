/** Loads the viewer, which is ten times as large as the rest of the page, only when a result is on show. */
import { type Signal, useSignal } from '@preact/signals'
import type { ComponentChildren, ComponentType } from 'preact'
import { useEffect } from 'preact/hooks'
import type { Api } from '../api/client'
import type { CaseOut, Vocabulary } from '../api/types'
import type { DiameterLines } from '../app/diameterlines'
import type { Point } from '../app/measured'
import { Act, Notice } from '../app/parts'
import { QuickLook } from '../app/quicklook'
import { type SideTab, SideTabs } from '../app/sidetabs'

export interface ViewerProps {
  caseId: string
  api: Api
  vocabulary: Vocabulary
  result: CaseOut
  onSaved: () => void
  /** What the side panel holds beside labels and versions. */
  tabs: readonly SideTab[]
  tab: Signal<string>
  /** A place in world millimetres that was asked for. */
  goTo: Signal<Point | null>
  /** Diameters to draw over the pictures. */
  lines: Signal<DiameterLines | null>
  /** Address of the server’s small picture; null where there is none. */
  quick: string | null
  /** The volumes, for as long as no label list can be shown. */
  numbers: ComponentChildren
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
  if (now !== 'loading' && 'panel' in now) {
    const Panel = now.panel
    return <Panel {...props} />
  }
  const labels: SideTab = { key: 'labels', title: 'Labels', body: props.numbers }
  return (
    <div class="scene-body">
      {now === 'loading' ? (
        <div class="viewer-wait" role="status">
          <QuickLook url={props.quick} />
          <p>
            <span class="spinner" aria-hidden="true" /> Loading the viewer…
          </p>
        </div>
      ) : (
        <div class="viewer-wait">
          <Notice tone="bad">{now.problem}</Notice>
          <Act act={load}>Try again</Act>
        </div>
      )}
      <div class="scene-side">
        <SideTabs tabs={[labels, ...props.tabs]} chosen={props.tab} label="About this result" />
      </div>
    </div>
  )
}
