/** The viewer panel. Loaded lazily: it brings the drawing library with it. */

import { type Signal, useSignalEffect } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import type { Api } from '../api/client'
import type { CaseOut, Vocabulary } from '../api/types'
import type { DiameterLines } from '../app/diameterlines'
import type { Point } from '../app/measured'
import { type SideTab, SideTabs } from '../app/sidetabs'
import { COMMANDS } from './commands'
import { SceneController } from './controller'
import { EditBar } from './EditBar'
import { Fallback } from './Fallback'
import { Help } from './Help'
import { actionOf, typingIn } from './keys'
import { LabelList } from './LabelList'
import { Readout } from './Readout'
import { Stage } from './Stage'
import { Toolbar } from './Toolbar'
import { Uncertainty } from './Uncertainty'
import { VersionList } from './VersionList'
import './scene.css'

interface PanelProps {
  caseId: string
  api: Api
  vocabulary: Vocabulary
  result: CaseOut
  onSaved: () => void
  tabs: readonly SideTab[]
  tab: Signal<string>
  goTo: Signal<Point | null>
  lines: Signal<DiameterLines | null>
  quick: string | null
  numbers: ComponentChildren
}

/** Keys act while the panel, or nothing at all, has the focus; never while the user types. */
function useKeys(scene: SceneController, panel: { current: HTMLElement | null }): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const target = event.target instanceof HTMLElement ? event.target : null
      const ours = panel.current?.contains(target) || target === document.body
      const { state } = scene
      if (!ours || !state.ready.value || event.defaultPrevented || typingIn(target)) return
      // A dialog that lies over the pictures has the keys; that of the keys themselves closes by its own.
      if (document.querySelector('dialog[open]:not(.scene-help)')) return
      const press = {
        key: event.key,
        code: event.code,
        ctrl: event.ctrlKey || event.metaKey,
        shift: event.shiftKey,
        alt: event.altKey,
      }
      const action = actionOf(press, target?.tagName === 'CANVAS')
      const always = ALWAYS.has(action ?? '')
      if (!action || (!state.keysOn.value && !always)) return
      if (state.help.value && action !== 'help') return // the dialog closes on Escape by itself
      event.preventDefault()
      COMMANDS[action](scene, press)
    }
    window.addEventListener('keydown', pressed)
    return () => window.removeEventListener('keydown', pressed)
  }, [scene, panel])
}

function useLeaveWarning(scene: SceneController): void {
  useEffect(() => {
    const leaving = (event: BeforeUnloadEvent) => {
      if (scene.state.unsaved.value) event.preventDefault()
    }
    window.addEventListener('beforeunload', leaving)
    return () => window.removeEventListener('beforeunload', leaving)
  }, [scene])
}

/** What keys do where single-key shortcuts are off, too. */
const ALWAYS: ReadonlySet<string> = new Set(['leave', 'undo', 'redo', 'move', 'look', 'paint'])

export default function ViewerPanel(props: PanelProps) {
  const { caseId, api, vocabulary, result, onSaved } = props
  // One controller for one run of a case: a result that is only newer must not throw a drawing away.
  const scene = useMemo(
    () => new SceneController({ caseId, api, vocabulary, result, onSaved }),
    [caseId, api, result.run],
  )
  const panel = useRef<HTMLDivElement>(null)
  useEffect(() => () => scene.close(), [scene])
  useEffect(() => void scene.edit.follow(result.version), [scene, result.version])
  useSignalEffect(() => {
    const place = props.goTo.value
    if (!place || !scene.state.ready.value) return
    scene.goTo(place)
    props.goTo.value = null
  })
  useSignalEffect(() => {
    scene.state.lines.value = props.lines.value
  })
  useKeys(scene, panel)
  useLeaveWarning(scene)
  const { state } = scene
  const phase = state.phase.value
  const broken = phase === 'lost' || phase === 'unsupported' || phase === 'failed'
  const parts = { scene, vocabulary, result }
  const counts = vocabulary.labels.map(({ value }) => `${value}:${state.counts.value[value] ?? 0}`).join(' ')
  const labels = (
    <>
      <LabelList {...parts} />
      <Uncertainty scene={scene} />
      <EditBar {...parts} />
    </>
  )
  const tabs: SideTab[] = [{ key: 'labels', title: 'Labels', body: broken ? props.numbers : labels }, ...props.tabs]
  if (!broken) tabs.splice(-1, 0, { key: 'versions', title: 'Versions', body: <VersionList {...parts} /> })
  return (
    <div
      ref={panel}
      class="scene"
      data-ready={phase === 'ready'}
      data-phase={phase}
      data-sequence={state.sequence.value}
      data-matched={state.matchedShown.value}
      data-version={state.version.value}
      data-before={state.before.value}
      data-unsaved={state.unsaved.value}
      data-view={state.view.value}
      data-mode={state.mode.value}
      data-side-by-side={state.sideBySide.value}
      data-uncertain={state.uncertain.value}
      data-counts={counts}
    >
      {!broken && <Toolbar {...parts} />}
      <div class="scene-body">
        <div class="scene-main">
          {broken ? (
            <Fallback scene={scene} />
          ) : (
            <Stage key={`${caseId} ${result.run}`} scene={scene} result={result} quick={props.quick} />
          )}
          {!broken && <Readout {...parts} />}
        </div>
        <div class="scene-side">
          {!broken && state.notice.value && (
            <div
              class={`notice ${state.notice.value.kind === 'error' ? 'bad' : 'good'}`}
              role={state.notice.value.kind === 'error' ? 'alert' : 'status'}
            >
              <p>{state.notice.value.text}</p>
            </div>
          )}
          <SideTabs tabs={tabs} chosen={props.tab} label="About this result" />
        </div>
      </div>
      <Help scene={scene} />
    </div>
  )
}
