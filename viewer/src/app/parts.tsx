/** Small pieces that every page uses. */
import { useSignal, useSignalEffect } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { asProblem } from '../api/errors'
import { reachable } from './connection'

export type Tone = 'info' | 'good' | 'warn' | 'bad'

/** A framed sentence or two. Bad ones are read aloud at once. */
export function Notice(props: { tone: Tone; title?: string; children: ComponentChildren; id?: string }) {
  return (
    <div class={`notice ${props.tone}`} role={props.tone === 'bad' ? 'alert' : undefined} id={props.id}>
      {props.title && <p class="notice-title">{props.title}</p>}
      <div>{props.children}</div>
    </div>
  )
}

export interface ActProps {
  /** What to do; while it lasts the button is busy, and what it throws is shown beneath. */
  act: () => Promise<void> | void
  children: ComponentChildren
  busy?: string
  kind?: 'primary' | 'quiet' | 'danger' | ''
  small?: boolean
  label?: string
  describedBy?: string
  blocked?: boolean
  name?: string
}

/** A button that does something which may take time or fail. */
export function Act(props: ActProps) {
  const running = useSignal(false)
  const failed = useSignal('')
  const lost = useRef(false)
  const alive = useRef(true)
  // What failed for want of a server is no failure any more once there is one again.
  useSignalEffect(() => {
    if (reachable.value && lost.current) failed.value = ''
  })
  useEffect(
    () => () => {
      alive.current = false
    },
    [],
  )
  const press = async () => {
    if (running.value || props.blocked) return
    running.value = true
    failed.value = ''
    try {
      await props.act()
    } catch (error) {
      const problem = asProblem(error)
      if (alive.current && problem.kind !== 'cancelled') {
        lost.current = problem.kind === 'network'
        failed.value = problem.message
      }
    } finally {
      if (alive.current) running.value = false
    }
  }
  const classes = ['button', props.kind ?? '', props.small ? 'small' : ''].filter(Boolean).join(' ')
  return (
    <>
      <button
        type="button"
        class={classes}
        onClick={press}
        aria-disabled={running.value || props.blocked ? 'true' : undefined}
        aria-busy={running.value ? 'true' : undefined}
        aria-label={props.label}
        aria-describedby={props.describedBy}
        data-act={props.name}
      >
        {running.value && <span class="spinner" aria-hidden="true" />}
        {running.value && props.busy ? props.busy : props.children}
      </button>
      {failed.value && (
        <p class="act-failed" role="alert">
          {failed.value}
        </p>
      )}
    </>
  )
}

/** A question before something that cannot be undone. */
export function Confirm(props: {
  title: string
  yes: string
  busy: string
  act: () => Promise<void>
  close: () => void
  children: ComponentChildren
  name: string
}) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const shown = dialog.current
    shown?.showModal()
    return () => shown?.close()
  }, [])
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="confirm-title" onClose={props.close} data-dialog={props.name}>
      <h2 id="confirm-title">{props.title}</h2>
      {props.children}
      <div class="row end">
        <button type="button" class="button" onClick={props.close}>
          Keep
        </button>
        <Act kind="danger" act={props.act} busy={props.busy} name={`${props.name}-yes`}>
          {props.yes}
        </Act>
      </div>
    </dialog>
  )
}

export function Swatch(props: { colour: string }) {
  // A colour from the table of words: set through the CSSOM, which the content security policy allows.
  return <span class="swatch" aria-hidden="true" ref={(at) => at?.style.setProperty('--swatch', props.colour)} />
}

export function Bar(props: { share: number; label: string; indeterminate?: boolean }) {
  return props.indeterminate ? (
    <progress class="bar" aria-label={props.label} />
  ) : (
    <progress class="bar" aria-label={props.label} max={1} value={Math.min(1, Math.max(0, props.share))} />
  )
}
