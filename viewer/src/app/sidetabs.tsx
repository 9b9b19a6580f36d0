/** Tabs of a side panel: arrow keys go from one to the next, and every panel keeps what was typed in it. */
import type { Signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useRef } from 'preact/hooks'

export interface SideTab {
  key: string
  title: string
  body: ComponentChildren
  /** A count behind the title, and what it counts. */
  count?: { number: number; of: string }
}

const KEYS: Record<string, (at: number, count: number) => number> = {
  ArrowRight: (at, count) => (at + 1) % count,
  ArrowLeft: (at, count) => (at + count - 1) % count,
  Home: () => 0,
  End: (_, count) => count - 1,
}

export function SideTabs(props: { tabs: readonly SideTab[]; chosen: Signal<string>; label: string }) {
  const { tabs, chosen } = props
  const list = useRef<HTMLDivElement>(null)
  const shown = tabs.find(({ key }) => key === chosen.value)?.key ?? tabs[0]?.key
  const pressed = (event: KeyboardEvent) => {
    const at = tabs.findIndex(({ key }) => key === shown)
    const next = tabs[KEYS[event.key]?.(at, tabs.length) ?? -1]
    if (!next) return
    event.preventDefault()
    chosen.value = next.key
    list.current?.querySelector<HTMLElement>(`[data-tab="${next.key}"]`)?.focus()
  }
  return (
    <div class="side-tabs" data-shown={shown}>
      <div ref={list} class="side-tab-list" role="tablist" aria-label={props.label} onKeyDown={pressed}>
        {tabs.map(({ key, title, count }) => (
          <button
            key={key}
            type="button"
            role="tab"
            class="side-tab"
            id={`tab-${key}`}
            aria-selected={key === shown}
            aria-controls={`panel-${key}`}
            tabIndex={key === shown ? 0 : -1}
            data-tab={key}
            onClick={() => {
              chosen.value = key
            }}
          >
            {title}
            {count && count.number > 0 && (
              <span class="side-count">
                {count.number}
                <span class="sr-only"> {count.of}</span>
              </span>
            )}
          </button>
        ))}
      </div>
      {tabs.map(({ key, body }) => (
        <div
          key={key}
          role="tabpanel"
          class="side-panel"
          id={`panel-${key}`}
          aria-labelledby={`tab-${key}`}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a panel that scrolls must be scrollable by keyboard
          tabIndex={0}
          hidden={key !== shown}
          data-panel={key}
        >
          {body}
        </div>
      ))}
    </div>
  )
}
