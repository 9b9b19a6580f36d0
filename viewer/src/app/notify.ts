/** The browser's own notifications; asked for on a click only, and only shown while the page is in the background. */
import { signal } from '@preact/signals'

const there = typeof Notification !== 'undefined'

export const permission = signal<NotificationPermission | 'missing'>(there ? Notification.permission : 'missing')

export async function askPermission(): Promise<void> {
  if (there) permission.value = await Notification.requestPermission()
}

export function tellBrowser(text: string): void {
  if (!there || Notification.permission !== 'granted' || !document.hidden) return
  try {
    new Notification('HOPE', { body: text, tag: 'hope-case' })
  } catch {
    // Phones allow notifications from service workers only; the page and its title still tell.
    permission.value = 'missing'
  }
}
