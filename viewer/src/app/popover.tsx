/** A button that opens a small panel beneath it; Escape and a click elsewhere close it. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'

export function Popover(props: {
  title: ComponentChildren
  name: string
  children: ComponentChildren
  /** Classes of the button. */
  look?: string
}) {
  const at = useRef<HTMLDetailsElement>(null)
  useEffect(() => {
    const elsewhere = (event: Event) => {
      if (at.current?.open && event.target instanceof Node && !at.current.contains(event.target))
        at.current.open = false
    }
    addEventListener('pointerdown', elsewhere, true)
    return () => removeEventListener('pointerdown', elsewhere, true)
  }, [])
  const pressed = (event: KeyboardEvent) => {
    if (event.key !== 'Escape' || !at.current?.open) return
    event.preventDefault()
    at.current.open = false
    at.current.querySelector('summary')?.focus()
  }
  return (
    <details ref={at} class="popover" data-popover={props.name} onKeyDown={pressed}>
      <summary class={props.look ?? 'scene-toggle'}>{props.title}</summary>
      <div class="popover-body">{props.children}</div>
    </details>
  )
}
