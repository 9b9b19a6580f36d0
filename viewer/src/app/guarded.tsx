/** A part of the page that has a fault of its own is replaced by a sentence, and the rest of the page goes on. */
import type { ComponentChildren } from 'preact'
import { useErrorBoundary } from 'preact/hooks'
import { Notice } from './parts'

export function Guarded(props: { what: string; children: ComponentChildren }) {
  const [fault, again] = useErrorBoundary((error) => globalThis.reportError?.(error))
  if (!fault) return <>{props.children}</>
  return (
    <div data-fault={props.what}>
      <Notice tone="bad" title={`${props.what} cannot be shown`}>
        <p>This is a fault of the page, not of your scans; nothing is lost on the server.</p>
        <button type="button" class="button small" onClick={again}>
          Show again
        </button>
      </Notice>
    </div>
  )
}
