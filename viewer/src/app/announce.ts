/** Words for screen readers, in one polite live region. */
import { signal } from '@preact/signals'

export const spoken = signal('')

let again: ReturnType<typeof setTimeout> | undefined

export function announce(text: string): void {
  // The same words twice are only read twice if the region was empty in between.
  spoken.value = ''
  clearTimeout(again)
  again = setTimeout(() => {
    spoken.value = text
  }, 60)
}
